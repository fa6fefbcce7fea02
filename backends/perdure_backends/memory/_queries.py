"""Queries and answers of the memory store.

PYTEST_DONT_REWRITE
"""

from __future__ import annotations

from .._policies import QUERY_PAUSE, offered
from .._wakeups import ANSWERS, DUE, TURNS
from ..records import QueryAnswer, QueryClaim, QueryRequest, QueryTask, SendResult
from ._state import Query, State


def ask(state: State, request: QueryRequest) -> SendResult:
    """See :meth:`Backend.ask`."""
    run = state.current(request.instance_id)
    if request.run_id is not None:
        run = state.runs.get(request.run_id)
    if run is None or run.instance_id != request.instance_id:
        return SendResult.NOT_FOUND
    if request.id not in state.queries:
        state.queries[request.id] = Query(run, request, state.clock())
        state.topics.update((TURNS, DUE))
    return SendResult.ACCEPTED


def claim_queries(state: State, claim: QueryClaim) -> list[QueryTask]:
    """See :meth:`Backend.claim_queries`."""
    now = state.clock()
    offers = {(offer.workflow, offer.version) for offer in claim.offers}
    tasks: list[QueryTask] = []
    for query in state.queries.values():
        if len(tasks) >= claim.limit:
            break
        run = query.run
        if (
            query.answer is not None
            or query.expires_at <= now
            or (query.claimed_at is not None and query.claimed_at + QUERY_PAUSE > now)
            or run.turn == 0
            or run.queue not in claim.queues
            or not offered(offers, run.workflow, run.version)
        ):
            continue
        query.claimed_at = now
        tasks.append(
            QueryTask(
                id=query.request.id,
                instance_id=run.instance_id,
                run_id=run.run_id,
                workflow=run.workflow,
                version=run.version,
                queue=run.queue,
                turn=run.turn,
                started_at=run.started_at,
                entry=query.request.entry,
            )
        )
    return tasks


def answer(state: State, answers: list[QueryAnswer]) -> None:
    """See :meth:`Backend.answer`."""
    for item in answers:
        query = state.queries.get(item.id)
        if query is not None and query.answer is None:
            query.answer = item
            state.topics.add(ANSWERS)


def read_answers(state: State, query_ids: list[str]) -> list[QueryAnswer | None]:
    """See :meth:`Backend.read_answers`."""
    found: list[QueryAnswer | None] = []
    for query_id in query_ids:
        query = state.queries.get(query_id)
        found.append(query.answer if query is not None else None)
        if query is not None and query.answer is not None:
            del state.queries[query_id]
    return found
