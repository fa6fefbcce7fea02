"""Runs are brought up to date from their histories.

PYTEST_DONT_REWRITE
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable
from typing import Final

from perdure_backends import Backend
from perdure_backends import history as h
from perdure_backends.records import QueryTask, TurnTask

from .._core import Execution, Fault
from ._watchdog import Watchdog, guarded

_HISTORY_PAGE: Final = 500


class Loader:
    """Makes executions of runs, and replays what is stored of them."""

    def __init__(
        self,
        backend: Backend,
        make_execution: Callable[[TurnTask | QueryTask], Execution],
        watchdog: Watchdog | None,
    ) -> None:
        self._backend = backend
        self._watchdog = watchdog
        self.make_execution: Final = make_execution

    async def replay(self, execution: Execution, run_id: str, last: int) -> Fault | None:
        """Applies the stored turns of a run up to ``last``; a fault says why that is not possible.

        Raises:
            BackendError: the history could not be read.
        """
        while execution.turn < last:
            records = await self._backend.read_history(run_id, execution.turn, _HISTORY_PAGE)
            if not records:
                return Fault("internal", f"turns after {execution.turn} are missing in the store")
            for record in records:
                try:
                    turn = h.decode_turn(record)
                except h.NewerHistoryError as error:
                    return Fault("newer_history", str(error), {}, error)
                fault = guarded(
                    self._watchdog,
                    execution.instance_id,
                    functools.partial(execution.replay, turn, len(record)),
                )
                if fault is not None:
                    return fault
                if execution.turn == last:  # what is committed meanwhile is not asked for
                    break
            await asyncio.sleep(0)
        return None
