"""Queries, answers to updates, and limits of queues.

PYTEST_DONT_REWRITE
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

from .._images import both
from .._policies import QUERY_PAUSE
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
from ._statements import SQL
from ._steps import Tx
from ._turns import offers_of


def ask(tx: Tx, request: QueryRequest) -> SendResult:
    """See :meth:`Backend.ask`."""
    if request.run_id is None:
        row = tx.execute(SQL["current_run"], (request.instance_id,)).fetchone()
    else:
        row = tx.execute(SQL["named_run"], (request.run_id, request.instance_id)).fetchone()
    if row is None:
        return SendResult.NOT_FOUND
    expires = tx.now + request.lifetime
    tx.execute(SQL["insert_query"], (request.id, row[0], request.entry, expires))
    tx.topics.update((TURNS, DUE))
    return SendResult.ACCEPTED


def claim_queries(tx: Tx, claim: QueryClaim) -> list[QueryTask]:
    """See :meth:`Backend.claim_queries`."""
    parameters = {
        **offers_of(claim.queues, claim.offers),
        "now": tx.now,
        "again": tx.now - QUERY_PAUSE,
        "limit": claim.limit,
    }
    tasks: list[QueryTask] = []
    for row in tx.execute(SQL["claimable_queries"], parameters).fetchall():
        tx.execute(SQL["note_query_claim"], (tx.now, row[0]))
        tasks.append(
            QueryTask(
                id=row[0],
                instance_id=row[1],
                run_id=row[2],
                workflow=row[3],
                version=row[4],
                queue=row[5],
                turn=row[6],
                started_at=row[7],
                entry=row[8],
            )
        )
    return tasks


def answer(tx: Tx, answers: Sequence[QueryAnswer]) -> None:
    """See :meth:`Backend.answer`."""
    for item in answers:
        tx.execute(SQL["answer_query"], (item.result, encode_failure(item.failure), item.id))
        tx.topics.add(ANSWERS)


def peek_answers(
    connection: sqlite3.Connection, query_ids: Sequence[str]
) -> list[QueryAnswer | None] | None:
    """What :func:`read_answers` gives when there are no answers; else ``None``."""
    rows = (connection.execute(SQL["read_answer"], (one,)).fetchone() for one in query_ids)
    if any(row is not None for row in rows):
        return None
    return [None for _ in query_ids]


def read_answers(tx: Tx, query_ids: Sequence[str]) -> list[QueryAnswer | None]:
    """See :meth:`Backend.read_answers`."""
    found: list[QueryAnswer | None] = []
    for query_id in query_ids:
        row = tx.execute(SQL["read_answer"], (query_id,)).fetchone()
        if row is None:
            found.append(None)
            continue
        tx.execute(SQL["delete_query"], (query_id,))
        found.append(QueryAnswer(id=query_id, result=row[0], failure=decode_failure(row[1])))
    return found


def read_updates(
    connection: sqlite3.Connection, instance_id: str, update_ids: Sequence[str]
) -> list[UpdateAnswer | None]:
    """See :meth:`Backend.read_updates`."""
    found: list[UpdateAnswer | None] = []
    for update_id in update_ids:
        row = connection.execute(SQL["read_update"], (instance_id, *both(update_id))).fetchone()
        found.append(
            None
            if row is None
            else UpdateAnswer(
                update_id=update_id, stage=row[0], result=row[1], failure=decode_failure(row[2])
            )
        )
    return found


def set_queue_limit(tx: Tx, queue: str, limit: QueueLimit | None) -> None:
    """See :meth:`QueueControl.set_queue_limit`."""
    if limit is None:
        tx.execute(SQL["delete_queue_limit"], (queue,))
    else:
        values = (queue, limit.per_second, limit.burst, float(limit.burst), tx.now)
        tx.execute(SQL["put_queue_limit"], values)
    tx.topics.add(ACTIVITIES)


def queue_limits(connection: sqlite3.Connection) -> list[QueueLimit]:
    """See :meth:`QueueControl.queue_limits`."""
    return [bucket_of(row).limit for row in connection.execute(SQL["queue_limits"])]
