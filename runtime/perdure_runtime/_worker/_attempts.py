"""Attempts at activities: how they are run, judged and told of, and which of them run now.

PYTEST_DONT_REWRITE
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Sequence
from typing import TYPE_CHECKING, Any, Final

import msgspec
from perdure import ApplicationError, Failure, Middleware, UsageError
from perdure.extension import record_error
from perdure_backends import history as h
from perdure_backends.records import ActivityResult, ActivityTask

from .._registry import Registry
from .._services import Services
from .._telemetry import NOBODY, Telemetry
from ._clock import StoreClock
from ._running import Attempt, Pools, run_attempt

if TYPE_CHECKING:
    from .._tally import Tally

_CANCELLED: Final = Failure("ActivityCancelledError", "the activity was cancelled", "", False)

Outcome = h.ActivityCompleted | h.ActivityFailed | ActivityResult
"""How an attempt ended: what the workflow gets, or what becomes of the activity."""


class Attempts:
    """Those of one worker, local ones among them.

    Args:
        slots: threads and processes that run what is no coroutine.
        middleware: around each attempt.

    Attributes:
        running: those that run now, by run and number.
        stopping: whether the worker ends.
    """

    def __init__(
        self,
        registry: Registry,
        clock: StoreClock,
        services: Services,
        *,
        slots: int,
        middleware: Sequence[Middleware] = (),
        telemetry: Telemetry = NOBODY,
        tally: Tally | None = None,
    ) -> None:
        self.running: dict[tuple[str, int], Attempt] = {}
        self.stopping = False
        self._registry = registry
        self._clock = clock
        self._services = services
        self._middleware = tuple(middleware)
        self._pools = Pools(slots)
        self._telemetry = telemetry
        self._watched = telemetry is not NOBODY  # else no clock is read for it
        self._tally = tally
        self._loop = asyncio.get_running_loop()

    def run(self, attempt: Attempt) -> Coroutine[Any, Any, bytes]:
        """Calls the activity; its result is encoded."""
        running = run_attempt(attempt, self._registry.converter, self._pools, self._middleware)
        return self._follow(attempt, running) if self._watched else running

    async def _follow(self, attempt: Attempt, running: Coroutine[Any, Any, bytes]) -> bytes:
        with self._telemetry.attempt(attempt.task) as attempt.trace:
            return await running

    # --- how it went ------------------------------------------------------------------------------

    def began(self) -> float:
        """Now, for :meth:`tell`."""
        return self._loop.time() if self._watched else 0.0

    def tell(self, task: ActivityTask, outcome: Outcome, began: float) -> None:
        """Tells those who watch how an attempt ended."""
        if self._tally is not None:
            retried = isinstance(outcome, ActivityResult) and outcome.retry_in is not None
            self._tally.attempted(retried=retried)
        if not self._watched:
            return
        if isinstance(outcome, h.ActivityCompleted):
            word = "completed"
        elif isinstance(outcome, h.ActivityFailed):
            word = "cancelled" if outcome.kind == "cancelled" else "failed"
        elif outcome.hand_back:
            word = "cancelled"
        else:
            word = "later" if outcome.detach else "retried"
        self._telemetry.attempt_ended(task, word, self._loop.time() - began)

    def record(self, error: BaseException) -> Failure:
        """The failure that is stored."""
        failure = record_error(error, self._registry.converter)
        if isinstance(error, UsageError):  # wrong code or a wrong result: trying again won't help
            failure = msgspec.structs.replace(failure, retryable=False)
        return failure

    def next_delay(
        self, task: ActivityTask, failure: Failure, error: BaseException
    ) -> float | None:
        """Seconds until the next attempt, or ``None`` when there is to be none."""
        elapsed = (self._clock.now() - task.scheduled_at) / 1e6
        draw = self._services.rng.random()
        delay = task.retry.next_delay(task.attempt, failure, elapsed=elapsed, draw=draw)
        if delay is None or not isinstance(error, ApplicationError) or error.retry_after is None:
            return delay
        return error.retry_after

    # --- cancelling -------------------------------------------------------------------------------

    def cancel(self, run_id: str, numbers: Sequence[int] | None) -> None:
        """Attempts that nobody wants any more; ``None`` means all of the run."""
        for key, attempt in list(self.running.items()):
            if key[0] == run_id and (numbers is None or key[1] in numbers):
                self.unwanted(attempt, "cancelled")

    def unwanted(self, attempt: Attempt, reason: str) -> None:
        """Cancels one of which nobody wants to know how it ends."""
        attempt.unwanted = True
        _cancel(attempt, reason)

    def abandon(self, reason: str) -> None:
        """Cancels what runs: the session has ended, or is about to."""
        for attempt in self.running.values():
            _cancel(attempt, reason)

    def close(self) -> None:
        """Ends the pools."""
        self._pools.close()


def cancelled(task: ActivityTask) -> h.ActivityFailed:
    """What the workflow gets of an attempt that it has cancelled."""
    return h.ActivityFailed(task.number, _CANCELLED, "cancelled", attempt=task.attempt)


def cancelled_from_outside() -> bool:
    """Whether somebody cancelled the task, and not the activity itself."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def _cancel(attempt: Attempt, reason: str) -> None:
    attempt.reason = attempt.reason or reason
    if not attempt.cancel_sent and attempt.job is not None:
        attempt.cancel_sent = True
        attempt.job.cancel(reason)
