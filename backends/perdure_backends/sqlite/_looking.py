"""Reading: descriptions, pending work, listings.

PYTEST_DONT_REWRITE
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from typing import Any

from .._states import HIGHEST, in_state, status_in
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
from ._statements import SQL


def describe(
    conn: sqlite3.Connection, instance_id: str, run_id: str | None
) -> InstanceRecord | None:
    """See :meth:`Backend.describe`."""
    if run_id is None:
        where = " WHERE r.instance_id = ? ORDER BY r.serial DESC LIMIT 1"
        row = conn.execute(SQL["describe"] + where, (instance_id,)).fetchone()
    else:
        where = " WHERE r.run_id = ? AND r.instance_id = ?"
        row = conn.execute(SQL["describe"] + where, (run_id, instance_id)).fetchone()
    return None if row is None else instance_record(row)


def describe_runs(conn: sqlite3.Connection, run_ids: Sequence[str]) -> list[InstanceRecord | None]:
    """See :meth:`Backend.describe_runs`."""
    where = " WHERE r.run_id IN (SELECT value FROM json_each(?))"
    rows = conn.execute(SQL["describe"] + where, (json.dumps(list(run_ids)),))
    found = {row[1]: instance_record(row) for row in rows}
    return [found.get(run_id) for run_id in run_ids]


def ends(conn: sqlite3.Connection, run_ids: Sequence[str]) -> list[RunEnd]:
    """See :meth:`Backend.ends`."""
    return [run_end(row) for row in conn.execute(SQL["ends"], (json.dumps(list(run_ids)),))]


def pending(conn: sqlite3.Connection, run_id: str) -> Pending:
    """See :meth:`Backend.pending`."""
    row = conn.execute("SELECT serial, unread FROM runs WHERE run_id = ?", (run_id,)).fetchone()
    if row is None:
        return Pending()
    serial, unread = row
    rows = conn.execute(SQL["pending_activities"], (serial,))
    activities = tuple(map(pending_activity, rows))
    timers = tuple(NewTimer(*row) for row in conn.execute(SQL["pending_timers"], (serial,)))
    return Pending(activities=activities, timers=timers, inbox=unread)


def list_sessions(conn: sqlite3.Connection) -> list[SessionRecord]:
    """See :meth:`Liveness.list_sessions`."""
    return [
        SessionRecord(
            start=session_decoder.decode(start), opened_at=opened_at, expires_at=expires_at
        )
        for start, opened_at, expires_at in conn.execute(SQL["list_sessions"])
    ]


def list_instances(
    conn: sqlite3.Connection, filter: ListFilter, after: str | None, limit: int
) -> ListPage:
    """See :meth:`Listing.list_instances`."""
    # Those of each state by themselves, for that is what the index has.
    rows: list[Any] = []
    for state in dict.fromkeys(filter.states) or (None,):
        rows += _list_rows(conn, filter, state, after, limit + 1)
    rows.sort(key=lambda row: row[19], reverse=True)
    page = rows[:limit]
    return ListPage(
        instances=tuple(map(instance_record, page)),
        after=str(page[-1][19]) if len(rows) > limit and page else None,
    )


def _list_rows(
    conn: sqlite3.Connection, filter: ListFilter, state: str | None, after: str | None, limit: int
) -> list[Any]:
    conditions: list[str] = []
    values: list[Any] = []

    def add(condition: str, *parameters: Any) -> None:
        conditions.append(condition)
        values.extend(parameters)

    if after is not None:
        add("r.serial < ?", int(after))
    if not filter.all_runs:
        add(
            "NOT EXISTS (SELECT 1 FROM runs AS n "
            "WHERE n.instance_id = r.instance_id AND n.serial > r.serial)"
        )
    if filter.workflow is not None:
        add("r.workflow = ?", filter.workflow)
    if filter.queue is not None:
        add("r.queue = ?", filter.queue)
    if filter.id_prefix is not None:
        low, high = filter.id_prefix, filter.id_prefix + HIGHEST
        add("r.instance_id >= ? AND r.instance_id < ?", low, high)
    if filter.started_after is not None:
        add("r.started_at >= ?", filter.started_after)
    if filter.started_before is not None:
        add("r.started_at < ?", filter.started_before)
    if filter.finished_before is not None:
        add("r.finished_at < ?", filter.finished_before)
    if state is not None:
        add(in_state(state, "?"), status_in(state))
    where = " WHERE " + " AND ".join(conditions) if conditions else ""
    text = f"{SQL['describe']}{where} ORDER BY r.serial DESC LIMIT ?"
    return conn.execute(text, (*values, limit)).fetchall()
