"""Every store shows what the contract says."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from perdure_backends import Backend
from perdure_backends.conformance import CASES, Case, TestClock, run_case
from perdure_backends.memory import MemoryBackend
from perdure_backends.sqlite import SqliteBackend


@pytest.mark.parametrize("case", CASES, ids=str)
@pytest.mark.parametrize("store", ["memory", "sqlite", "sqlite-memory"])
def test_contract(store: str, case: Case, tmp_path: Path) -> None:
    def make(clock: TestClock) -> Backend:
        if store == "memory":
            return MemoryBackend(clock=clock)
        path = ":memory:" if store == "sqlite-memory" else str(tmp_path / "store.db")
        return SqliteBackend(path, clock=clock, synchronous="NORMAL")

    asyncio.run(run_case(case, make))
