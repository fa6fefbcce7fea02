"""Typed futures of durable work. They are ``asyncio`` futures: ``gather`` and friends take them.

PYTEST_DONT_REWRITE
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, TypeVar

R = TypeVar("R")


class DurableFuture(asyncio.Future[R]):
    """What a durable call returns. Awaiting it waits for the recorded outcome.

    It hashes to a number that is the same at each replay, so that sets of futures iterate alike.
    """

    _hash: int
    _on_cancel: Callable[[str | None], bool] | None = None

    def __init__(
        self,
        *,
        loop: asyncio.AbstractEventLoop,
        identity: int,
        on_cancel: Callable[[str | None], bool] | None = None,
    ) -> None:
        self._hash = identity
        self._on_cancel = on_cancel
        super().__init__(loop=loop)

    def __hash__(self) -> int:
        return self._hash

    def cancel(self, msg: Any | None = None) -> bool:
        """Asks for cancellation, as the call's cancellation type says; ``False`` when it is done.

        By default (*try*) the future is cancelled at once and the request goes out.
        """
        if self.done():
            return False
        if self._on_cancel is not None and not self._on_cancel(None if msg is None else str(msg)):
            return True  # the request is out; the future stays pending until it is confirmed
        return super().cancel(msg)

    def confirm_cancelled(self, msg: str | None = None) -> None:
        """Cancels the future itself, once the other side has confirmed. Internal."""
        super().cancel(msg)


class ActivityFuture(DurableFuture[R]):
    """The future of an activity that was scheduled by calling it."""


class WorkflowFuture(DurableFuture[R]):
    """The future of a sub-workflow that was started by calling it.

    Attributes:
        id: the sub-workflow's instance id (of its first attempt, where it is retried).
    """

    id: str = ""


class SignalFuture(DurableFuture[None]):
    """Done when a signal or cancellation was accepted by another instance."""


class TimerFuture(DurableFuture[None]):
    """Done when a timer fires; cancelling it cancels the timer."""
