"""Waiting for several things: what asyncio leaves out or can't do reproducibly.

PYTEST_DONT_REWRITE
"""

from __future__ import annotations

import asyncio
import collections
from collections.abc import Awaitable, Coroutine, Iterable, Iterator
from contextvars import Context
from typing import Any, TypeVar, cast

T = TypeVar("T")


class TaskGroup(asyncio.TaskGroup):
    """``asyncio.TaskGroup`` whose ``create_task`` takes durable calls too.

    Activities are scheduled by the call itself; the task waits for the outcome, and the group
    cancels it like any other when a sibling fails.
    """

    def create_task(  # type: ignore[override]  # takes more than the base does
        self,
        coro: Awaitable[T],
        *,
        name: str | None = None,
        context: Context | None = None,
    ) -> asyncio.Task[T]:
        """Adds a coroutine or a future to the group."""
        coroutine = (
            cast("Coroutine[Any, Any, T]", coro) if isinstance(coro, Coroutine) else _wait_for(coro)
        )
        return super().create_task(coroutine, name=name, context=context)


async def _wait_for(awaitable: Awaitable[T]) -> T:
    return await awaitable


def as_completed(awaitables: Iterable[Awaitable[T]]) -> Iterator[Coroutine[Any, Any, T]]:
    """As ``asyncio.as_completed``, but starting coroutines in the order given.

    Asyncio's own puts coroutines in a set, so they start in the order of their addresses, which
    no replay can repeat.
    """
    loop = asyncio.get_running_loop()
    done: collections.deque[asyncio.Future[T]] = collections.deque()
    waiters: collections.deque[asyncio.Future[None]] = collections.deque()

    def finished(future: asyncio.Future[T]) -> None:
        done.append(future)
        while waiters:
            waiter = waiters.popleft()
            if not waiter.done():
                waiter.set_result(None)
                return

    async def next_one() -> T:
        while not done:
            waiter = loop.create_future()
            waiters.append(waiter)
            await waiter
        return done.popleft().result()

    pending: list[asyncio.Future[T]] = [asyncio.ensure_future(a) for a in awaitables]
    for future in pending:
        future.add_done_callback(finished)
    return (next_one() for _ in pending)
