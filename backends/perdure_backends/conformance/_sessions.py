"""Leases of worker processes: renewal, loss, suspects.

PYTEST_DONT_REWRITE
"""

from __future__ import annotations

from ..contract import Liveness
from ..history import ActivityFailed, decode_event
from ..records import ActivityResult, CommitResult, Offer, SessionRecord, SessionStart
from ._harness import SECOND, Harness, case, expect, expect_true


async def _lose(t: Harness, session: str) -> tuple[str, ...]:
    t.clock.advance(20)
    return (await t.backend.sweep("survivor", 100)).sessions_lost


async def _survivor(t: Harness) -> None:
    await t.session("survivor", lease=100_000)


@case
async def a_renewed_session_lives(t: Harness) -> None:
    await _survivor(t)
    await t.session("s1", lease=15)
    keeper = await t.backend.keep_session("s1")
    try:
        for _ in range(3):
            t.clock.advance(10)
            expect_true(await keeper.renew(), "renewal")
            expect((await t.backend.sweep("survivor", 10)).sessions_lost, (), "lost")
        t.clock.advance(15)
        expect_true(not await keeper.renew(), "a session that has run out is not revived")
    finally:
        await keeper.aclose()


@case
async def a_lost_sessions_work_is_free(t: Harness) -> None:
    await _survivor(t)
    await t.session("s1")
    await t.start("a")
    task = await t.claim_one("s1")
    expect(await _lose(t, "s1"), ("s1",), "lost")
    expect(await t.commit(task), CommitResult.STALE, "the old owner's commit")
    again = await t.claim("survivor", alone=True)
    expect([x.run_id for x in again.tasks], [task.run_id], "taken over")


@case
async def taking_over_an_instance_leaves_running_activities_alone(t: Harness) -> None:
    await _survivor(t)
    await t.session("s1", lease=15)
    await t.session("s2", lease=1000)
    await t.start("a")
    turn = await t.claim_one("s1")
    await t.applied(turn, activities=(t.activity(),))
    attempt = await t.claim_activity("s2")
    expect(await _lose(t, "s1"), ("s1",), "lost")
    expect(await t.claim_activities("survivor"), [], "the activity's session lives")
    result = ActivityResult(
        run_id=attempt.run_id, number=1, token=attempt.token, entry=t.completed()
    )
    expect(await t.backend.settle([result]), [True], "its result counts")
    expect(len((await t.claim_one("survivor")).inbox), 1, "and wakes the instance")


@case
async def an_idle_instance_is_no_suspect(t: Harness) -> None:
    await _survivor(t)
    await t.session("s1")
    await t.start("a")
    turn = await t.claim_one("s1")
    await t.applied(turn)
    await t.signal("a", "x")
    await _lose(t, "s1")
    await t.claim_one("survivor")


@case
async def losses_in_company_make_suspects_only_when_repeated(t: Harness) -> None:
    await _survivor(t)
    for name in ("a", "b"):
        await t.start(name)
    await t.session("s1")
    expect(len((await t.claim("s1")).tasks), 2, "claimed")
    await _lose(t, "s1")
    await t.session("s2")
    claimed = await t.claim("s2")
    expect((len(claimed.tasks), claimed.suspects), (2, False), "after the first loss")
    await _lose(t, "s2")
    await t.session("s3")
    claimed = await t.claim("s3")
    expect((len(claimed.tasks), claimed.suspects), (0, True), "after the second loss")
    alone = await t.claim("s3", alone=True)
    expect(len(alone.tasks), 1, "one at a time")
    task = alone.tasks[0]
    await t.applied(task, release=True)
    await t.signal(task.instance_id, "x")
    again = await t.claim("s3")
    expect([x.run_id for x in again.tasks], [task.run_id], "a turn that went well clears it")


@case
async def an_instance_that_kills_its_worker_is_parked(t: Harness) -> None:
    await _survivor(t)
    await t.start("a")
    for i in range(3):
        name = f"s{i}"
        await t.session(name)
        claimed = await t.claim(name, alone=i > 0)
        expect(len(claimed.tasks), 1, f"claim {i}")
        await _lose(t, name)
    expect(await t.state("a"), "parked", "state")
    record = await t.backend.describe("a")
    expect_true(
        record is not None and record.park is not None and record.park.reason == "crashes",
        "the reason",
    )


@case
async def where_workers_are_killed_at_random_nobody_is_blamed(t: Harness) -> None:
    await _survivor(t)
    await t.start("a")
    for i in range(6):
        await t.session(f"bystander{i}")
        await t.session(f"s{i}")
        expect(len((await t.claim(f"s{i}", alone=i > 0)).tasks), 1, f"claim {i}")
        expect(len(await _lose(t, f"s{i}")), 2, "lost")
    expect(await t.state("a"), "running", "state")


@case
async def an_activity_that_kills_its_worker_fails(t: Harness) -> None:
    await _survivor(t)
    await t.session()
    await t.scheduled("a")
    for i in range(3):
        name = f"k{i}"
        await t.session(name)
        tasks = await t.claim_activities(name, alone=i > 0)
        expect([task.attempt for task in tasks], [1], "a lost owner is no attempt")
        await _lose(t, name)
    turn = await t.claim_one("survivor")
    event = decode_event(turn.inbox[-1].entry)
    expect_true(
        isinstance(event, ActivityFailed) and event.failure.type == "WorkerCrashed", "failure"
    )


@case
async def a_session_hands_back_what_it_never_heard_of(t: Harness) -> None:
    await t.session("s1")
    await t.session("s2")
    await t.scheduled("a")
    await t.start("b")
    await t.start("c")
    known = (await t.claim("s1", limit=1)).tasks[0]
    await t.claim("s1", limit=1)  # the answer is lost
    await t.claim_activity("s1")  # so is this one's
    expect(await t.backend.retain("s1", [known.token], []), 2, "handed back")
    expect(len((await t.claim("s2")).tasks), 1, "free instance")
    expect((await t.claim_activity("s2")).attempt, 1, "the attempt is not counted")
    await t.applied(known)


@case
async def sessions_are_shown_with_what_they_offer(t: Harness) -> None:
    if not isinstance(t.backend, Liveness):
        return
    start = SessionStart(
        id="s1",
        build="b7",
        lease=15 * SECOND,
        label="host:1",
        queues=("q",),
        workflows=(Offer("flow", 2),),
        activities=("act",),
    )
    await t.backend.open_session(start)
    record = SessionRecord(
        start=start, opened_at=t.clock.time, expires_at=t.clock.time + 15 * SECOND
    )
    expect(await t.backend.list_sessions(), [record], "sessions")
    await t.backend.end_session("s1")
    expect(await t.backend.list_sessions(), [], "after its end")


@case
async def ending_a_session_hands_everything_back(t: Harness) -> None:
    await t.session("s1")
    await t.scheduled("a")
    await t.claim_activity("s1")
    await t.start("b")
    await t.claim_one("s1")
    await t.backend.end_session("s1")
    await t.backend.end_session("s1")
    await t.session("s2")
    expect((await t.claim_one("s2")).instance_id, "b", "instance")
    expect((await t.claim_activity("s2")).attempt, 1, "the attempt is not counted")
