"""Every store shows what the contract says."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from perdure_backends.conformance import CASES, Case, run_case
from stores import STORES, make_store


@pytest.mark.parametrize("case", CASES, ids=str)
@pytest.mark.parametrize("store", STORES)
def test_contract(store: str, case: Case, tmp_path: Path) -> None:
    asyncio.run(run_case(case, lambda clock: make_store(store, tmp_path, clock)))
