"""What every store must let users do, from end to end: cases with a worker and a client.

They complement :mod:`perdure_backends.conformance`, which holds a store to the contract call by
call. Each case is meant to run twice on each store: with instances kept in memory, and with every
turn replayed from history. Nothing here needs pytest::

    for case in CASES:
        for cached in (True, False):
            await run_case(case, make_backend, cached=cached)

where ``make_backend()`` gives a fresh, unopened store.

PYTEST_DONT_REWRITE
"""

from . import (
    _activities,
    _children,
    _combining,
    _continuing,
    _errors,
    _messages,
    _queries,
    _races,
    _surroundings,
    _workflows,
)
from ._harness import CASES as CASES
from ._harness import Case as Case
from ._harness import Runner as Runner
from ._harness import run_case as run_case

_MODULES = (
    _activities,
    _children,
    _combining,
    _continuing,
    _errors,
    _messages,
    _queries,
    _races,
    _surroundings,
    _workflows,
)

__all__ = ["CASES", "Case", "Runner", "run_case"]
