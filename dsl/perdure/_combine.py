"""Waiting for several things: what asyncio leaves out or can't do reproducibly.

PYTEST_DONT_REWRITE
"""

from __future__ import annotations

import asyncio
import collections
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Iterator, Sequence, Sized
from contextvars import Context
from typing import Any, Literal, TypeVar, cast, overload

from ._errors import InvalidOptionError

A = TypeVar("A")
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


async def shielded(awaitable: Awaitable[T]) -> T:
    """Waits for something to its end, whatever is cancelled meanwhile; then lets that through.

    For clean-up that must not be left half done: ``finally: await shielded(release(room))``. Unlike
    ``asyncio.shield`` the caller does not go on before it has ended.

    Raises:
        BaseException: what it raised, or the cancellation that came meanwhile.
    """
    future: asyncio.Future[T] = asyncio.ensure_future(awaitable)
    cancelled: asyncio.CancelledError | None = None
    while not future.done():
        try:
            await asyncio.wait([future])
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is not None and (future.cancelled() or future.exception() is None):
        raise cancelled
    return future.result()


@overload
async def fan_out(
    function: Callable[[A], Awaitable[T]], items: Iterable[A], *, limit: int = 10
) -> list[T]: ...
@overload
async def fan_out(
    function: Callable[[A], Awaitable[T]],
    items: Iterable[A],
    *,
    limit: int = 10,
    return_exceptions: Literal[True],
) -> list[T | Exception]: ...
async def fan_out(
    function: Callable[[A], Awaitable[T]],
    items: Iterable[A],
    *,
    limit: int = 10,
    return_exceptions: bool = False,
) -> list[Any]:
    """Calls ``function`` for each item, at most ``limit`` at once; results in the items' order.

    Args:
        function: an activity, a workflow or a coroutine function of one argument.
        items: taken one by one, as calls are made.
        limit: calls that run at once, 1 or more.
        return_exceptions: put errors in the place of results, instead of cancelling what runs and
            raising the first one.

    Raises:
        InvalidOptionError: the limit is below 1.
        Exception: the first error, once all that was running has ended.
    """
    if limit < 1:
        raise InvalidOptionError(f"limit must be 1 or more, not {limit}")
    results: dict[int, Any] = {}
    remaining = enumerate(items)

    async def take() -> None:
        for index, item in remaining:
            try:
                results[index] = await function(item)
            except Exception as error:
                if not return_exceptions:
                    raise
                results[index] = error

    tasks: list[asyncio.Task[None]] = []
    loop = asyncio.get_running_loop()
    known = len(items) if isinstance(items, Sized) else limit
    for _ in range(min(limit, known)):
        tasks.append(loop.create_task(take()))
    try:
        done, _ = (
            await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION) if tasks else ((), ())
        )
    except asyncio.CancelledError:
        await _cancel_all(tasks)
        raise
    failed = [task for task in tasks if task in done and (task.cancelled() or task.exception())]
    if failed:
        await _cancel_all(tasks)
        failed[0].result()
    return [results[index] for index in range(len(results))]


async def _cancel_all(tasks: Sequence[asyncio.Task[Any]]) -> None:
    pending = [task for task in tasks if not task.done()]
    for task in pending:
        task.cancel()
    if pending:
        await shielded(asyncio.wait(pending))


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
