"""One pool of connections for each event loop: a connection belongs to the loop that opened it.

PYTEST_DONT_REWRITE
"""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Generic, TypeVar

from perdure import BackendError

P = TypeVar("P")


async def opened(opening: Awaitable[P], close: Callable[[P], None]) -> P:
    """What an attempt to connect gives. One that is cancelled is waited for, and closed.

    Drivers that are cancelled in the middle of their handshake leave the socket open.
    """
    attempt = asyncio.ensure_future(opening)
    try:
        return await asyncio.shield(attempt)
    except asyncio.CancelledError:
        await asyncio.wait([attempt])
        if not attempt.cancelled() and attempt.exception() is None:
            close(attempt.result())
        raise


class LoopPools(Generic[P]):
    """Pools by event loop, made when they are first used there.

    Args:
        make: opens a pool on the running loop.
        close: closes a pool in good order, on its loop.
        terminate: drops a pool's connections at once.
        shown: the store, for errors.
    """

    def __init__(
        self,
        make: Callable[[], Awaitable[P]],
        close: Callable[[P], Awaitable[None]],
        terminate: Callable[[P], Awaitable[None]],
        shown: str,
    ) -> None:
        self._make = make
        self._close = close
        self._terminate = terminate
        self._shown = shown
        self._opened = False
        self._pools: weakref.WeakKeyDictionary[
            asyncio.AbstractEventLoop, tuple[P, AsyncGenerator[None]]
        ] = weakref.WeakKeyDictionary()
        self._opening: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Lock] = (
            weakref.WeakKeyDictionary()
        )

    def open(self) -> None:
        """Pools may be made from now on."""
        self._opened = True

    async def get(self) -> P:
        """The pool of the running loop.

        Raises:
            BackendError: it is closed, or can't be opened.
        """
        loop = asyncio.get_running_loop()
        found = self._pools.get(loop)
        if found is not None:
            return found[0]
        async with self._opening.setdefault(loop, asyncio.Lock()):
            found = self._pools.get(loop)
            if found is not None:
                return found[0]
            if not self._opened:
                raise BackendError(f"the store {self._shown} is closed")
            pool = await self._make()
            end = self._terminated_with_loop(pool)
            # `asyncio.run` ends what asynchronous generators are left when a loop is over.
            await anext(end)
            self._pools[loop] = (pool, end)
            return pool

    async def _terminated_with_loop(self, pool: P) -> AsyncGenerator[None]:
        try:
            yield
        finally:
            await self._terminate(pool)
            for _ in range(3):  # transports that were closed are gone some turns later
                await asyncio.sleep(0)

    async def _drop(self, pool: P) -> None:
        await self._terminate(pool)

    async def aclose(self) -> None:
        """Closes the pools of all loops. Idempotent."""
        self._opened = False
        mine = self._pools.pop(asyncio.get_running_loop(), None)
        for loop, (pool, _) in list(self._pools.items()):
            if not loop.is_closed():
                asyncio.run_coroutine_threadsafe(self._drop(pool), loop)
        self._pools.clear()
        if mine is not None:
            pool, end = mine
            try:
                await asyncio.wait_for(self._close(pool), 5)
            except TimeoutError:
                pass
            await end.aclose()
