"""Signals inside a run: kept in order until somebody reads them.

PYTEST_DONT_REWRITE
"""

from __future__ import annotations

import asyncio
import collections
import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from perdure import DataConverter, Evicted, PayloadError, Serializer, Signal
from perdure_backends.history import SignalReceived

if TYPE_CHECKING:
    from ._execution import Execution


class SignalInbox:
    """Unread signals by name, who waits for them, and who handles them."""

    def __init__(self, execution: Execution, converter: DataConverter) -> None:
        self._execution = execution
        self._converter = converter
        self._loop = execution.loop
        self._arrived = 0
        self._queues: dict[str, collections.deque[tuple[int, SignalReceived]]] = {}
        self._waiters: dict[str, collections.deque[asyncio.Future[None]]] = {}
        self._handlers: dict[str, tuple[Serializer, Callable[[Any], Any]]] = {}
        self._catch_all: Callable[[str, Any], Any] | None = None
        self._received: set[str] = set()
        self.receiving = 0

    @property
    def listening(self) -> bool:
        """Whether a signal could make the run go on."""
        return self.receiving > 0 or bool(self._handlers) or self._catch_all is not None

    def unread(self) -> list[SignalReceived]:
        """Everything unread, in the order in which it came."""
        waiting = [item for queue in self._queues.values() for item in queue]
        return [event for _, event in sorted(waiting, key=lambda item: item[0])]

    def accept(self, event: SignalReceived) -> None:
        """A signal came."""
        handler = self._handlers.get(event.name)
        if handler is not None:
            self._call(*handler, event)
            return
        if self._catch_all is not None and event.name not in self._received:
            self._call_catch_all(self._catch_all, event)
            return
        self._arrived += 1
        self._queues.setdefault(event.name, collections.deque()).append((self._arrived, event))
        self._wake_one(event.name)

    def waits(self, signal: Signal[Any]) -> bool:
        """Whether a signal of this name is there."""
        self._received.add(signal.name)
        return bool(self._queues.get(signal.name))

    def _wake_one(self, name: str) -> None:
        waiters = self._waiters.get(name)
        while waiters:
            waiter = waiters.popleft()
            if not waiter.done():
                waiter.set_result(None)
                return

    async def receive(self, signal: Signal[Any]) -> Any:
        """The next signal of this name, waiting for it if need be."""
        if self._loop.closing:
            raise Evicted
        self._received.add(signal.name)
        queue = self._queues.setdefault(signal.name, collections.deque())
        while not queue:
            waiter: asyncio.Future[None] = self._loop.create_future()
            self._waiters.setdefault(signal.name, collections.deque()).append(waiter)
            self.receiving += 1
            try:
                await waiter
            except BaseException:
                waiter.cancel()
                if queue and not waiter.cancelled():
                    self._wake_one(signal.name)  # it was woken and left: the next one's turn
                raise
            finally:
                self.receiving -= 1
        return self._decode(signal.serializer(self._converter), queue.popleft()[1])

    def receive_nowait(self, signal: Signal[Any]) -> Any:
        """The next signal of this name, if it is there."""
        self._received.add(signal.name)
        queue = self._queues.get(signal.name)
        if not queue:
            raise asyncio.QueueEmpty
        return self._decode(signal.serializer(self._converter), queue.popleft()[1])

    def on_signal(self, signal: Signal[Any], handler: Callable[[Any], Any]) -> None:
        """From now on ``handler`` gets the signals, those that wait first."""
        serializer = signal.serializer(self._converter)
        self._handlers[signal.name] = (serializer, handler)
        for _, event in self._queues.pop(signal.name, ()):
            self._call(serializer, handler, event)

    def on_any_signal(self, handler: Callable[[str, Any], Any]) -> None:
        """From now on ``handler`` gets the signals that nobody else listens to."""
        self._catch_all = handler
        for event in self.unread():
            if event.name not in self._received:
                self._queues.pop(event.name, None)
                self._call_catch_all(handler, event)

    def _call(
        self, serializer: Serializer, handler: Callable[[Any], Any], event: SignalReceived
    ) -> None:
        value = self._decode(serializer, event)
        self._execution.handlers.call(
            "signal", event.name, event.headers, lambda: handler(value), self._execution.fail_by
        )

    def _call_catch_all(self, handler: Callable[[str, Any], Any], event: SignalReceived) -> None:
        serializer = self._converter.serializer(Any, f"signal {event.name!r}")
        self._call(serializer, functools.partial(handler, event.name), event)

    def _decode(self, serializer: Serializer, event: SignalReceived) -> Any:
        try:
            return serializer.decode(event.payload)
        except PayloadError as error:
            self._execution.fault(error)
            raise Evicted from error
