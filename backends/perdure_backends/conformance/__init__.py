"""The conformance suite: what any store must show, as product code without a test framework.

A store of your own is checked by ten lines::

    import asyncio, pytest
    from perdure_backends.conformance import CASES, Case, run_case

    @pytest.mark.parametrize("case", CASES, ids=str)
    def test_contract(case: Case, tmp_path) -> None:
        asyncio.run(run_case(case, lambda clock: MyBackend(tmp_path / "x.db", clock=clock)))

Each case gets a fresh, empty store whose clock it sets itself.

PYTEST_DONT_REWRITE
"""

from . import (
    _activities,
    _asking,
    _messages,
    _moving,
    _overview,
    _runs,
    _sessions,
    _steering,
    _turns,
)
from ._harness import CASES as CASES
from ._harness import Case as Case
from ._harness import ConformanceError as ConformanceError
from ._harness import Harness as Harness
from ._harness import TestClock as TestClock
from ._harness import run_case as run_case

_MODULES = (
    _activities,
    _asking,
    _messages,
    _moving,
    _overview,
    _runs,
    _sessions,
    _steering,
    _turns,
)

__all__ = ["CASES", "Case", "ConformanceError", "Harness", "TestClock", "run_case"]
