"""What a running activity can ask about itself.

PYTEST_DONT_REWRITE
"""

from __future__ import annotations

import asyncio
import contextvars
from datetime import datetime
from typing import Any, Final, NoReturn, Protocol, TypeVar

import msgspec

from ._errors import CompletesLater, UsageError

T = TypeVar("T")


class ActivityInfo(msgspec.Struct, frozen=True):
    """What ``activity_info()`` tells.

    Attributes:
        activity: registered name.
        instance_id, run_id: the workflow instance that asked for it.
        number: number of the command that scheduled it, within the run.
        attempt: from 1.
        idempotency_key: the same for each attempt of the same call, unique over all calls.
        scheduled_at: when the workflow scheduled it (UTC).
        deadline: when this attempt times out (UTC), if it does.
        queue: the queue that it came through.
        progress: the details of the last heartbeat, of this attempt or an earlier one.
        token: names this very attempt to :meth:`perdure_runtime.Client.activity`; empty for local
            activities.
        local: whether it runs within a turn.
    """

    activity: str
    instance_id: str
    run_id: str
    number: int
    attempt: int
    idempotency_key: str
    scheduled_at: datetime
    deadline: datetime | None
    queue: str
    progress: Any = None
    token: str = ""
    local: bool = False


class ActivityContext(Protocol):
    """What the executing side offers to a running activity."""

    def info(self) -> ActivityInfo: ...

    def heartbeat(self, details: Any) -> None: ...

    def last_heartbeat(self) -> Any: ...

    def cancelled(self) -> bool: ...

    def cancel_reason(self) -> str | None: ...

    def trace_ids(self) -> tuple[str, str] | None:
        """Trace and span of the attempt; ``None`` where nobody traces."""
        ...


activity_context: Final[contextvars.ContextVar[ActivityContext]] = contextvars.ContextVar(
    "perdure_activity"
)


def current_activity(what: str) -> ActivityContext:
    """The context of the activity that runs here.

    Raises:
        UsageError: none does.
    """
    try:
        return activity_context.get()
    except LookupError:
        raise UsageError(f"{what} works only inside a running activity") from None


def activity_info() -> ActivityInfo:
    """What is known about the running activity: attempt, idempotency key, deadline.

    Raises:
        UsageError: no activity runs here.
    """
    return current_activity("activity_info()").info()


def heartbeat(details: Any = None) -> None:
    """Says that the activity is alive; ``details`` (JSON-like) reach its next attempt.

    Callable from the activity's thread or coroutine as often as you like: sent at most every
    third of the heartbeat time-out.
    """
    current_activity("heartbeat()").heartbeat(details)


def last_heartbeat() -> Any:
    """The details of the last heartbeat of an earlier attempt, or ``None``."""
    return current_activity("last_heartbeat()").last_heartbeat()


def is_cancelled() -> bool:
    """Whether cancellation of the running activity was requested.

    Plain ``def`` activities poll it; in ``async def`` ones ``CancelledError`` is raised besides.
    """
    return current_activity("is_cancelled()").cancelled()


def cancel_reason() -> str | None:
    """Why the running activity was asked to stop, or ``None``.

    ``cancelled`` (by its workflow, or because that has ended), ``timed out``, ``lost`` (its
    worker's lease has ended, or another attempt has begun: the outcome will be refused) or
    ``stopping`` (its worker ends; it will run again elsewhere).
    """
    return current_activity("cancel_reason()").cancel_reason()


def raise_if_cancelled() -> None:
    """For plain ``def`` activities: ends the attempt if cancellation was requested.

    Raises:
        asyncio.CancelledError: it was; let it pass.
    """
    context = current_activity("raise_if_cancelled()")
    if context.cancelled():
        raise asyncio.CancelledError(context.cancel_reason())


def complete_later() -> NoReturn:
    """Ends the function without an outcome: somebody else will give it.

    With ``activity_info().token``, any process says how it went:
    ``await client.activity(token).complete(value)``. Time-outs go on: set ``start_to_close``, or a
    heartbeat that the other process sends. Not for local activities.

    Raises:
        CompletesLater: always; let it pass.
        UsageError: no activity runs here, or a local one.
    """
    if current_activity("complete_later()").info().local:
        raise UsageError("a local activity runs within its turn and can't complete later")
    raise CompletesLater
