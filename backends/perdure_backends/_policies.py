"""Decisions that every store takes alike: retries, time-outs, suspects.

PYTEST_DONT_REWRITE
"""

from __future__ import annotations

from collections.abc import Container
from typing import Final

from perdure import Failure, Retry
from perdure.extension import CATCH_ALL

from .history import ActivityFailed, ChildFailed, Parent, encode_event
from .records import ActivityResult, QueueLimit

MAX_LOSSES: Final = 3
"""Losses of a lone owner after which a run is parked, or an activity's attempt fails."""


def convicted(lone_losses: int, all_losses: int) -> bool:
    """Whether the losses say that something kills its workers, and not that workers are killed.

    Args:
        lone_losses: sessions that were lost while it executed alone.
        all_losses: all sessions that were lost since the first of them. Where others die about
            as often, it is the surroundings that kill, and no innocent must pay for that.
    """
    unrelated = all_losses - lone_losses
    return lone_losses >= MAX_LOSSES and 2 * unrelated <= lone_losses


SUSPECT_AFTER: Final = 2
"""Losses in company after which something is run alone."""

MAX_INBOX: Final = 10_000
"""Unread messages that an instance takes before senders are told that it is full."""


ANY_WORKFLOW: Final = (CATCH_ALL, 0)
"""The offer of a worker that runs every workflow."""

QUERY_PAUSE: Final = 10_000_000
"""Microseconds after which a query that was handed out and not answered is handed out again."""


def offered(offers: Container[tuple[str, int]], workflow: str, version: int) -> bool:
    """Whether a worker can run it: it has the very workflow, or a catch-all."""
    return (workflow, version) in offers or ANY_WORKFLOW in offers


class Bucket:
    """How many activities of a limited queue may start now.

    Args:
        limit: starts in a second, and how many at once.
        level: starts that were allowed at time ``at`` (microseconds); ``burst`` when it is new.
    """

    def __init__(self, limit: QueueLimit, level: float | None = None, at: int = 0) -> None:
        self.limit = limit
        self.level = float(limit.burst) if level is None else level
        self.at = at

    def available(self, now: int) -> int:
        """Starts that are allowed now."""
        passed = max(0, now - self.at) / 1e6
        self.level = min(float(self.limit.burst), self.level + passed * self.limit.per_second)
        self.at = max(self.at, now)
        return int(self.level + 1e-9)

    def take(self, count: int) -> None:
        """Uses some up, just after :meth:`available`."""
        self.level -= count

    def next_at(self, now: int) -> int | None:
        """When the next start will be allowed; ``None`` when one is allowed already."""
        if self.available(now) >= 1:
            return None
        return now + max(1, round((1 - self.level) / self.limit.per_second * 1e6))


def retry_at(
    retry: Retry, attempt: int, failure: Failure, scheduled_at: int, now: int
) -> int | None:
    """When the next attempt is due, or ``None`` when the activity has failed for good."""
    delay = retry.next_delay(attempt, failure, elapsed=(now - scheduled_at) / 1e6)
    return None if delay is None else now + round(delay * 1e6)


def after_attempt(
    result: ActivityResult, retry: Retry, attempt: int, scheduled_at: int, now: int
) -> tuple[int, bytes | None]:
    """When an attempt without an outcome is due again, or the entry when it has failed for good."""
    if result.failure is None or result.retry_in is not None:
        return now + (result.retry_in or 0), None
    due = retry_at(retry, attempt, result.failure, scheduled_at, now)
    if due is None:
        return now, activity_failed(result.number, result.failure, "failed")
    return due, None


def activity_failed(number: int, failure: Failure, kind: str) -> bytes:
    """The inbox entry of an activity that has failed for good."""
    return encode_event(ActivityFailed(number, failure, kind))


def timeout_failure(what: str, limit: int) -> Failure:
    """An activity passed a time-out of ``limit`` microseconds."""
    return Failure(
        "ActivityTimeoutError",
        f"the {what} time-out of {limit / 1e6:g} s has passed",
        retryable=what in ("start_to_close", "heartbeat"),
    )


def crash_failure(losses: int) -> Failure:
    """An activity took its worker down each time."""
    return Failure(
        "WorkerCrashed",
        f"its worker process died {losses} times while nothing else ran: the activity seems to "
        "kill it (os._exit, a segmentation fault, memory)",
    )


def first_deadline(
    *,
    now: int,
    scheduled_at: int,
    running: bool,
    start_to_close: int | None,
    schedule_to_close: int | None,
    schedule_to_start: int | None,
    heartbeat: int | None,
) -> int | None:
    """When the first of an activity's time-outs passes, given that it starts (or waits) now."""
    limits: list[int] = []
    if schedule_to_close is not None:
        limits.append(scheduled_at + schedule_to_close)
    if running and start_to_close is not None:
        limits.append(now + start_to_close)
    if running and heartbeat is not None:
        limits.append(now + heartbeat)
    if not running and schedule_to_start is not None:
        limits.append(scheduled_at + schedule_to_start)
    return min(limits) if limits else None


def child_ended(parent: Parent | None, failure: Failure, kind: str) -> bytes | None:
    """The entry for a parent whose sub-workflow ended from outside; ``None`` without a parent."""
    if parent is None:
        return None
    return encode_event(ChildFailed(parent.number, failure, kind))


def cancelled_entry(number: int) -> bytes:
    """The inbox entry of an activity whose cancellation is confirmed."""
    failure = Failure("ActivityCancelledError", "the activity was cancelled", retryable=False)
    return activity_failed(number, failure, "cancelled")
