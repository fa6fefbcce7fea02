"""Waiting for ends of runs: one watcher for all who wait in a client.

PYTEST_DONT_REWRITE
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Iterator, Sequence
from typing import Any, Final

from perdure import (
    BackendError,
    DataConverter,
    Failure,
    InternalError,
    Workflow,
    WorkflowCancelledError,
    WorkflowError,
    WorkflowFailedError,
    WorkflowTerminatedError,
    WorkflowTimeoutError,
)
from perdure.extension import cause_of
from perdure_backends import Backend
from perdure_backends.records import RunEnd, Status

_log: Final = logging.getLogger("perdure.runtime")

_SLOW_POLL: Final = 1.0
_CHUNK: Final = 500
_SHARE: Final = 4
"""So many times as long as a look at all that is awaited takes, the next one waits at most."""
_SHARE_OF_MISSING: Final = 20
"""And so many times as long as it takes to see that all of them are there."""


class ResultWatcher:
    """Looks for awaited runs when a store says that some have ended, and now and then."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._waiting: dict[str, list[asyncio.Future[RunEnd | None]]] = {}
        self._fresh: set[str] = set()
        self._missed_at = 0.0
        self._task: asyncio.Task[None] | None = None
        self._wake: Any = None

    async def wait(self, run_id: str) -> RunEnd | None:
        """The end of a run, over continue-as-new; ``None`` when it is not there any more.

        Raises:
            BackendError: the store could not be asked.
        """
        loop = asyncio.get_running_loop()
        while True:
            future: asyncio.Future[RunEnd | None] = loop.create_future()
            self._waiting.setdefault(run_id, []).append(future)
            self._fresh.add(run_id)
            if self._task is None:
                self._task = loop.create_task(self._watch())
            elif self._wake is not None:
                self._wake.wake()
            try:
                end = await future
            finally:
                self._leave(run_id, future)
            if end is None or end.continued_to is None:
                return end
            run_id = end.continued_to

    def _leave(self, run_id: str, future: asyncio.Future[RunEnd | None]) -> None:
        waiters = self._waiting.get(run_id)
        if waiters is not None and future in waiters:
            waiters.remove(future)
            if not waiters:
                del self._waiting[run_id]
        if not self._waiting and self._wake is not None:
            self._wake.wake()

    async def _watch(self) -> None:
        try:
            with self._backend.wakeups.listen_finished() as waiter:
                self._wake = waiter
                loop = asyncio.get_running_loop()
                ended: set[str] | None = None
                owed, allowed = False, 0.0
                self._missed_at = loop.time() + _SLOW_POLL
                while self._waiting:
                    begun = loop.time()
                    await self._look(ended)
                    if ended is None:
                        # Asked for often, all of a crowd would keep the process busy.
                        now = loop.time()
                        owed, allowed = False, now + min(_SLOW_POLL, _SHARE * (now - begun))
                    await self._miss_removed()
                    if not self._waiting:
                        return
                    pause = max(0.0, allowed - loop.time()) if owed else _SLOW_POLL
                    woken = await waiter.wait(0.0 if self._fresh else pause)
                    ended, unknown = waiter.take()
                    owed = owed or unknown or not (woken or self._fresh)
                    if owed and loop.time() >= allowed:
                        ended = None
        except Exception as error:
            # Nobody would look any more: who waits must hear of it, and not wait for ever.
            waiting, self._waiting = self._waiting, {}
            for future in (future for futures in waiting.values() for future in futures):
                if not future.done():
                    future.set_exception(error)
        finally:
            self._wake = None
            self._task = None

    async def _look(self, among: set[str] | None) -> None:
        """Asks for runs that may have ended; ``None`` means all that are awaited."""
        fresh, self._fresh = self._fresh, set()
        if among is None:
            run_ids = list(self._waiting)
        else:
            run_ids = [r for r in self._waiting if r in among or r in fresh]
        try:
            for chunk in _chunks(run_ids):
                for end in await self._backend.ends(chunk):
                    self._tell(end.run_id, end)
        except BackendError as error:
            _log.warning("results can't be asked for, trying again: %s", error)
            self._fresh.update(run_ids)
            await asyncio.sleep(_SLOW_POLL)

    async def _miss_removed(self) -> None:
        """Now and then looks whether all that are awaited are there: some may be removed."""
        clock = asyncio.get_running_loop().time
        begun = clock()
        if begun < self._missed_at:
            return
        try:
            for chunk in _chunks(list(self._waiting)):
                records = await self._backend.describe_runs(chunk)
                for run_id, record in zip(chunk, records, strict=True):
                    if record is None:
                        self._tell(run_id, None)
        except BackendError as error:
            _log.debug("whether what is awaited is there can't be asked for: %s", error)
        now = clock()
        self._missed_at = now + max(_SLOW_POLL, _SHARE_OF_MISSING * (now - begun))

    def _tell(self, run_id: str, end: RunEnd | None) -> None:
        for future in self._waiting.pop(run_id, ()):
            if not future.done():
                future.set_result(end)


def _chunks(run_ids: Sequence[str]) -> Iterator[Sequence[str]]:
    for start in range(0, len(run_ids), _CHUNK):
        yield run_ids[start : start + _CHUNK]


_ERRORS: Final[dict[Status, type[WorkflowError]]] = {
    Status.FAILED: WorkflowFailedError,
    Status.CANCELLED: WorkflowCancelledError,
    Status.TERMINATED: WorkflowTerminatedError,
    Status.TIMED_OUT: WorkflowTimeoutError,
}


def outcome_of(end: RunEnd, workflow: Workflow[..., Any] | None, converter: DataConverter) -> Any:
    """The decoded result of an ended run.

    Raises:
        WorkflowError: it ended without one.
        PayloadError: the stored result is not of the annotated type.
    """
    if end.status is Status.COMPLETED:
        if end.result is None:
            raise InternalError(f"run {end.run_id} completed without a result")
        if workflow is None:
            return json.loads(converter.unwrap(end.result))
        return workflow.definition.signature.converted(converter).result.decode(end.result)
    error = _ERRORS.get(end.status)
    if error is None:
        raise InternalError(f"run {end.run_id} ended as {end.status}")
    failure = end.failure if end.failure is not None else Failure("Unknown", "no record")
    raised = error(end.instance_id, failure)
    raised.__cause__ = cause_of(failure, converter)
    raise raised
