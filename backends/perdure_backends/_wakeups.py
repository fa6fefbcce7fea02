"""In-process wake-ups: a store says that something may have happened, sleepers look again.

A wake-up is a hint. Whoever waits looks at the store first and after each hint, and a slow poll
backs up hints that never came.

PYTEST_DONT_REWRITE
"""

from __future__ import annotations

import asyncio
import itertools
import threading
from collections.abc import Callable, Generator, Iterable
from contextlib import contextmanager
from typing import Final

TURNS: Final = "turns"
"""An instance may be claimable."""
ACTIVITIES: Final = "activities"
"""An activity may be claimable."""
ANSWERS: Final = "answers"
"""A query or an update may be answered."""
DUE: Final = "due"
"""Something may come due earlier than was known."""


class Wakeups:
    """Listeners by topic, on any event loop of this process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._ids = itertools.count()
        self._listeners: dict[str, dict[int, Callable[[], None]]] = {}
        self._finish_waiters: dict[int, FinishWaiter] = {}

    def notify_finished(self, run_ids: Iterable[str] | None) -> None:
        """Wakes who waits for results; ``None`` when it is not known which runs have ended."""
        for waiter in list(self._finish_waiters.values()):
            waiter.add(run_ids)

    @contextmanager
    def listen_finished(self) -> Generator[FinishWaiter]:
        """A waiter for ends of runs on the running event loop."""
        waiter = FinishWaiter(asyncio.get_running_loop())
        key = next(self._ids)
        with self._lock:
            self._finish_waiters[key] = waiter
        try:
            yield waiter
        finally:
            with self._lock:
                del self._finish_waiters[key]

    def notify(self, *topics: str) -> None:
        """Wakes all who listen to one of the topics. From any thread."""
        for topic in topics:
            listeners = self._listeners.get(topic)
            if listeners:
                for wake in list(listeners.values()):
                    wake()

    @contextmanager
    def listen(self, topic: str) -> Generator[Waiter]:
        """A waiter for the running event loop, woken by each notification of the topic."""
        waiter = Waiter(asyncio.get_running_loop())
        key = next(self._ids)
        with self._lock:
            self._listeners.setdefault(topic, {})[key] = waiter.wake
        try:
            yield waiter
        finally:
            with self._lock:
                del self._listeners[topic][key]


class Waiter:
    """One sleeper. A wake between two waits is not lost."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._thread = threading.get_ident()
        self._woken = False
        self._future: asyncio.Future[None] | None = None

    def wake(self) -> None:
        """Ends the current wait, or the next one at once. From any thread."""
        if self._woken:
            return
        self._woken = True
        if threading.get_ident() == self._thread:
            self._resolve()
        else:
            try:
                self._loop.call_soon_threadsafe(self._resolve)
            except RuntimeError:  # that loop is closed: nobody sleeps there any more
                pass

    def _resolve(self) -> None:
        if self._future is not None and not self._future.done():
            self._future.set_result(None)

    async def wait(self, timeout: float | None) -> bool:
        """Sleeps until woken (``True``) or for ``timeout`` seconds (``False``)."""
        if not self._woken and (timeout is None or timeout > 0):
            self._future = future = self._loop.create_future()
            handle = None if timeout is None else self._loop.call_later(timeout, self._resolve)
            try:
                if not self._woken:  # another thread may have come in between
                    await future
            finally:
                self._future = None
                if handle is not None:
                    handle.cancel()
        woken, self._woken = self._woken, False
        return woken


class FinishWaiter(Waiter):
    """A sleeper that is told which runs have ended."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(loop)
        self._ended: set[str] = set()
        self._unknown = False

    def add(self, run_ids: Iterable[str] | None) -> None:
        """Notes ends and wakes. From any thread."""
        if run_ids is None:
            self._unknown = True
        else:
            self._ended.update(run_ids)
        self.wake()

    def take(self) -> tuple[set[str], bool]:
        """The runs that ended since the last call, and whether others may have as well."""
        ended, self._ended = self._ended, set()
        unknown, self._unknown = self._unknown, False
        return ended, unknown
