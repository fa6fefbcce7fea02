"""Group commit: what several callers want from the store at once goes out together.

A batch is formed while the previous one is on its way; nobody waits while the store is idle. An
error that one item causes splits the batch, so that it harms no other item.

PYTEST_DONT_REWRITE
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, Generic, TypeVar

from perdure import BackendUnavailableError

I = TypeVar("I")  # noqa: E741
O = TypeVar("O")  # noqa: E741

_log: Final = logging.getLogger("perdure.runtime")

_FIRST_PAUSE: Final = 0.05
_LONGEST_PAUSE: Final = 2.0


class Batcher(Generic[I, O]):
    """Sends items in batches and hands each its answer.

    Args:
        send: one call to the store; answers in order.
        limit: greatest number of items in one batch.
        patience: seconds during which an unavailable store is tried again.
        weigh: size of an item in bytes; a batch ends before it would pass ``heaviest``.
    """

    def __init__(
        self,
        send: Callable[[Sequence[I]], Awaitable[Sequence[O]]],
        *,
        limit: int = 500,
        patience: float = 60.0,
        weigh: Callable[[I], int] | None = None,
        heaviest: int = 16 * 1024 * 1024,
    ) -> None:
        self._send = send
        self._limit = limit
        self._patience = patience
        self._weigh = weigh
        self._heaviest = heaviest
        self._waiting: list[tuple[I, Callable[[O | BaseException], None]]] = []
        self._task: asyncio.Task[None] | None = None

    def submit(self, item: I, answer: Callable[[O | BaseException], None]) -> None:
        """Adds an item; ``answer`` gets its outcome, or the error of its batch."""
        self._waiting.append((item, answer))
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._run())

    async def call(self, item: I) -> O:
        """Adds an item and waits for its outcome.

        Raises:
            BackendError: what the store said.
        """
        future: asyncio.Future[O] = asyncio.get_running_loop().create_future()

        def answer(outcome: O | BaseException) -> None:
            if future.done():
                return
            if isinstance(outcome, BaseException):
                future.set_exception(outcome)
            else:
                future.set_result(outcome)

        self.submit(item, answer)
        return await future

    async def idle(self) -> None:
        """Waits until everything submitted was answered."""
        while self._task is not None:
            await asyncio.wait([self._task])

    async def _run(self) -> None:
        try:
            while self._waiting:
                count = self._next_count()
                batch = self._waiting[:count]
                del self._waiting[:count]
                await self._deliver(batch)
        finally:
            self._task = None
            if self._waiting:  # the task was cancelled: others still wait for an answer
                for _, answer in self._waiting:
                    answer(asyncio.CancelledError())
                self._waiting.clear()

    def _next_count(self) -> int:
        """How many of the waiting items go out together; at least one."""
        if self._weigh is None:
            return self._limit
        weight = 0
        for count, (item, _) in enumerate(self._waiting[: self._limit]):
            weight += self._weigh(item)
            if weight > self._heaviest and count:
                return count
        return self._limit

    async def _deliver(self, batch: list[tuple[I, Callable[[O | BaseException], None]]]) -> None:
        try:
            outcomes: Sequence[O | BaseException] = await self._send_patiently(
                [item for item, _ in batch]
            )
        except Exception as error:
            if len(batch) > 1 and not isinstance(error, BackendUnavailableError):
                middle = len(batch) // 2
                await self._deliver(batch[:middle])
                await self._deliver(batch[middle:])
                return
            outcomes = [error] * len(batch)
        for (_, answer), outcome in zip(batch, outcomes, strict=True):
            try:
                answer(outcome)
            except Exception:
                _log.exception("internal error in the answer to a batch; please report it")

    async def _send_patiently(self, items: list[I]) -> Sequence[O]:
        loop = asyncio.get_running_loop()
        give_up = loop.time() + self._patience
        pause = _FIRST_PAUSE
        while True:
            try:
                return await self._send(items)
            except BackendUnavailableError as error:
                if loop.time() + pause > give_up:
                    raise
                _log.warning("the store is unavailable, trying again in %.2f s: %s", pause, error)
                await asyncio.sleep(pause)
                pause = min(2 * pause, _LONGEST_PAUSE)
