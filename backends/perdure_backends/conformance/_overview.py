"""What a store shows of itself at a glance, and what it keeps beside the instances.

PYTEST_DONT_REWRITE
"""

from __future__ import annotations

import msgspec
from perdure import Failure

from ..contract import Documents, Listing, Overseeing
from ..records import (
    Action,
    ActivityResult,
    Document,
    ListFilter,
    Overview,
    Park,
    QueueBacklog,
    Status,
)
from ._harness import SECOND, Harness, case, expect, expect_true


async def _overview(t: Harness, most: int = 100) -> Overview | None:
    store = t.backend
    return await store.overview(most) if isinstance(store, Overseeing) else None


@case
async def an_overview_of_an_empty_store(t: Harness) -> None:
    overview = await _overview(t)
    if overview is None:
        return
    expect((overview.states, overview.parked, overview.queues), ({}, {}, ()), "nothing")
    expect((overview.time, overview.most), (t.clock.time, 100), "time and bound")


@case
async def an_overview_counts_by_state(t: Harness) -> None:
    await t.session()
    await t.run_to_end("done")
    await t.start("fails")
    task = await t.claim_one()
    failed = t.finish(task, status=Status.FAILED, result=None, failure=Failure("E", "no"))
    await t.applied(task, finish=failed)
    await t.start("parks")
    task = await t.claim_one()
    await t.applied(
        task, turn=0, record=b"", events=0, park=Park(reason="mismatch", message="", build="b1")
    )
    await t.start("halts")
    await t.backend.control("halts", Action.SUSPEND, "")
    await t.start("runs")
    await t.start("ends")
    await t.backend.control("ends", Action.TERMINATE, "enough")
    overview = await _overview(t)
    if overview is None:
        return
    wanted = {"completed", "failed", "parked", "running", "suspended", "terminated"}
    expect(overview.states, dict.fromkeys(sorted(wanted), 1), "states")
    expect(overview.parked, {"mismatch": 1}, "reasons")
    # What an operator lets go on, or ends, is counted anew.
    await t.backend.control("halts", Action.RESUME, "")
    await t.backend.control("parks", Action.TERMINATE, "")
    again = await _overview(t)
    states = {} if again is None else again.states
    expect(
        (states, again.parked if again else None),
        ({"completed": 1, "failed": 1, "running": 2, "terminated": 2}, {}),
        "states again",
    )


@case
async def an_overview_shows_what_waits_on_each_queue(t: Harness) -> None:
    await t.session()
    await t.start("a")
    since = t.clock.time
    t.clock.advance(5)
    await t.start("b")
    await t.start("c", queue="other")
    activities = (t.activity(1, queue="slow"), t.activity(2, queue="slow"))
    task = await t.claim_one(limit=1)
    expect(task.ready_at, since, "since when the first one waited")
    began = t.clock.time
    await t.applied(task, activities=activities, release=True)
    t.clock.advance(2)
    first = (await t.claim_activities(queues=("slow",), limit=1))[0]
    expect(first.due_at, began, "since when the activity waited")
    overview = await _overview(t)
    if overview is None:
        return
    expect(
        overview.queues,
        (
            QueueBacklog(queue="default", turns=1, turns_since=began),
            QueueBacklog(queue="other", turns=1, turns_since=began),
            QueueBacklog(queue="slow", activities=1, activities_since=began, running=1),
        ),
        "queues",
    )


@case
async def an_overview_counts_to_its_bound(t: Harness) -> None:
    for number in range(5):
        await t.start(f"i{number}")
    overview = await _overview(t, most=3)
    if overview is None:
        return
    expect(overview.states, {"running": 3}, "states")
    expect([queue.turns for queue in overview.queues], [3], "queues")


@case
async def a_retry_waits_from_when_it_is_due(t: Harness) -> None:
    await t.session()
    await t.scheduled("a")
    attempt = await t.claim_activity()
    result = ActivityResult(
        run_id=attempt.run_id,
        number=1,
        token=attempt.token,
        failure=Failure("E", "again"),
        retry_in=3 * SECOND,
    )
    await t.backend.settle([result])
    due = t.clock.time + 3 * SECOND
    overview = await _overview(t)
    if overview is not None:
        expect(overview.queues, (), "nothing waits yet")
    t.clock.advance(4)
    overview = await _overview(t)
    if overview is not None:
        backlog = QueueBacklog(queue="default", activities=1, activities_since=due)
        expect(overview.queues, (backlog,), "it is due")
    again = await t.claim_activity()
    overview = await _overview(t)
    if overview is not None:
        running = QueueBacklog(queue="default", running=1)
        expect(overview.queues, (running,), "it runs")
    outcome = msgspec.structs.replace(
        result, token=again.token, failure=None, retry_in=None, entry=t.completed()
    )
    await t.backend.settle([outcome])
    await t.claim_one()
    overview = await _overview(t)
    if overview is not None:
        expect(overview.queues, (), "nothing waits any more")


@case
async def listings_by_several_states_are_in_order(t: Harness) -> None:
    store = t.backend
    if not isinstance(store, Listing):
        return
    await t.session()
    for number in range(6):
        await t.start(f"i{number}")
        t.clock.advance(1)
        if number % 3 == 1:
            await t.backend.control(f"i{number}", Action.TERMINATE, "")
        elif number % 3 == 2:
            await t.backend.control(f"i{number}", Action.SUSPEND, "")
    chosen = ListFilter(states=("suspended", "terminated"))
    ids: list[str] = []
    after: str | None = None
    while True:
        page = await store.list_instances(chosen, after, 3)
        ids += [one.instance_id for one in page.instances]
        after = page.after
        if after is None:
            break
    expect(ids, ["i5", "i4", "i2", "i1"], "newest first, over pages")
    page = await store.list_instances(ListFilter(states=("running",), id_prefix="i3"), None, 10)
    expect([one.instance_id for one in page.instances], ["i3"], "state and prefix")


@case
async def documents_are_kept_in_the_order_of_their_keys(t: Harness) -> None:
    store = t.backend
    if not isinstance(store, Documents):
        return
    keys = ["b", "a", "é", "B", "a\U0001f600", "2026-01-01T00:00:00"]
    await store.put_documents([Document("notes", key, key.encode()) for key in keys])
    await store.put_documents([Document("others", "a", b"\x00\xff")])
    ordered = sorted(keys)
    found = await store.list_documents("notes", None, 10)
    expect([one.key for one in found], ordered, "in order")
    expect([one.value.decode() for one in found], ordered, "with their values")
    found = await store.list_documents("notes", ordered[1], 2)
    expect([one.key for one in found], ordered[2:4], "a page")
    found = await store.list_documents("notes", None, 2, newest_first=True)
    expect([one.key for one in found], ordered[:-3:-1], "the last ones first")
    found = await store.list_documents("notes", ordered[-2], 2, newest_first=True)
    expect([one.key for one in found], ordered[-3:-5:-1], "the page before")
    found = await store.list_documents("others", None, 10)
    expect(found, [Document("others", "a", b"\x00\xff")], "collections are apart")


@case
async def documents_are_replaced_and_cleared(t: Harness) -> None:
    store = t.backend
    if not isinstance(store, Documents):
        return
    await store.put_documents([])
    documents = [Document("rates", f"{n:03d}", b"old") for n in range(5)]
    await store.put_documents(documents)
    changed = msgspec.structs.replace(documents[3], value=b"new")
    await store.put_documents([changed])
    await store.clear_documents("rates", "003")
    await store.clear_documents("none", "x")
    found = await store.list_documents("rates", None, 10)
    expect([(one.key, one.value) for one in found], [("003", b"new"), ("004", b"old")], "left")
    expect_true(not await store.list_documents("none", None, 10), "an empty collection")
