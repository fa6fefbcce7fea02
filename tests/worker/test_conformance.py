"""The end-to-end suite, on each store of this project, cached and replayed."""

from __future__ import annotations

import asyncio

import pytest
from perdure_backends import open_backend
from perdure_runtime.conformance import CASES, Case, run_case


@pytest.mark.parametrize("mode", ["cached", "replayed"])
@pytest.mark.parametrize("case", CASES, ids=str)
def test_conformance(case: Case, mode: str, url: str) -> None:
    asyncio.run(run_case(case, lambda: open_backend(url), cached=mode == "cached"))
