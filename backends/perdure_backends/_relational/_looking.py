"""Reading: descriptions, pending work, listings. Nothing is locked.

PYTEST_DONT_REWRITE
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from .._stored import instance_record, pending_activity, run_end, session_decoder
from ..records import (
    InstanceRecord,
    ListFilter,
    ListPage,
    NewTimer,
    Pending,
    RunEnd,
    SessionRecord,
)
from ._database import Database


async def describe(
    database: Database, instance_id: str, run_id: str | None
) -> InstanceRecord | None:
    """See :meth:`Backend.describe`."""
    if run_id is None:
        rows = await database.fetch("describe_current", id=instance_id)
    else:
        rows = await database.fetch("describe_run", id=instance_id, run_id=run_id)
    return instance_record(tuple(rows[0])) if rows else None


async def describe_runs(database: Database, run_ids: Sequence[str]) -> list[InstanceRecord | None]:
    """See :meth:`Backend.describe_runs`."""
    if not run_ids:
        return []
    rows = await database.fetch("describe_runs", ids=list(run_ids))
    found = {row[1]: instance_record(tuple(row)) for row in rows}
    return [found.get(run_id) for run_id in run_ids]


async def ends(database: Database, run_ids: Sequence[str]) -> list[RunEnd]:
    """See :meth:`Backend.ends`."""
    if not run_ids:
        return []
    return [run_end(tuple(row)) for row in await database.fetch("ends", ids=list(run_ids))]


async def pending(database: Database, run_id: str) -> Pending:
    """See :meth:`Backend.pending`."""
    rows = await database.fetch("unread_of_run", run_id=run_id)
    if not rows:
        return Pending()
    serial, unread = rows[0]
    activities = await database.fetch("pending_activities", run=serial)
    timers = await database.fetch("pending_timers", run=serial)
    return Pending(
        activities=tuple(pending_activity(tuple(row)) for row in activities),
        timers=tuple(NewTimer(*row) for row in timers),
        inbox=unread,
    )


async def list_sessions(database: Database) -> list[SessionRecord]:
    """See :meth:`Liveness.list_sessions`."""
    return [
        SessionRecord(
            start=session_decoder.decode(bytes(start)), opened_at=opened_at, expires_at=expires_at
        )
        for start, opened_at, expires_at in await database.fetch("list_sessions")
    ]


async def list_instances(
    database: Database, filter: ListFilter, after: str | None, limit: int
) -> ListPage:
    """See :meth:`Listing.list_instances`."""
    found = await list_from(database, filter, after, limit + 1)
    page = found[:limit]
    following = page[-1][0] if len(found) > limit and page else None
    return ListPage(instances=tuple(record for _, record in page), after=following)


async def list_from(
    database: Database, filter: ListFilter, after: str | None, limit: int
) -> list[tuple[str, InstanceRecord]]:
    """Instances, each with the cursor that continues behind it."""
    start: tuple[int, int] | None = None
    if after is not None:
        at, _, serial = after.partition(".")
        start = (int(at), int(serial))
    rows = await _rows(database, filter, start, limit)
    return [(f"{row[6]}.{row[19]}", instance_record(tuple(row))) for row in rows]


async def _rows(
    database: Database, filter: ListFilter, start: tuple[int, int] | None, limit: int
) -> list[Any]:
    """Rows of a listing; those of each state by themselves, for that is what an index has."""
    if len(filter.states) < 2:
        return await database.list_runs(filter, start, limit)
    rows: list[Any] = []
    for state in dict.fromkeys(filter.states):
        one = msgspec.structs.replace(filter, states=(state,))
        rows += await database.list_runs(one, start, limit)
    rows.sort(key=lambda row: (row[6], row[19]), reverse=True)
    return rows[:limit]
