"""What the cases are written with.

PYTEST_DONT_REWRITE
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, Final

from perdure import Middleware, Retry
from perdure_backends import Backend
from perdure_backends import history as h
from perdure_backends.conformance import ConformanceError
from perdure_backends.conformance._harness import expect as expect
from perdure_backends.conformance._harness import expect_true as expect_true
from perdure_backends.records import Park

from .._client import Client
from .._connect import Local
from .._handle import Handle
from .._worker import Worker

FAST: Final = Retry(attempts=3, interval=0.01)
"""A retry policy that does not keep anybody waiting."""


class Runner:
    """Starts workers on one fresh store.

    Args:
        make_backend: gives the store, not opened yet.
        cached: whether workers keep instances in memory.
    """

    def __init__(self, make_backend: Callable[[], Backend], *, cached: bool) -> None:
        self._make = make_backend
        self._stack = AsyncExitStack()
        self._backend: Backend | None = None
        self.cached = cached

    async def backend(self) -> Backend:
        """The case's store."""
        if self._backend is None:
            self._backend = self._make()
            await self._backend.open()
            self._stack.push_async_callback(self._backend.aclose)
        return self._backend

    @asynccontextmanager
    async def __call__(
        self, *, middleware: tuple[Middleware, ...] = (), **options: Any
    ) -> AsyncGenerator[Local]:
        """A worker with these options, and a client."""
        backend = await self.backend()
        options.setdefault("cache_size", 100 if self.cached else 0)
        worker = Worker(backend, drain_timeout=1, middleware=middleware, **options)
        async with worker:
            yield Local(backend, worker, Client(backend, middleware=middleware))

    async def client(self) -> Client:
        """A client without a worker."""
        return Client(await self.backend())

    async def aclose(self) -> None:
        """Closes the store."""
        await self._stack.aclose()


Function = Callable[[Runner], Awaitable[None]]


@dataclasses.dataclass(frozen=True, slots=True)
class Case:
    """One thing that must work; ``replayable`` ones make sense without a cache as well."""

    name: str
    function: Function

    def __str__(self) -> str:
        return self.name


CASES: Final[list[Case]] = []


def case(function: Function) -> Function:
    """Adds a case under the function's name."""
    CASES.append(Case(function.__name__, function))
    return function


async def run_case(
    case: Case, make_backend: Callable[[], Backend], *, cached: bool, timeout: float = 30.0
) -> None:
    """Runs a case on a fresh store.

    Args:
        cached: whether the worker keeps instances in memory, or replays every turn.
        timeout: seconds after which the case counts as failed.

    Raises:
        ConformanceError: something is not as it must be.
    """
    runner = Runner(make_backend, cached=cached)
    try:
        async with asyncio.timeout(timeout):
            await case.function(runner)
    except TimeoutError as error:
        raise ConformanceError(f"{case.name}: not done after {timeout:g} s") from error
    finally:
        await runner.aclose()


async def eventually(condition: Callable[[], Awaitable[Any]], what: str = "condition") -> None:
    """Waits until something holds, seen from outside."""
    try:
        async with asyncio.timeout(10):
            while not await condition():  # noqa: ASYNC110  (there is nothing to wait on)
                await asyncio.sleep(0.005)
    except TimeoutError:
        raise ConformanceError(f"never came: {what}") from None


async def after_turns(handle: Handle[Any], turns: int) -> None:
    """Waits until an instance has had this many turns."""

    async def had() -> bool:
        with contextlib.suppress(Exception):
            return (await handle.describe()).turn >= turns
        return False

    await eventually(had, f"turn {turns} of {handle.id}")


async def kinds_of(handle: Handle[Any]) -> list[str]:
    """The kinds of an instance's events, in order."""
    return [h.tag_of(event) async for turn in handle.history() for event in turn.events]


async def raised_by(awaitable: Awaitable[Any], wanted: type[BaseException]) -> Any:
    """The error that it raises, which must be of a class."""
    try:
        value = await awaitable
    except wanted as error:
        return error
    raise ConformanceError(f"expected {wanted.__name__}, got the result {value!r}")


async def parked(handle: Handle[Any]) -> Park:
    """Waits until an instance is put aside; says why it was."""

    async def is_parked() -> bool:
        return (await handle.describe()).park is not None

    await eventually(is_parked, f"parking of {handle.id}")
    park = (await handle.describe()).park
    if park is None:
        raise ConformanceError(f"{handle.id} is not parked any more")
    return park
