"""Channels between the tasks of a workflow: buffered or not, and closable.

PYTEST_DONT_REWRITE
"""

from __future__ import annotations

import asyncio
import collections
from typing import Generic, TypeVar

from ._errors import ChannelClosedError, InvalidOptionError

T = TypeVar("T")


class Channel(Generic[T]):
    """Passes values from task to task, in order. Only for tasks of one workflow.

    Without a capacity a sender waits until somebody receives; with one, until there is room.
    ``async for`` receives until the channel is closed and empty.

    Args:
        capacity: how many values may wait in the channel; 0 for none.

    Raises:
        InvalidOptionError: the capacity is negative.
    """

    def __init__(self, capacity: int = 0) -> None:
        if capacity < 0:
            raise InvalidOptionError(f"capacity must be 0 or more, not {capacity}")
        self.capacity = capacity
        self._closed = False
        self._buffer: collections.deque[T] = collections.deque()
        self._senders: collections.deque[tuple[T, asyncio.Future[None]]] = collections.deque()
        self._receivers: collections.deque[asyncio.Future[T]] = collections.deque()

    def __len__(self) -> int:
        """Values in the buffer."""
        return len(self._buffer)

    @property
    def closed(self) -> bool:
        """Whether :meth:`close` was called; what is in the channel can still be received."""
        return self._closed

    def can_receive(self) -> bool:
        """Whether :meth:`receive` would not wait (it raises when the channel is closed)."""
        return bool(self._buffer) or self._closed or self._next_sender()

    def can_send(self) -> bool:
        """Whether :meth:`send` would not wait (it raises when the channel is closed)."""
        return self._closed or len(self._buffer) < self.capacity or self._next_receiver()

    async def send(self, value: T) -> None:
        """Passes a value on, waiting for room or for a receiver.

        Raises:
            ChannelClosedError: the channel is closed, or was while this waited.
        """
        try:
            self.send_nowait(value)
        except asyncio.QueueFull:
            done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._senders.append((value, done))
            await done

    def send_nowait(self, value: T) -> None:
        """Passes a value on at once.

        Raises:
            asyncio.QueueFull: there is no room, and nobody waits to receive.
            ChannelClosedError: the channel is closed.
        """
        if self._closed:
            raise ChannelClosedError("send on a closed channel")
        if self._next_receiver():
            self._receivers.popleft().set_result(value)
        elif len(self._buffer) < self.capacity:
            self._buffer.append(value)
        else:
            raise asyncio.QueueFull

    async def receive(self) -> T:
        """The next value, waiting for it if need be.

        Raises:
            ChannelClosedError: the channel is closed and empty.
        """
        try:
            return self.receive_nowait()
        except asyncio.QueueEmpty:
            pass
        waiter: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._receivers.append(waiter)
        try:
            return await waiter
        except asyncio.CancelledError:
            if waiter.done() and not waiter.cancelled() and waiter.exception() is None:
                self._give_back(waiter.result())  # it came and was not taken
            raise

    def receive_nowait(self) -> T:
        """The next value, if it is there.

        Raises:
            asyncio.QueueEmpty: nothing is there.
            ChannelClosedError: the channel is closed and empty.
        """
        if self._buffer:
            value = self._buffer.popleft()
            if self._next_sender():
                waiting, done = self._senders.popleft()
                self._buffer.append(waiting)
                done.set_result(None)
            return value
        if self._next_sender():
            value, done = self._senders.popleft()
            done.set_result(None)
            return value
        if self._closed:
            raise ChannelClosedError("the channel is closed and empty")
        raise asyncio.QueueEmpty

    def close(self) -> None:
        """Takes no more values. Those who wait to send, or to receive in vain, get an error.

        Closing twice is no error.
        """
        self._closed = True
        for _, done in self._senders:
            if not done.done():
                done.set_exception(ChannelClosedError("the channel was closed during the send"))
        self._senders.clear()
        for waiter in self._receivers:
            if not waiter.done():
                waiter.set_exception(ChannelClosedError("the channel was closed"))
        self._receivers.clear()

    def __aiter__(self) -> Channel[T]:
        return self

    async def __anext__(self) -> T:
        try:
            return await self.receive()
        except ChannelClosedError:
            raise StopAsyncIteration from None

    def _give_back(self, value: T) -> None:
        if self._next_receiver():
            self._receivers.popleft().set_result(value)
        else:
            self._buffer.appendleft(value)

    def _next_sender(self) -> bool:
        """Whether a sender waits; those who were cancelled are dropped."""
        while self._senders and self._senders[0][1].done():
            self._senders.popleft()
        return bool(self._senders)

    def _next_receiver(self) -> bool:
        while self._receivers and self._receivers[0].done():
            self._receivers.popleft()
        return bool(self._receivers)
