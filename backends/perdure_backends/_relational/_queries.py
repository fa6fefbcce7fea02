"""Queries, answers to updates, and limits of queues.

PYTEST_DONT_REWRITE
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .._images import digest
from .._policies import QUERY_PAUSE, Bucket
from .._stored import bucket_of, decode_failure, encode_failure
from .._wakeups import ACTIVITIES, ANSWERS, DUE, TURNS
from ..records import (
    QueryAnswer,
    QueryClaim,
    QueryRequest,
    QueryTask,
    QueueLimit,
    SendResult,
    UpdateAnswer,
)
from ._database import Database
from ._turns import offers_of
from ._unit import Unit


async def ask(unit: Unit, requests: Sequence[QueryRequest]) -> list[SendResult]:
    """See :meth:`Backend.ask`. Runs are read without a lock: nothing of theirs changes."""
    named = [one for one in requests if one.run_id is not None]
    newest = [one for one in requests if one.run_id is None]
    found: dict[tuple[str, str | None], int] = {}
    if newest:
        rows = await unit.fetch("newest_runs", ids=sorted({one.instance_id for one in newest}))
        found.update({(instance_id, None): serial for instance_id, serial in rows})
    if named:
        rows = await unit.fetch("named_runs", ids=sorted({str(one.run_id) for one in named}))
        found.update({(instance_id, run_id): serial for instance_id, run_id, serial in rows})
    results: list[SendResult] = []
    for one in requests:
        serial = found.get((one.instance_id, one.run_id))
        if serial is None:
            results.append(SendResult.NOT_FOUND)
            continue
        unit.also("insert_queries", (one.id, serial, one.entry, unit.now + one.lifetime))
        unit.topics.update((TURNS, DUE))
        results.append(SendResult.ACCEPTED)
    return results


async def claim_queries(unit: Unit, claim: QueryClaim) -> list[QueryTask]:
    """See :meth:`Backend.claim_queries`."""
    rows = await unit.fetch(
        "claimable_queries",
        now=unit.now,
        again=unit.now - QUERY_PAUSE,
        queues=list(claim.queues),
        limit=claim.limit,
        **offers_of(claim.offers),
    )
    if rows:
        unit.also("note_query_claims", *[(row[0], unit.now) for row in rows])
    return [_task(row) for row in rows]


def _task(row: Sequence[Any]) -> QueryTask:
    return QueryTask(
        id=row[0],
        instance_id=row[1],
        run_id=row[2],
        workflow=row[3],
        version=row[4],
        queue=row[5],
        turn=row[6],
        started_at=row[7],
        entry=bytes(row[8]),
    )


async def answer(unit: Unit, answers: Sequence[QueryAnswer]) -> None:
    """See :meth:`Backend.answer`."""
    rows = [(item.id, item.result, encode_failure(item.failure)) for item in answers]
    unit.also("answer_queries", *rows)
    unit.topics.add(ANSWERS)


async def read_answers(unit: Unit, query_ids: Sequence[str]) -> list[QueryAnswer | None]:
    """See :meth:`Backend.read_answers`."""
    found: dict[str, QueryAnswer] = {}
    for query_id, result, failure in await unit.fetch("read_answers", ids=list(query_ids)):
        found[query_id] = QueryAnswer(id=query_id, result=result, failure=decode_failure(failure))
    if found:
        unit.also("delete_queries", *[(query_id,) for query_id in found])
    # Asked for twice, it is forgotten by the first time.
    return [found.pop(query_id, None) for query_id in query_ids]


async def read_updates(
    database: Database, instance_id: str, update_ids: Sequence[str]
) -> list[UpdateAnswer | None]:
    """See :meth:`Backend.read_updates`."""
    ids = {digest(update_id): update_id for update_id in update_ids}
    rows = await database.fetch("read_updates", instance_id=instance_id, ids=list(ids))
    found: dict[str, UpdateAnswer] = {}
    for key, stage, result, failure in rows:
        update_id = ids[bytes(key)]
        found[update_id] = UpdateAnswer(
            update_id=update_id, stage=stage, result=result, failure=decode_failure(failure)
        )
    return [found.get(update_id) for update_id in update_ids]


async def set_queue_limit(unit: Unit, queue: str, limit: QueueLimit | None) -> None:
    """See :meth:`QueueControl.set_queue_limit`."""
    if limit is None:
        unit.also("delete_queue_limit", (queue,))
    else:
        row = (queue, limit.per_second, limit.burst, float(limit.burst), unit.now)
        unit.also("put_queue_limit", row)
    unit.topics.add(ACTIVITIES)


async def queue_limits(database: Database) -> list[QueueLimit]:
    """See :meth:`QueueControl.queue_limits`."""
    return [bucket_of(tuple(row)).limit for row in await database.fetch("queue_limits")]


async def limited_and_waiting(database: Database, now: int) -> list[Bucket]:
    """Limits of the queues in which activities wait."""
    rows = await database.fetch("limited_and_waiting", now=now)
    return [bucket_of(tuple(row)) for row in rows]
