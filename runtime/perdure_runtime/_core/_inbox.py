"""Signals inside a run: kept in order until somebody reads them.

PYTEST_DONT_REWRITE
"""

from __future__ import annotations

import asyncio
import collections
import contextvars
import inspect
from collections.abc import Callable
from typing import Any

from perdure import DataConverter, Evicted, PayloadError, Signal
from perdure_backends.history import SignalReceived

from ._loop import WorkflowLoop


class SignalInbox:
    """Unread signals by name, who waits for them, and who handles them."""

    def __init__(
        self,
        converter: DataConverter,
        loop: WorkflowLoop,
        fault: Callable[[BaseException], None],
    ) -> None:
        self._converter = converter
        self._loop = loop
        self._fault = fault
        self._arrived = 0
        self._queues: dict[str, collections.deque[tuple[int, SignalReceived]]] = {}
        self._waiters: dict[str, collections.deque[asyncio.Future[None]]] = {}
        self._handlers: dict[str, tuple[Signal[Any], Callable[[Any], Any]]] = {}
        self._receiving = 0

    @property
    def listening(self) -> bool:
        """Whether a signal could make the run go on."""
        return self._receiving > 0 or bool(self._handlers)

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
        self._arrived += 1
        self._queues.setdefault(event.name, collections.deque()).append((self._arrived, event))
        self._wake_one(event.name)

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
        queue = self._queues.setdefault(signal.name, collections.deque())
        while not queue:
            waiter: asyncio.Future[None] = self._loop.create_future()
            self._waiters.setdefault(signal.name, collections.deque()).append(waiter)
            self._receiving += 1
            try:
                await waiter
            except BaseException:
                waiter.cancel()
                if queue and not waiter.cancelled():
                    self._wake_one(signal.name)  # it was woken and left: the next one's turn
                raise
            finally:
                self._receiving -= 1
        return self._decode(signal, queue.popleft()[1])

    def receive_nowait(self, signal: Signal[Any]) -> Any:
        """The next signal of this name, if it is there."""
        queue = self._queues.get(signal.name)
        if not queue:
            raise asyncio.QueueEmpty
        return self._decode(signal, queue.popleft()[1])

    def on_signal(self, signal: Signal[Any], handler: Callable[[Any], Any]) -> None:
        """From now on ``handler`` gets the signals, those that wait first."""
        self._handlers[signal.name] = (signal, handler)
        for _, event in self._queues.pop(signal.name, ()):
            self._call(signal, handler, event)

    def _call(
        self, signal: Signal[Any], handler: Callable[[Any], Any], event: SignalReceived
    ) -> None:
        value = self._decode(signal, event)
        outcome = contextvars.copy_context().run(handler, value)
        if inspect.iscoroutine(outcome):
            self._loop.create_task(outcome, name=f"signal-{signal.name}")

    def _decode(self, signal: Signal[Any], event: SignalReceived) -> Any:
        try:
            return signal.serializer(self._converter).decode(event.payload)
        except PayloadError as error:
            self._fault(error)
            raise Evicted from error
