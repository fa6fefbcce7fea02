"""The client for synchronous code: Django, Flask, scripts. Thin over the asynchronous one.

PYTEST_DONT_REWRITE
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Coroutine, Iterator
from types import TracebackType
from typing import TYPE_CHECKING, Any, Generic, ParamSpec, Protocol, TypeVar, overload

from perdure import (
    Call,
    DataConverter,
    Duration,
    Query,
    QueryWith,
    Signal,
    Update,
    UsageError,
    Workflow,
)
from perdure_backends import Backend
from perdure_backends import history as h
from perdure_backends.records import InstanceRecord, ListFilter, Pending

from ._client import Client
from ._connect import connect
from ._handle import Handle

if TYPE_CHECKING:
    from typing_extensions import TypeForm

P = ParamSpec("P")
R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)
T = TypeVar("T")
A = TypeVar("A")


class SyncClient:
    """A client whose methods block. Safe to share between threads, and after a fork.

    Args:
        url: the store; opened at the first call, closed by :meth:`close` or ``with``.
        converter: converts payloads; must fit the workers'.

    Errors are those of :class:`Client`.
    """

    def __init__(self, url: str, *, converter: DataConverter | None = None) -> None:
        self._url = url
        self._converter = converter
        self._lock = threading.Lock()
        self._loop: _LoopThread | None = None

    def start(self, workflow: Workflow[P, R], *args: P.args, **kwargs: P.kwargs) -> SyncHandle[R]:
        """See :meth:`Client.start`."""
        running = self._running()
        return SyncHandle(self, running.call(running.client.start(workflow, *args, **kwargs)))

    def start_call(self, call: Call[R]) -> SyncHandle[R]:
        """See :meth:`Client.start_call`."""
        running = self._running()
        return SyncHandle(self, running.call(running.client.start_call(call)))

    def run(self, workflow: Workflow[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """See :meth:`Client.run`."""
        running = self._running()
        return running.call(running.client.run(workflow, *args, **kwargs))

    def handle(self, instance_id: str, workflow: Workflow[P, R]) -> SyncHandle[R]:
        """See :meth:`Client.handle`."""
        return SyncHandle(self, self._running().client.handle(instance_id, workflow))

    def signal_with_start(
        self, call: Call[R], signal: Signal[T], payload: T, *, request_id: str | None = None
    ) -> SyncHandle[R]:
        """See :meth:`Client.signal_with_start`."""
        running = self._running()
        started = running.client.signal_with_start(call, signal, payload, request_id=request_id)
        return SyncHandle(self, running.call(started))

    def update_with_start(
        self,
        call: Call[R],
        update: Update[A, T],
        argument: A,
        *,
        id: str | None = None,
        timeout: Duration | None = None,
    ) -> tuple[SyncHandle[R], T]:
        """See :meth:`Client.update_with_start`."""
        running = self._running()
        handle, result = running.call(
            running.client.update_with_start(call, update, argument, id=id, timeout=timeout)
        )
        return SyncHandle(self, handle), result

    def list(self, filter: ListFilter | None = None) -> Iterator[InstanceRecord]:
        """See :meth:`Client.list`; read page by page."""
        running = self._running()
        records = running.client.list(filter)
        while True:
            try:
                yield running.call(_next(records))
            except StopAsyncIteration:
                return

    def call(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Runs a coroutine on the client's loop and waits for it; for what has no method here."""
        return self._running().call(coroutine)

    def close(self) -> None:
        """Closes the store. Idempotent; a later call opens it anew."""
        with self._lock:
            running, self._loop = self._loop, None
        if running is not None and running.pid == os.getpid():
            running.close()

    def __enter__(self) -> SyncClient:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _running(self) -> _LoopThread:
        with self._lock:
            # A forked child has the object but not the thread: it makes its own.
            if self._loop is None or self._loop.pid != os.getpid():
                self._loop = _LoopThread(self._url, self._converter)
            return self._loop


class Caller(Protocol):
    """Runs coroutines for synchronous code."""

    def call(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Runs a coroutine and waits for it."""
        ...


class SyncHandle(Generic[R_co]):
    """One instance, seen from synchronous code; see :class:`Handle` for each method."""

    def __init__(self, client: Caller, handle: Handle[R_co]) -> None:
        self._client = client
        self._handle = handle
        self.id = handle.id

    def result(self, timeout: Duration | None = None) -> R_co:
        """See :meth:`Handle.result`."""
        return self._client.call(self._handle.result(timeout))

    def signal(self, signal: Signal[T], payload: T, *, request_id: str | None = None) -> None:
        """See :meth:`Handle.signal`."""
        self._client.call(self._handle.signal(signal, payload, request_id=request_id))

    @overload
    def query(self, query: QueryWith[A, T], argument: A, /, *, timeout: Duration = 10.0) -> T: ...
    @overload
    def query(self, query: Query[T], /, *, timeout: Duration = 10.0) -> T: ...
    def query(self, query: Any, /, *argument: Any, timeout: Duration = 10.0) -> Any:
        """See :meth:`Handle.query`."""
        return self._client.call(self._handle.query(query, *argument, timeout=timeout))

    def published(self, type: TypeForm[T]) -> T | None:
        """See :meth:`Handle.published`."""
        return self._client.call(self._handle.published(type))

    def update(
        self,
        update: Update[A, T],
        argument: A,
        *,
        id: str | None = None,
        timeout: Duration | None = None,
    ) -> T:
        """See :meth:`Handle.update`."""
        return self._client.call(self._handle.update(update, argument, id=id, timeout=timeout))

    def cancel(self, reason: str = "") -> None:
        """See :meth:`Handle.cancel`."""
        self._client.call(self._handle.cancel(reason))

    def terminate(self, reason: str = "terminated by an operator") -> None:
        """See :meth:`Handle.terminate`."""
        self._client.call(self._handle.terminate(reason))

    def suspend(self, reason: str = "") -> None:
        """See :meth:`Handle.suspend`."""
        self._client.call(self._handle.suspend(reason))

    def resume(self) -> None:
        """See :meth:`Handle.resume`."""
        self._client.call(self._handle.resume())

    def unpark(self) -> None:
        """See :meth:`Handle.unpark`."""
        self._client.call(self._handle.unpark())

    def describe(self) -> InstanceRecord:
        """See :meth:`Handle.describe`."""
        return self._client.call(self._handle.describe())

    def state(self) -> str:
        """See :meth:`Handle.state`."""
        return self._client.call(self._handle.state())

    def pending(self) -> Pending:
        """See :meth:`Handle.pending`."""
        return self._client.call(self._handle.pending())

    def history(self) -> list[h.Turn]:
        """See :meth:`Handle.history`."""
        return self._client.call(_collect(self._handle))

    def remove(self) -> None:
        """See :meth:`Handle.remove`."""
        self._client.call(self._handle.remove())

    def __repr__(self) -> str:
        return f"<handle of {self.id!r}>"


async def _collect(handle: Handle[Any]) -> list[h.Turn]:
    return [turn async for turn in handle.history()]


async def _next(records: Any) -> InstanceRecord:
    record: InstanceRecord = await anext(records)
    return record


class _LoopThread:
    """An event loop in a thread of its own, with an open store."""

    def __init__(self, url: str, converter: DataConverter | None) -> None:
        self.pid = os.getpid()
        self._loop = asyncio.new_event_loop()
        self._stop = asyncio.Event()
        ready = threading.Event()
        self._failed: BaseException | None = None
        self.client: Client

        async def main() -> None:
            try:
                async with connect(url) as backend:
                    self._ready(backend, converter)
                    ready.set()
                    await self._stop.wait()
            except BaseException as error:
                self._failed = error
                ready.set()

        def run() -> None:
            asyncio.set_event_loop(self._loop)
            self._loop.run_until_complete(main())
            self._loop.close()

        self._thread = threading.Thread(target=run, name="perdure-client", daemon=True)
        self._thread.start()
        ready.wait()
        if self._failed is not None:
            raise self._failed

    def _ready(self, backend: Backend, converter: DataConverter | None) -> None:
        self.client = Client(backend, converter=converter)

    def call(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Runs a coroutine on the loop and waits."""
        if threading.current_thread() is self._thread:
            coroutine.close()
            raise UsageError("the synchronous client can't be used on its own event loop")
        future = asyncio.run_coroutine_threadsafe(coroutine, self._loop)
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise

    def close(self) -> None:
        """Ends the loop and its thread."""
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()
