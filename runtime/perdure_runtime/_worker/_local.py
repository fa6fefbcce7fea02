"""Local activities: run within a turn, and recorded with it.

PYTEST_DONT_REWRITE
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final, Literal

import msgspec
from perdure import Duration, Failure
from perdure_backends import history as h
from perdure_backends._policies import timeout_failure
from perdure_backends.records import ActivityResult, ActivityTask

from .._core import Scheduled
from .._durations import as_seconds
from .._registry import Registry
from ._attempts import Attempts, cancelled, cancelled_from_outside
from ._live import Live
from ._running import Attempt, UndecodableArgumentsError

_SLOTS: Final = 100


class LocalActivities:
    """Runs them, with all their attempts, in this worker.

    Args:
        slots: how many run at once. They are their own: a worker that takes no others needs some.
        on_capacity: called when an attempt has ended.
    """

    def __init__(
        self,
        registry: Registry,
        attempts: Attempts,
        *,
        slots: int,
        on_capacity: Callable[[], None],
    ) -> None:
        self._registry = registry
        self._attempts = attempts
        self._slots = asyncio.Semaphore(slots or _SLOTS)
        self._on_capacity = on_capacity

    def start(
        self, live: Live, scheduled: Scheduled, time: int, done: Callable[[h.Received | None], None]
    ) -> asyncio.Task[None]:
        """See :meth:`Activities.start_local`."""
        return asyncio.get_running_loop().create_task(
            self._run(live, scheduled, time, done),
            name=f"local activity {scheduled.command.name}",
        )

    async def _run(
        self, live: Live, scheduled: Scheduled, time: int, done: Callable[[h.Received | None], None]
    ) -> None:
        command = scheduled.command
        activity = self._registry.activity(command.name)
        if activity is None and not scheduled.activity.definition.implemented:
            message = f"activity {command.name!r} is local, and this worker does not have it"
            done(h.ActivityFailed(command.number, Failure("NotRegistered", message, "", False)))
            return
        activity = activity if activity is not None else scheduled.activity
        options = scheduled.activity.default_options
        task = ActivityTask(
            instance_id=live.task.instance_id,
            run_id=live.run_id,
            number=command.number,
            name=command.name,
            queue=command.queue,
            input=command.input,
            token="",
            attempt=0,
            scheduled_at=time,
            started_at=time,
            retry=options.retry,
            headers=command.headers,
        )
        async with self._slots:
            while not self._attempts.stopping:
                task = msgspec.structs.replace(task, attempt=task.attempt + 1)
                resources = self._registry.resources_for(activity)
                attempt = Attempt(task, activity, resources, local=True)
                outcome = await self._try(attempt, options.start_to_close)
                if outcome != "again":
                    done(outcome)
                    return
        done(None)

    async def _try(
        self, attempt: Attempt, limit: Duration | None
    ) -> h.ActivityCompleted | h.ActivityFailed | Literal["again"] | None:
        """One attempt, and the wait before another one; ``None`` when the worker stops."""
        task, attempts = attempt.task, self._attempts
        key = (task.run_id, task.number)
        attempt.job = asyncio.current_task()
        attempts.running[key] = attempt
        kind = "failed"
        timeout = asyncio.timeout(None if limit is None else as_seconds(limit, "limit"))
        began = attempts.began()
        try:
            async with timeout:
                result = await attempts.run(attempt)
            completed = h.ActivityCompleted(task.number, result, task.attempt)
            attempts.tell(task, completed, began)
            return completed
        except BaseException as error:
            if isinstance(error, asyncio.CancelledError):
                if attempt.unwanted:
                    return cancelled(task)
                if attempt.cancel_sent or attempts.stopping or cancelled_from_outside():
                    return None
            failure = attempts.record(error)
            if isinstance(error, TimeoutError) and timeout.expired():
                failure = timeout_failure("start_to_close", round(1e6 * as_seconds(limit or 0, "")))
                kind = "timeout"
            if isinstance(error, UndecodableArgumentsError):
                failure = msgspec.structs.replace(failure, retryable=False)
            delay = attempts.next_delay(task, failure, error)
        finally:
            attempts.running.pop(key, None)
            self._on_capacity()
        if delay is None:
            failed = h.ActivityFailed(task.number, failure, kind, attempt=task.attempt)
            attempts.tell(task, failed, began)
            return failed
        again = ActivityResult(
            run_id=task.run_id, number=task.number, token="", failure=failure, retry_in=0
        )
        attempts.tell(task, again, began)
        try:
            await asyncio.sleep(delay)
        except asyncio.CancelledError:
            return None
        return "again"
