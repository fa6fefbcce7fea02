"""What an SQLite store shows of itself at a glance, and documents beside its instances.

PYTEST_DONT_REWRITE
"""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Sequence

from .._overview import OPEN_STATES, make_overview, with_holds
from .._stored import park_reason
from ..records import Document, Overview
from ._statements import SQL


def overview(conn: sqlite3.Connection, now: int, most: int) -> Overview:
    """See :meth:`Overseeing.overview`."""

    def count(statement: str, *values: object) -> int:
        found: int = conn.execute(SQL[statement], values).fetchone()[0]
        return found

    parks = Counter(park_reason(row[0]) for row in conn.execute(SQL["some_parked"], (most,)))
    counts = {status: count("count_state", status, most) for status in OPEN_STATES}
    counts["completed"] = count("count_completed", most)
    return make_overview(
        now,
        most,
        states=with_holds(counts, count("count_suspended", most), parks.total()),
        parks=parks,
        ready=conn.execute(SQL["ready_by_queue"], (most,)),
        waiting=conn.execute(SQL["waiting_by_queue"], (now, most)),
        running=conn.execute(SQL["running_by_queue"], (most,)),
    )


def put_documents(conn: sqlite3.Connection, documents: Sequence[Document]) -> None:
    """See :meth:`Documents.put_documents`."""
    rows = [(one.collection, one.key, one.value) for one in documents]
    conn.executemany(SQL["put_document"], rows)


def list_documents(
    conn: sqlite3.Connection, collection: str, after: str | None, limit: int, *, newest_first: bool
) -> list[Document]:
    """See :meth:`Documents.list_documents`."""
    if newest_first:
        below = after if after is not None else "\U0010ffff"
        rows = conn.execute(SQL["newest_documents"], (collection, below, limit))
    else:
        rows = conn.execute(SQL["list_documents"], (collection, after or "", limit))
    return [Document(*row) for row in rows]


def clear_documents(conn: sqlite3.Connection, collection: str, before: str) -> None:
    """See :meth:`Documents.clear_documents`."""
    conn.execute(SQL["clear_documents"], (collection, before))
