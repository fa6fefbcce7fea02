"""What the memory store shows of itself at a glance, and its documents in pages.

PYTEST_DONT_REWRITE
"""

from __future__ import annotations

import collections
from collections.abc import Iterable, Mapping

from .._overview import make_overview
from ..records import Document, Overview, state_word
from ._state import Run, State


def overview(state: State, most: int) -> Overview:
    """See :meth:`Overseeing.overview`."""
    now = state.clock()
    states = collections.Counter(map(_state, state.runs.values()))
    rows = [row for run in state.runs.values() for row in run.activities.values()]
    return make_overview(
        now,
        most,
        states=states,
        parks=collections.Counter(
            run.park.reason for run in state.parked.values() if run.park and not run.suspended
        ),
        ready=_by_queue((run.queue, run.ready_at) for run in state.ready.values()),
        waiting=_by_queue(
            (row.new.queue, row.due_at) for row in rows if row.owner is None and row.due_at <= now
        ),
        running=_by_queue((row.new.queue, 0) for row in rows if row.owner is not None),
    )


def _state(run: Run) -> str:
    return state_word(run.status.value, suspended=run.suspended, parked=run.park is not None)


def _by_queue(items: Iterable[tuple[str, int]]) -> list[tuple[str, int, int]]:
    counts: dict[str, tuple[int, int]] = {}
    for queue, at in items:
        count, first = counts.get(queue, (0, at))
        counts[queue] = (count + 1, min(first, at))
    return [(queue, count, first) for queue, (count, first) in counts.items()]


def page_of(
    collection: str,
    found: Mapping[str, bytes],
    after: str | None,
    limit: int,
    *,
    newest_first: bool,
) -> list[Document]:
    """See :meth:`Documents.list_documents`."""
    # Code points sort as their UTF-8 does.
    keys = sorted(found, reverse=newest_first)
    if after is not None:
        keys = [key for key in keys if (key < after if newest_first else key > after)]
    return [Document(collection, key, found[key]) for key in keys[:limit]]
