"""Queries, updates, published state, and starts that bring messages along.

PYTEST_DONT_REWRITE
"""

from __future__ import annotations

from typing import Any

from perdure import Failure

from ..history import QueryAsked, SignalReceived, encode_event
from ..records import (
    CommitResult,
    Message,
    Offer,
    QueryAnswer,
    QueryClaim,
    QueryRequest,
    QueryTask,
    SendResult,
    StartResult,
    UpdateAnswer,
)
from ._harness import SECOND, Harness, case, expect


async def _ask(t: Harness, instance_id: str, query_id: str, **more: Any) -> SendResult:
    fields: dict[str, Any] = {
        "id": query_id,
        "instance_id": instance_id,
        "entry": encode_event(QueryAsked("progress")),
        "lifetime": 60 * SECOND,
    }
    return (await t.backend.ask([QueryRequest(**{**fields, **more})]))[0]


async def _claim(
    t: Harness, *, queue: str = "default", offer: tuple[str, int] = ("flow", 1)
) -> list[QueryTask]:
    return await t.backend.claim_queries(
        QueryClaim(session_id="s1", queues=(queue,), offers=(Offer(*offer),), limit=10)
    )


async def _with_a_turn(t: Harness, instance_id: str) -> None:
    await t.start(instance_id)
    await t.applied(await t.claim_one(), release=True)


@case
async def a_query_is_handed_out_answered_and_forgotten(t: Harness) -> None:
    await t.session()
    await _with_a_turn(t, "a")
    expect(await _ask(t, "a", "q"), SendResult.ACCEPTED, "ask")
    expect(await t.backend.read_answers(["q"]), [None], "no answer yet")
    tasks = await _claim(t)
    expect([(task.id, task.instance_id, task.turn) for task in tasks], [("q", "a", 1)], "tasks")
    answer = QueryAnswer(id="q", result=b"5")
    await t.backend.answer([answer])
    await t.backend.answer([QueryAnswer(id="q", result=b"6")])
    expect(await t.backend.read_answers(["q", "other"]), [answer, None], "the first answer")
    expect(await t.backend.read_answers(["q"]), [None], "forgotten")


@case
async def a_query_waits_for_a_worker_that_has_the_workflow(t: Harness) -> None:
    await t.session()
    await t.start("a")
    expect(await _ask(t, "nobody", "q0"), SendResult.NOT_FOUND, "unknown instance")
    await _ask(t, "a", "q")
    expect(await _claim(t), [], "not before the first turn")
    await t.applied(await t.claim_one(), release=True)
    expect(await _claim(t, queue="other"), [], "another queue")
    expect(await _claim(t, offer=("flow", 2)), [], "another version")
    expect(len(await _claim(t, offer=("*", 0))), 1, "a catch-all")


@case
async def a_query_that_nobody_answers_is_handed_out_again(t: Harness) -> None:
    await t.session(lease=1000)
    await _with_a_turn(t, "a")
    await _ask(t, "a", "q")
    await _ask(t, "a", "q")
    expect(len(await _claim(t)), 1, "handed out")
    expect(await _claim(t), [], "not twice at once")
    t.clock.advance(11)
    expect(len(await _claim(t)), 1, "handed out again")
    t.clock.advance(60)
    expect(await _claim(t), [], "expired")
    await t.backend.sweep("s1", 100)
    await t.backend.answer([QueryAnswer(id="q", result=b"5")])
    expect(await t.backend.read_answers(["q"]), [None], "forgotten after its lifetime")


@case
async def a_query_takes_no_lease_and_reaches_finished_runs(t: Harness) -> None:
    await t.session()
    await t.run_to_end("a")
    await _ask(t, "a", "q")
    expect(len(await _claim(t)), 1, "of a finished run")
    await _with_a_turn(t, "b")
    await t.signal("b", "x")
    task = await t.claim_one()
    await _ask(t, "b", "q2")
    expect([one.id for one in await _claim(t)], ["q2"], "of a run that somebody owns")
    await t.applied(task, release=True)


@case
async def claims_of_turns_say_that_queries_wait(t: Harness) -> None:
    await t.session()
    await _with_a_turn(t, "a")
    expect((await t.claim()).queries, False, "none waits")
    await _ask(t, "a", "q")
    expect((await t.claim()).queries, True, "one waits")


@case
async def answers_to_updates_are_stored_with_the_turn(t: Harness) -> None:
    await t.session()
    await t.start("a")
    task = await t.claim_one()
    expect(await t.backend.read_updates("a", ["u"]), [None], "not seen yet")
    accepted = UpdateAnswer(update_id="u", stage="accepted")
    await t.applied(task, answers=(accepted,))
    expect(await t.backend.read_updates("a", ["u"]), [accepted], "accepted")
    done = UpdateAnswer(update_id="u", stage="completed", result=b"1")
    failed = UpdateAnswer(update_id="v", stage="completed", failure=Failure("E", "why"))
    stale = await t.commit(task, turn=5, answers=(done,))
    expect(stale, CommitResult.STALE, "a commit that is refused")
    expect(await t.backend.read_updates("a", ["u"]), [accepted], "writes no answer")
    finish = t.finish(task)
    await t.applied(task, turn=2, consumed=(), finish=finish, answers=(done, failed))
    expect(await t.backend.read_updates("a", ["u", "v"]), [done, failed], "after the end")
    await t.backend.remove("a")
    expect(await t.backend.read_updates("a", ["u"]), [None], "gone with the instance")


@case
async def rejections_consume_messages_without_a_turn(t: Harness) -> None:
    await t.session()
    await _with_a_turn(t, "a")
    await t.signal("a", "update")
    task = await t.claim_one()
    rejected = UpdateAnswer(update_id="u", stage="rejected", failure=Failure("E", "no"))
    await t.applied(task, turn=0, record=b"", events=0, answers=(rejected,), release=True)
    record = await t.backend.describe("a")
    expect((record.turn, record.events) if record else None, (1, 1), "no turn was added")
    expect(await t.backend.read_updates("a", ["u"]), [rejected], "answer")
    await t.claim_none()


@case
async def published_state_is_stored_with_the_turn(t: Harness) -> None:
    await t.session()
    await t.start("a")
    task = await t.claim_one()
    await t.applied(task, published=b"1")
    await t.applied(task, turn=2, consumed=())
    record = await t.backend.describe("a")
    expect(record.published if record else None, b"1", "kept until it changes")
    await t.applied(task, turn=3, consumed=(), published=b"2", finish=t.finish(task))
    record = await t.backend.describe("a")
    expect(record.published if record else None, b"2", "after the end")


@case
async def a_start_brings_its_messages_along(t: Harness) -> None:
    await t.session()

    def message(message_id: str) -> Message:
        entry = encode_event(SignalReceived(message_id, b"null"))
        return Message(instance_id="a", message_id=message_id, entry=entry)

    first = await t.start("a", run_id="r1", messages=(message("m1"),))
    expect((first.result, first.delivered), (StartResult.CREATED, SendResult.ACCEPTED), "first")
    again = await t.start("a", run_id="r1", messages=(message("m1"),))
    expect(again.result, StartResult.REPEATED, "a repeat")
    more = await t.start("a", if_running="use_existing", messages=(message("m2"),))
    expect((more.result, more.run_id), (StartResult.EXISTING, "r1"), "one that is there")
    refused = await t.start("a", messages=(message("m3"),))
    expect(refused.result, StartResult.RUNNING_EXISTS, "a refused start")
    task = await t.claim_one()
    expect(len(task.inbox), 3, "the start and two signals, each once")
