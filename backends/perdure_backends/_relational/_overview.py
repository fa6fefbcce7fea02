"""What a store shows of itself at a glance, and documents beside its instances.

PYTEST_DONT_REWRITE
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from .._overview import OPEN_STATES, make_overview, with_holds
from .._stored import park_reason
from ..records import Document, Overview
from ._database import Database
from ._unit import Unit


async def overview(database: Database, now: int, most: int) -> Overview:
    """See :meth:`Overseeing.overview`."""

    async def count(statement: str, **values: Any) -> int:
        return int((await database.fetch(statement, most=most, **values))[0][0])

    parked = await database.fetch("some_parked", most=most)
    parks = Counter(park_reason(bytes(row[0])) for row in parked)
    counts = {status: await count("count_state", status=status) for status in OPEN_STATES}
    counts["completed"] = await count("count_completed")
    return make_overview(
        now,
        most,
        states=with_holds(counts, await count("count_suspended"), parks.total()),
        parks=parks,
        ready=await database.fetch("ready_by_queue", most=most),
        waiting=await database.fetch("waiting_by_queue", now=now, most=most),
        running=await database.fetch("running_by_queue", most=most),
    )


async def put_documents(unit: Unit, documents: Sequence[Document]) -> None:
    """See :meth:`Documents.put_documents`."""
    unit.also("put_documents", *[(one.collection, one.key, one.value) for one in documents])


async def list_documents(
    database: Database, collection: str, after: str | None, limit: int, *, newest_first: bool
) -> list[Document]:
    """See :meth:`Documents.list_documents`."""
    if newest_first:
        rows = await database.fetch(
            "newest_documents", collection=collection, after=after, limit=limit
        )
    else:
        rows = await database.fetch(
            "list_documents", collection=collection, after=after or "", limit=limit
        )
    return [Document(name, key, bytes(value)) for name, key, value in rows]
