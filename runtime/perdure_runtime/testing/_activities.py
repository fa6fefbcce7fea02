"""Activities in tests: run by themselves, with all that surrounds an attempt under control.

PYTEST_DONT_REWRITE
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, ParamSpec, TypeVar

import msgspec
from perdure import (
    Activity,
    DataConverter,
    Duration,
    Middleware,
    UsageError,
)
from perdure_backends.records import ActivityTask

from .._durations import as_seconds
from .._registry import Registry, Resources
from .._worker._running import Attempt, Pools, run_attempt
from ._clock import START, to_microseconds

P = ParamSpec("P")
R = TypeVar("R")


class ActivityTester:
    """Runs activities as a worker does, one attempt at a time.

    ::

        tester = ActivityTester(attempt=3, progress={"page": 7})
        assert await tester.run(fetch_pages, url) == 12
        assert tester.heartbeats[-1] == {"page": 12}

    Arguments and results go through the converter; what the activity raises arrives as it is.

    Args:
        attempt: the number that ``activity_info().attempt`` gives, from 1.
        progress: what the last attempt gave to ``heartbeat()``; ``last_heartbeat()`` gives it.
        instance_id, queue, scheduled_at: as ``activity_info()`` gives them.
        timeout: seconds from ``scheduled_at`` to ``activity_info().deadline``; none by default.
        converter, middleware, resources: as the worker's.

    Attributes:
        heartbeats: what was given to ``heartbeat()``, in order.
    """

    __test__ = False

    def __init__(
        self,
        *,
        attempt: int = 1,
        progress: Any = None,
        instance_id: str = "test",
        queue: str = "default",
        scheduled_at: datetime = START,
        timeout: Duration | None = None,
        converter: DataConverter | None = None,
        middleware: Iterable[Middleware] = (),
        resources: Iterable[object] | Mapping[Any, object] = (),
    ) -> None:
        self.heartbeats: list[Any] = []
        self._attempt = attempt
        self._progress = None if progress is None else msgspec.json.encode(progress)
        self._instance_id = instance_id
        self._queue = queue
        self._scheduled_at = to_microseconds(scheduled_at)
        self._timeout = None if timeout is None else round(as_seconds(timeout, "timeout") * 1e6)
        self._converter = converter if converter is not None else DataConverter()
        self._middleware = tuple(middleware)
        self._resources = Resources(resources)
        self._running: _Attempt | None = None
        self._reason: str | None = None

    async def run(self, activity: Activity[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """One attempt; gives what it returns.

        Raises:
            ArgumentsError: the arguments do not fit.
            UsageError: the activity is a method and was not taken from an instance.
            PayloadError: the result is not of the annotated type.
            BaseException: whatever the activity raises, ``CompletesLater`` too.
        """
        if activity.definition.signature.method and activity.receiver is None:
            raise UsageError(f"{activity!r} is a method: take it from an instance of its class")
        registry = Registry((), [activity], self._converter, self._resources)
        signature = activity.definition.signature.converted(self._converter)
        bound = activity.definition.signature.bind(args, kwargs)
        task = self._task(activity, signature.encode(tuple(bound), checked=True))
        attempt = _Attempt(self, task, activity, registry.resources_for(activity))
        attempt.reason = self._reason
        pools = Pools(1)
        self._running = attempt
        job = asyncio.ensure_future(run_attempt(attempt, self._converter, pools, self._middleware))
        attempt.stop = job.cancel if activity.definition.is_async else None
        try:
            result = signature.result.decode(await job)
        finally:
            self._running = None
            self._reason = None
            pools.close()
        value: R = result
        return value

    def cancel(self, reason: str = "cancelled") -> None:
        """Asks the running activity to cancel, as a worker does.

        An ``async def`` gets ``CancelledError``; a plain ``def`` sees ``is_cancelled()``. Before
        :meth:`run`, the attempt sees the request from its beginning.
        """
        if self._running is None:
            self._reason = reason
            return
        self._running.reason = reason
        if self._running.stop is not None:
            self._running.stop()

    def _task(self, activity: Activity[..., Any], payload: bytes) -> ActivityTask:
        deadline = None if self._timeout is None else self._scheduled_at + self._timeout
        return ActivityTask(
            instance_id=self._instance_id,
            run_id=secrets.token_hex(16),
            number=1,
            name=activity.name,
            queue=self._queue,
            input=payload,
            token=secrets.token_hex(8),
            attempt=self._attempt,
            scheduled_at=self._scheduled_at,
            started_at=self._scheduled_at,
            retry=activity.default_options.retry,
            heartbeat=None,
            headers={},
            deadline=deadline,
            details=self._progress,
        )


class _Attempt(Attempt):
    """One that tells its tester of heartbeats."""

    def __init__(
        self,
        tester: ActivityTester,
        task: ActivityTask,
        activity: Activity[..., Any],
        resources: dict[str, Any],
    ) -> None:
        super().__init__(task, activity, resources)
        self._tester = tester
        self.stop: Any = None

    def heartbeat(self, details: Any) -> None:
        """See :func:`perdure.heartbeat`."""
        super().heartbeat(details)
        # As a later attempt would read it.
        kept = None if details is None else msgspec.json.decode(msgspec.json.encode(details))
        self._tester.heartbeats.append(kept)
