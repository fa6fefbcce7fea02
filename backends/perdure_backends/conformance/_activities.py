"""Activities: claims, attempts, outcomes, time-outs, heartbeats, cancellation.

PYTEST_DONT_REWRITE
"""

from __future__ import annotations

from typing import Any

from perdure import Failure, Retry

from ..contract import QueueControl
from ..history import ActivityFailed, decode_event
from ..records import (
    ActivityResult,
    ActivityTask,
    CancelActivity,
    CommitResult,
    Heartbeat,
    HeartbeatResult,
    NewTimer,
    QueueLimit,
    TurnTask,
)
from ._harness import SECOND, Harness, case, expect, expect_true


def _result(task: ActivityTask, **more: object) -> ActivityResult:
    return ActivityResult(run_id=task.run_id, number=task.number, token=task.token, **more)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # fields by name


def _beat(task: ActivityTask, **more: object) -> Heartbeat:
    return Heartbeat(run_id=task.run_id, number=task.number, token=task.token, **more)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # fields by name


async def _outcome(t: Harness) -> ActivityFailed:
    task = await t.claim_one()
    event = decode_event(task.inbox[-1].entry)
    if not isinstance(event, ActivityFailed):
        expect(type(event).__name__, "ActivityFailed", "last message")
        raise TypeError
    return event


@case
async def no_activity_gives_nothing(t: Harness) -> None:
    await t.session()
    expect(await t.claim_activities(), [], "activities")


@case
async def activities_are_claimed_by_queue_and_name(t: Harness) -> None:
    await t.session()
    await t.scheduled("a", queue="gpu", name="train")
    expect(await t.claim_activities(names=("train",)), [], "another queue")
    expect(await t.claim_activities(queues=("gpu",)), [], "another name")
    task = await t.claim_activity(queues=("gpu",), names=("x", "train"))
    expect((task.instance_id, task.number, task.attempt), ("a", 1, 1), "task")
    expect(await t.claim_activities(queues=("gpu",), names=("train",)), [], "claimed once")


@case
async def an_outcome_wakes_the_instance(t: Harness) -> None:
    await t.session()
    await t.scheduled("a")
    task = await t.claim_activity()
    await t.claim_none()
    expect(await t.backend.settle([_result(task, entry=t.completed())]), [True], "settle")
    turn = await t.claim_one()
    expect([entry.entry for entry in turn.inbox], [t.completed()], "inbox")
    expect(await t.backend.settle([_result(task, entry=t.completed())]), [False], "repeat")


@case
async def a_retry_waits_and_counts(t: Harness) -> None:
    await t.session()
    await t.scheduled("a")
    task = await t.claim_activity()
    failure = Failure("ValueError", "no")
    await t.backend.settle([_result(task, failure=failure, retry_in=3 * SECOND)])
    expect(await t.claim_activities(), [], "before its time")
    pending = await t.backend.pending(task.run_id)
    expect(pending.activities[0].last_failure, failure, "last failure")
    expect(pending.activities[0].state, "retrying", "state")
    t.clock.advance(3)
    again = await t.claim_activity()
    expect((again.attempt, again.token != task.token), (2, True), "second attempt")


@case
async def an_attempt_handed_back_does_not_count(t: Harness) -> None:
    await t.session()
    await t.scheduled("a")
    task = await t.claim_activity()
    await t.backend.settle([_result(task, hand_back=True)])
    expect((await t.claim_activity()).attempt, 1, "attempt")


@case
async def start_to_close_times_out_and_retries(t: Harness) -> None:
    await t.session()
    await t.scheduled("a", start_to_close=5 * SECOND, retry=Retry(attempts=2, interval=1))
    task = await t.claim_activity()
    t.clock.advance(5)
    expect((await t.backend.sweep("s1", 10)).timed_out, 1, "timed out")
    expect(await t.backend.settle([_result(task, entry=t.completed())]), [False], "late result")
    t.clock.advance(1)
    expect((await t.claim_activity()).attempt, 2, "attempt")
    t.clock.advance(5)
    await t.backend.sweep("s1", 10)
    event = await _outcome(t)
    expect((event.kind, "start_to_close" in event.failure.message), ("timeout", True), "failure")


@case
async def schedule_to_start_times_out_for_good(t: Harness) -> None:
    await t.session()
    await t.scheduled("a", schedule_to_start=2 * SECOND)
    t.clock.advance(2)
    await t.backend.sweep("s1", 10)
    event = await _outcome(t)
    expect((event.kind, "schedule_to_start" in event.failure.message), ("timeout", True), "kind")
    expect(await t.claim_activities(), [], "nothing is left")


@case
async def schedule_to_close_ends_retries(t: Harness) -> None:
    await t.session()
    await t.scheduled("a", schedule_to_close=10 * SECOND, retry=Retry.forever)
    task = await t.claim_activity()
    await t.backend.settle([_result(task, failure=Failure("E", ""), retry_in=60 * SECOND)])
    t.clock.advance(10)
    await t.backend.sweep("s1", 10)
    expect((await _outcome(t)).kind, "timeout", "kind")


@case
async def heartbeats_keep_an_attempt_alive(t: Harness) -> None:
    await t.session()
    await t.scheduled("a", heartbeat=4 * SECOND)
    task = await t.claim_activity()
    for _ in range(3):
        t.clock.advance(3)
        answer = await t.backend.heartbeat([_beat(task, details=b"7", alive=True)])
        expect(answer, [HeartbeatResult.GO_ON], "heartbeat")
        expect((await t.backend.sweep("s1", 10)).timed_out, 0, "timed out")
    t.clock.advance(4)
    expect((await t.backend.sweep("s1", 10)).timed_out, 1, "after silence")
    t.clock.advance(60)
    again = await t.claim_activity()
    expect((again.attempt, again.details), (2, b"7"), "the next attempt reads the details")
    expect(await t.backend.heartbeat([_beat(task)]), [HeartbeatResult.GONE], "the old attempt")


async def _cancel(
    t: Harness, confirm: bool, *, claimed: bool
) -> tuple[TurnTask, ActivityTask | None]:
    await t.session()
    await t.start("a")
    turn = await t.claim_one()
    await t.applied(turn, activities=(t.activity(),))
    task = await t.claim_activity() if claimed else None
    await t.applied(
        turn,
        turn=2,
        consumed=(),
        cancelled_activities=(CancelActivity(1, confirm),),
        release=True,
    )
    return turn, task


@case
async def cancelling_for_good_drops_the_record(t: Harness) -> None:
    _, task = await _cancel(t, False, claimed=True)
    expect_true(task is not None, "claimed")
    if task is not None:
        expect(await t.backend.heartbeat([_beat(task)]), [HeartbeatResult.GONE], "heartbeat")
        expect(await t.backend.settle([_result(task, entry=b"x")]), [False], "late result")
    await t.claim_none()


@case
async def cancelling_with_confirmation_waits_for_the_end(t: Harness) -> None:
    _, task = await _cancel(t, True, claimed=True)
    await t.claim_none()
    if task is not None:
        expect(await t.backend.heartbeat([_beat(task)]), [HeartbeatResult.CANCEL], "heartbeat")
        await t.backend.settle([_result(task, failure=Failure("E", ""), retry_in=1)])
    expect((await _outcome(t)).kind, "cancelled", "kind")


@case
async def cancelling_what_has_not_started_confirms_at_once(t: Harness) -> None:
    await _cancel(t, True, claimed=False)
    expect((await _outcome(t)).kind, "cancelled", "kind")
    expect(await t.claim_activities(), [], "nothing is left")


@case
async def a_finished_run_drops_its_activities(t: Harness) -> None:
    await t.session()
    await t.start("a")
    turn = await t.claim_one()
    await t.applied(turn, activities=(t.activity(1), t.activity(2)))
    task = (await t.claim_activities(limit=1))[0]
    await t.applied(turn, turn=2, consumed=(), finish=t.finish(turn))
    expect(await t.backend.heartbeat([_beat(task)]), [HeartbeatResult.GONE], "running one")
    expect(await t.claim_activities(), [], "waiting one")


@case
async def the_greatest_priority_is_claimed_first(t: Harness) -> None:
    await t.session()
    await t.start("a")
    task = await t.claim_one()
    new = tuple(t.activity(n, priority=p) for n, p in ((1, 0), (2, 5), (3, -1), (4, 5)))
    await t.applied(task, activities=new, release=True)
    order = [(await t.claim_activity(limit=1)).number for _ in range(4)]
    expect(order, [2, 4, 1, 3], "order")


@case
async def headers_travel_with_an_activity(t: Harness) -> None:
    await t.session()
    await t.scheduled("a", headers={"trace": b"\x00\xff"})
    expect((await t.claim_activity()).headers, {"trace": b"\x00\xff"}, "headers")


@case
async def a_catch_all_claims_every_activity(t: Harness) -> None:
    await t.session()
    await t.scheduled("a", name="never-heard-of")
    expect(await t.claim_activities(), [], "by name")
    expect(len(await t.claim_activities(names=("*",))), 1, "by the catch-all")


@case
async def a_failure_alone_is_judged_by_the_retry_policy(t: Harness) -> None:
    await t.session()
    await t.scheduled("a", retry=Retry(attempts=2, interval=5))
    attempt = await t.claim_activity()
    failed = ActivityResult(
        run_id=attempt.run_id, number=1, token=attempt.token, failure=Failure("E", "first")
    )
    expect(await t.backend.settle([failed]), [True], "first failure")
    expect(await t.claim_activities(), [], "not before its interval")
    t.clock.advance(6)
    attempt = await t.claim_activity()
    expect(attempt.attempt, 2, "attempt")
    last = ActivityResult(
        run_id=attempt.run_id, number=1, token=attempt.token, failure=Failure("E", "second")
    )
    expect(await t.backend.settle([last]), [True], "second failure")
    task = await t.claim_one()
    event = decode_event(task.inbox[-1].entry)
    expect(event, ActivityFailed(1, Failure("E", "second")), "outcome")


@case
async def a_detached_attempt_outlives_its_session(t: Harness) -> None:
    await t.session()
    await t.scheduled("a", start_to_close=60 * SECOND)
    attempt = await t.claim_activity()
    token: dict[str, Any] = {"run_id": attempt.run_id, "number": 1, "token": attempt.token}
    expect(await t.backend.settle([ActivityResult(**token, detach=True)]), [True], "detach")
    await t.backend.end_session("s1")
    await t.session("s2")
    expect(await t.claim_activities("s2"), [], "nobody else gets it")
    beats = await t.backend.heartbeat([Heartbeat(**token, alive=True)])
    expect(beats, [HeartbeatResult.GO_ON], "heartbeat")
    settled = await t.backend.settle([ActivityResult(**token, entry=t.completed())])
    expect(settled, [True], "outcome from elsewhere")
    expect(len((await t.claim_one("s2")).inbox), 1, "the outcome wakes the instance")


@case
async def what_was_due_first_happens_first(t: Harness) -> None:
    await t.session(lease=1000)
    await t.start("a")
    task = await t.claim_one()
    timers = (NewTimer(2, t.clock.time + 2 * SECOND), NewTimer(3, t.clock.time + 4 * SECOND))
    new = t.activity(1, schedule_to_start=3 * SECOND, retry=Retry.never)
    await t.applied(task, activities=(new,), timers=timers, release=True)
    t.clock.advance(10)
    await t.backend.sweep("s1", 100)
    inbox = [decode_event(entry.entry) for entry in (await t.claim_one()).inbox]
    kinds = [f"{type(event).__name__} {getattr(event, 'number', '')}" for event in inbox]
    expect(kinds, ["TimerFired 2", "ActivityFailed 1", "TimerFired 3"], "order")


@case
async def a_detached_attempt_times_out(t: Harness) -> None:
    await t.session(lease=1000)
    await t.scheduled("a", start_to_close=60 * SECOND, retry=Retry.never)
    attempt = await t.claim_activity()
    token: dict[str, Any] = {"run_id": attempt.run_id, "number": 1, "token": attempt.token}
    await t.backend.settle([ActivityResult(**token, detach=True)])
    t.clock.advance(61)
    await t.backend.sweep("s1", 100)
    settled = await t.backend.settle([ActivityResult(**token, entry=t.completed())])
    expect(settled, [False], "too late")
    expect(len((await t.claim_one()).inbox), 1, "the time-out wakes the instance")


# --- limits of queues (an optional protocol) ------------------------------------------------


def _limited(t: Harness) -> QueueControl | None:
    return t.backend if isinstance(t.backend, QueueControl) else None


@case
async def a_queues_limit_holds_back_claims(t: Harness) -> None:
    control = _limited(t)
    if control is None:
        return
    await t.session(lease=1000)
    await control.set_queue_limit("default", QueueLimit(queue="default", per_second=1.0, burst=2))
    expect(
        await control.queue_limits(),
        [QueueLimit(queue="default", per_second=1.0, burst=2)],
        "limits",
    )
    await t.start("a")
    task = await t.claim_one()
    new = [t.activity(n) for n in range(1, 6)]
    free = t.activity(6, queue="free", priority=-1)
    await t.applied(task, activities=(*new, free), release=True)
    queues = ("default", "free")
    first = await t.claim_activities(queues=queues)
    expect(sorted(one.number for one in first), [1, 2, 6], "a burst, and the free queue")
    expect(await t.claim_activities(queues=queues), [], "no more for now")
    report = await t.backend.sweep("s1", 100)
    expect(report.next_due, t.clock.time + SECOND, "when the next may start")
    t.clock.advance(1)
    expect(len(await t.claim_activities(queues=queues)), 1, "one a second")
    await control.set_queue_limit("default", None)
    expect(len(await t.claim_activities(queues=queues)), 2, "without a limit")


@case
async def a_queues_limit_defers_starts_of_its_own_session(t: Harness) -> None:
    control = _limited(t)
    if control is None:
        return
    await t.session()
    await control.set_queue_limit("default", QueueLimit(queue="default", per_second=1.0, burst=1))
    await t.start("a")
    task = await t.claim_one()
    new = tuple(t.activity(n, token=f"token{n}") for n in (1, 2))
    outcome = (await t.commit_items(t.turn(task, activities=new)))[0]
    expect((outcome.result, outcome.deferred), (CommitResult.APPLIED, (2,)), "deferred")
    pending = await t.backend.pending(task.run_id)
    expect([a.state for a in pending.activities], ["running", "waiting"], "states")
