"""Deterministic helpers: the durable counterparts of clock, random numbers and waiting.

PYTEST_DONT_REWRITE
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, TypeVar

from ._context import WorkflowInfo, current, find_context
from ._duration import Duration, seconds
from ._failure import Failure
from ._futures import TimerFuture
from ._retry import Retry

if TYPE_CHECKING:  # each costs milliseconds at import and serves annotations alone
    import random as _random
    import uuid

    from typing_extensions import TypeForm

T = TypeVar("T")


def now() -> datetime:
    """The turn's time, aware and in UTC. It is the same at each replay."""
    return datetime.fromtimestamp(current("now()").time(), UTC)


def info() -> WorkflowInfo:
    """What is known about the running workflow instance."""
    return current("info()").info()


def is_replaying() -> bool:
    """Whether recorded history is being applied; ``False`` outside workflows.

    For logging and metrics. Never decide with it what the workflow does.
    """
    context = find_context()
    return context is not None and context.replaying


def timer(delay: Duration, name: str = "") -> TimerFuture:
    """Starts a durable timer and returns its future; cancelling the future cancels the timer.

    Args:
        delay: seconds or ``timedelta``.
        name: shown in histories.
    """
    return current("timer()").start_timer(seconds(delay, "delay"), name)


async def sleep(delay: Duration, name: str = "") -> None:
    """Sleeps durably: days and crashes included. ``sleep(0)`` lets other tasks run.

    Args:
        delay: seconds or ``timedelta``.
        name: shown in histories.
    """
    context = current("sleep()")
    duration = seconds(delay, "delay")
    if duration == 0:
        await asyncio.sleep(0)
    else:
        await context.start_timer(duration, name)


async def sleep_until(moment: datetime, name: str = "") -> None:
    """Sleeps durably until ``moment``, which must be an aware datetime.

    Raises:
        ValueError: ``moment`` has no time zone.
    """
    if moment.tzinfo is None:
        raise ValueError(
            "sleep_until() needs an aware datetime, such as datetime(…, tzinfo=timezone.utc)"
        )
    await sleep(max(0.0, (moment - now()).total_seconds()), name)


def uuid4() -> uuid.UUID:
    """A random UUID that is the same at each replay."""
    return current("uuid4()").uuid4()


def random(stream: str = "") -> _random.Random:
    """A random generator that gives the same numbers at each replay.

    Args:
        stream: each name is a generator of its own, so that a new caller does not shift the
            numbers of another.
    """
    return current("random()").random(stream)


def side_effect(function: Callable[[], T], type: TypeForm[T]) -> T:
    """Calls ``function`` once and records what it returned; replays return the recorded value.

    For short, local things (reading a setting, an id of another library). What can fail or wait
    belongs into an activity.

    Args:
        type: type of the value, by which it is stored.
    """
    value: T = current("side_effect()").side_effect(function, type)
    return value


def patched(id: str) -> bool:
    """``True`` where this run may take the new code of the change named ``id``.

    Runs that passed this point before the change have no record of it and get ``False``.
    """
    return current("patched()").patched(id)


def deprecate_patch(id: str) -> None:
    """Stands where ``patched(id)`` stood, once no run takes the old code any more.

    New runs leave no marker; runs that have one replay. When these have ended too, remove it.
    """
    current("deprecate_patch()").deprecate_patch(id)


def publish(value: T, type: TypeForm[T] | None = None) -> None:
    """Makes ``value`` the instance's published state, stored with the turn.

    Everybody can read it with ``handle.published(…)``, with no worker running. Encoded now; the
    last one of a turn is stored.

    Args:
        type: by which it is stored; by the value's own class when it is not given.
    """
    current("publish()").publish(value, type)


async def with_retries(
    policy: Retry, function: Callable[[int], Awaitable[T]], *, name: str = "retry-backoff"
) -> T:
    """Tries any code again, as activities are: ``await with_retries(Retry(attempts=5), charge)``.

    Args:
        function: called with the number of the attempt, from 1.
        name: of the timers between the attempts.

    Raises:
        Exception: what the last attempt raised. Errors of activities count as what failed there;
            what is not retryable is not tried again.
    """
    context = current("with_retries()")
    started = context.time()
    attempt = 0
    while True:
        attempt += 1
        try:
            return await function(attempt)
        except Exception as error:
            recorded: Failure | None = getattr(error, "failure", None)
            if recorded is None:  # an error of a registered class, delivered as itself
                recorded = getattr(error.__cause__, "failure", None)
            failure = recorded if recorded is not None else Failure.of(error, with_stack=False)
            draw = context.random(name).random() if policy.jitter else 0.0
            delay = policy.next_delay(attempt, failure, elapsed=context.time() - started, draw=draw)
            if delay is None:
                raise
            after: float | None = getattr(error, "retry_after", None)
        await sleep(delay if after is None else after, name)


async def wait_until(predicate: Callable[[], bool]) -> None:
    """Waits until ``predicate()`` is true; it is evaluated whenever something has happened.

    Combine with ``asyncio.timeout`` for a limit. The predicate must be quick and free of effects.
    """
    await current("wait_until()").wait_until(predicate)
