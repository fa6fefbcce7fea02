"""From counts to an overview; the same in every store.

PYTEST_DONT_REWRITE
"""

from __future__ import annotations

import collections
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from .records import Overview, QueueBacklog, Status

OPEN_STATES = tuple(
    status.value for status in Status if status not in (Status.COMPLETED, Status.CONTINUED)
)
"""Statuses of which runs are counted one by one: there are few of them, or they need attention."""


def make_overview(
    now: int,
    most: int,
    *,
    states: Mapping[str, int],
    parks: Mapping[str, int],
    ready: Iterable[Sequence[Any]],
    waiting: Iterable[Sequence[Any]],
    running: Iterable[Sequence[Any]],
) -> Overview:
    """An overview.

    Args:
        states: runs by state; those that are zero may be there.
        parks: parked runs by reason.
        ready, waiting, running: rows of queue, count and when the first of them began to wait.
    """
    queues: dict[str, dict[str, Any]] = {}
    for queue, count, since in ready:
        queues.setdefault(queue, {}).update(turns=min(count, most), turns_since=since)
    for queue, count, since in waiting:
        queues.setdefault(queue, {}).update(activities=min(count, most), activities_since=since)
    for queue, count, _ in running:
        queues.setdefault(queue, {}).update(running=min(count, most))
    return Overview(
        time=now,
        most=most,
        states={name: min(count, most) for name, count in sorted(states.items()) if count > 0},
        parked=dict(sorted(parks.items())),
        queues=tuple(QueueBacklog(queue=name, **queues[name]) for name in sorted(queues)),
    )


def with_holds(counts: Mapping[str, int], suspended: int, parked: int) -> dict[str, int]:
    """Counts by state from counts by status: what is held is running otherwise."""
    running = max(0, counts.get("running", 0) - suspended - parked)
    return {**counts, "running": running, "suspended": suspended, "parked": parked}


def merged(parts: Sequence[Overview]) -> Overview:
    """The overview of a store in shards."""
    most = parts[0].most

    def rows(count: str, since: str) -> list[tuple[str, int, int | None]]:
        found: dict[str, tuple[int, int | None]] = {}
        for one in (queue for part in parts for queue in part.queues):
            number, at = getattr(one, count), getattr(one, since, None)
            if number:
                known, first = found.get(one.queue, (0, None))
                times = [time for time in (first, at) if time is not None]
                found[one.queue] = (known + number, min(times, default=None))
        return [(queue, *row) for queue, row in found.items()]

    states: collections.Counter[str] = collections.Counter()
    parks: collections.Counter[str] = collections.Counter()
    for part in parts:
        states.update(part.states)
        parks.update(part.parked)
    return make_overview(
        max(part.time for part in parts),
        most,
        states=states,
        parks=parks,
        ready=rows("turns", "turns_since"),
        waiting=rows("activities", "activities_since"),
        running=rows("running", ""),
    )
