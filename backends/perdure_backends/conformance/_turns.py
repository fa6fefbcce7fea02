"""Claims, commits, fencing, timers.

PYTEST_DONT_REWRITE
"""

from __future__ import annotations

from ..contract import Sharded
from ..history import TimerFired, decode_event, decode_turn
from ..records import (
    Action,
    CommitResult,
    InboxEntry,
    Lease,
    NewTimer,
    Park,
    Settled,
)
from ._harness import SECOND, Harness, case, expect, expect_true


@case
async def an_empty_queue_gives_nothing(t: Harness) -> None:
    await t.session()
    await t.claim_none()


@case
async def a_claim_needs_a_living_session(t: Harness) -> None:
    await t.start("a")
    await t.claim_none("unknown")


@case
async def a_claim_brings_the_start(t: Harness) -> None:
    await t.session()
    await t.start("a", run_id="r")
    task = await t.claim_one()
    expect((task.instance_id, task.run_id, task.turn), ("a", "r", 0), "task")
    expect([entry.seq for entry in task.inbox], [1], "inbox")
    expect(task.time, t.clock.time, "the store's time")


@case
async def claims_name_queues_workflows_and_versions(t: Harness) -> None:
    await t.session()
    await t.start("a", queue="q1", workflow="w", version=2)
    await t.claim_none(queues=("q2",), offers=(("w", 2),))
    await t.claim_none(queues=("q1",), offers=(("w", 1), ("v", 2)))
    task = await t.claim_one(queues=("q2", "q1"), offers=(("w", 1), ("w", 2)))
    expect((task.queue, task.workflow, task.version), ("q1", "w", 2), "task")


@case
async def a_claimed_instance_is_not_claimed_again(t: Harness) -> None:
    await t.session("s1")
    await t.session("s2")
    await t.start("a")
    await t.claim_one("s1")
    await t.claim_none("s1")
    await t.claim_none("s2")


@case
async def longest_waiting_first_and_no_more_than_asked(t: Harness) -> None:
    await t.session()
    for name in ("c", "a", "b"):
        await t.start(name)
        t.clock.advance(1)
    first = await t.claim(limit=2)
    expect(len(first.tasks), 2, "tasks claimed")
    if not isinstance(t.backend, Sharded):
        expect([task.instance_id for task in first.tasks], ["c", "a"], "order")


@case
async def a_commit_writes_its_history(t: Harness) -> None:
    await t.session()
    await t.start("a")
    task = await t.claim_one()
    await t.applied(task)
    records = await t.backend.read_history(task.run_id, 0, 10)
    expect([decode_turn(record).number for record in records], [1], "turns")
    record = await t.backend.describe("a")
    expect_true(record is not None and (record.turn, record.events) == (1, 1), "counters")
    await t.claim_none()


@case
async def history_is_read_in_pages(t: Harness) -> None:
    await t.session()
    await t.start("a")
    task = await t.claim_one()
    for number in range(1, 8):
        await t.applied(task, turn=number, consumed=(1,) if number == 1 else ())
    pages = [await t.backend.read_history(task.run_id, after, 3) for after in (0, 3, 6, 7)]
    numbers = [[decode_turn(record).number for record in page] for page in pages]
    expect(numbers, [[1, 2, 3], [4, 5, 6], [7], []], "pages")


@case
async def a_commit_without_the_lease_writes_nothing(t: Harness) -> None:
    await t.session()
    await t.start("a")
    task = await t.claim_one()
    for more in ({"token": "other"}, {"turn": 5}, {"turn": 2}):
        expect(await t.commit(task, **more), CommitResult.STALE, f"commit with {more}")
    expect(await t.commit(task, run_id="other"), CommitResult.GONE, "unknown run")
    expect(await t.backend.read_history(task.run_id, 0, 10), [], "history")
    await t.applied(task)
    expect(await t.commit(task), CommitResult.STALE, "the same turn again")


@case
async def a_repeated_commit_is_applied_once(t: Harness) -> None:
    await t.session()
    await t.start("a")
    task = await t.claim_one()
    item = t.turn(task, activities=(t.activity(),))
    expect((await t.commit_items(item))[0].result, CommitResult.APPLIED, "first")
    expect((await t.commit_items(item))[0].result, CommitResult.ALREADY, "repeat")
    expect(len(await t.backend.read_history(task.run_id, 0, 10)), 1, "turns")
    expect(len(await t.claim_activities()), 1, "activities")


@case
async def a_repeated_finish_is_applied_once(t: Harness) -> None:
    await t.session()
    await t.start("a")
    task = await t.claim_one()
    item = t.turn(task, finish=t.finish(task))
    await t.commit_items(item)
    expect((await t.commit_items(item))[0].result, CommitResult.ALREADY, "repeat")
    other = t.turn(task, turn=2)
    expect((await t.commit_items(other))[0].result, CommitResult.GONE, "after the end")


@case
async def one_stale_commit_harms_no_other(t: Harness) -> None:
    await t.session()
    for name in ("a", "b", "c"):
        await t.start(name)
    tasks = (await t.claim()).tasks
    items = [t.turn(task) for task in tasks]
    items[1] = t.turn(tasks[1], token="other")
    outcomes = await t.commit_items(*items)
    expect(
        [o.result for o in outcomes],
        [CommitResult.APPLIED, CommitResult.STALE, CommitResult.APPLIED],
        "outcomes",
    )


@case
async def a_released_instance_is_free(t: Harness) -> None:
    await t.session("s1")
    await t.session("s2")
    await t.start("a")
    task = await t.claim_one("s1")
    await t.backend.release([Lease(task.run_id, task.token)])
    again = await t.claim_one("s2")
    expect_true(again.token != task.token, "a new token")
    expect(await t.commit(task), CommitResult.STALE, "the old owner's commit")
    await t.backend.release([Lease(task.run_id, task.token)])
    await t.applied(again)


@case
async def timers_fire_by_the_stores_clock(t: Harness) -> None:
    await t.session()
    await t.start("a")
    task = await t.claim_one()
    due = t.clock.time + 10 * SECOND
    timers = (NewTimer(1, due), NewTimer(2, due + SECOND), NewTimer(3, due))
    await t.applied(task, timers=timers, release=True)
    report = await t.backend.sweep("s1", 100)
    expect((report.fired, report.next_due), (0, due), "before")
    t.clock.advance(10)
    expect((await t.backend.sweep("s1", 100)).fired, 2, "fired")
    fired = await t.claim_one()
    events = [decode_event(entry.entry) for entry in fired.inbox]
    expect(sorted(e.number for e in events if isinstance(e, TimerFired)), [1, 3], "timers")
    expect((await t.backend.sweep("s1", 100)).fired, 0, "each once")


@case
async def a_cancelled_timer_does_not_fire(t: Harness) -> None:
    await t.session()
    await t.start("a")
    task = await t.claim_one()
    await t.applied(task, timers=(NewTimer(1, t.clock.time + SECOND),))
    await t.applied(task, turn=2, consumed=(), cancelled_timers=(1,), release=True)
    t.clock.advance(5)
    expect((await t.backend.sweep("s1", 100)).fired, 0, "fired")
    await t.claim_none()


@case
async def results_ride_in_turns_under_their_own_token(t: Harness) -> None:
    await t.session()
    await t.start("a")
    task = await t.claim_one()
    await t.applied(task, activities=(t.activity(1, token="t1"),))
    expect(await t.claim_activities(), [], "reserved activities are not offered")
    stale = await t.commit(task, turn=2, consumed=(), settled=(Settled(1, "other"),))
    expect(stale, CommitResult.STALE, "a void token")
    await t.applied(task, turn=2, consumed=(), settled=(Settled(1, "t1"),))
    again = await t.commit(task, turn=3, consumed=(), settled=(Settled(1, "t1"),))
    expect(again, CommitResult.STALE, "settled once")


@case
async def a_parked_instance_waits_for_another_build(t: Harness) -> None:
    await t.session()
    await t.start("a")
    task = await t.claim_one()
    park = Park(reason="mismatch", message="differs", build="b1", at=t.clock.time)
    await t.applied(task, turn=0, record=b"", events=0, consumed=(), park=park)
    expect(await t.state("a"), "parked", "state")
    await t.signal("a", "gathers")
    await t.claim_none()
    await t.claim_none(parked=True)
    task = await t.claim_one(parked=True, build="b2")
    expect(len(task.inbox), 2, "messages that gathered")
    park = Park(reason="mismatch", message="differs", build="b2", at=t.clock.time)
    await t.applied(task, turn=0, record=b"", events=0, consumed=(), park=park)
    await t.claim_none(parked=True, build="b2")
    await t.backend.control("a", Action.UNPARK, "")
    expect((await t.claim_one()).run_id, task.run_id, "un-parked by an operator")


@case
async def a_new_message_brings_the_owner_up_to_date(t: Harness) -> None:
    await t.session()
    await t.start("a")
    task = await t.claim_one()
    await t.signal("a", "during")
    again = await t.claim_one()
    expect([entry.seq for entry in again.inbox], [1, 2], "everything unread")
    await t.applied(task)
    await t.applied(again, turn=2, consumed=(2,))
    expect(again.inbox[0], InboxEntry(1, task.inbox[0].entry), "same entry")
