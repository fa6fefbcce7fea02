"""Starting, finishing, continuing, removing, listing.

PYTEST_DONT_REWRITE
"""

from __future__ import annotations

from perdure import Failure

from ..contract import Listing
from ..history import Parent, WorkflowStarted, decode_event, encode_event
from ..records import (
    Action,
    ChildStart,
    Continuation,
    Finish,
    InboxEntry,
    ListFilter,
    RemoveResult,
    RunEnd,
    StartResult,
    Status,
)
from ._harness import SECOND, Harness, case, expect, expect_true


@case
async def start_creates_a_running_instance(t: Harness) -> None:
    outcome = await t.start("a", run_id="r")
    expect((outcome.result, outcome.run_id), (StartResult.CREATED, "r"), "start")
    record = await t.backend.describe("a")
    expect_true(record is not None and record.status is Status.RUNNING, "it runs")
    if record is not None:
        expect(record.started_at, t.clock.time, "judged by the store's clock")


@case
async def a_second_start_with_a_running_id_is_refused(t: Harness) -> None:
    first = await t.start("a")
    second = await t.start("a")
    expect(second.result, StartResult.RUNNING_EXISTS, "second start")
    expect(second.run_id, first.run_id, "it names the run that is there")


@case
async def a_repeated_start_gets_the_first_answer(t: Harness) -> None:
    request = t.request("a")
    await t.backend.start([request])
    await t.session()
    task = await t.claim_one()
    await t.applied(task, finish=t.finish(task))
    again = (await t.backend.start([request]))[0]
    expect((again.result, again.run_id), (StartResult.REPEATED, request.run_id), "repeat")


@case
async def id_policies_for_running_instances(t: Harness) -> None:
    first = await t.start("a")
    used = await t.start("a", if_running="use_existing")
    expect((used.result, used.run_id), (StartResult.EXISTING, first.run_id), "use_existing")
    replaced = await t.start("a", if_running="replace")
    expect(replaced.result, StartResult.CREATED, "replace")
    old = await t.backend.describe("a", first.run_id)
    expect_true(old is not None and old.status is Status.TERMINATED, "the replaced run ended")
    expect(await t.state("a"), "running", "the new run")


@case
async def id_policies_for_finished_instances(t: Harness) -> None:
    await t.session()
    await t.run_to_end("a")
    refused = await t.start("a", if_finished="reject")
    expect(refused.result, StartResult.FINISHED_EXISTS, "reject")
    expect((await t.start("a")).result, StartResult.CREATED, "allow")


@case
async def ids_are_compared_as_bytes(t: Harness) -> None:
    await t.start("Order")
    for other in ("order", "Order ", "Örder", "O\u0308rder", "x" * 512, "🦀"):
        expect((await t.start(other)).result, StartResult.CREATED, f"start of {other!r}")
        expect((await t.start(other)).result, StartResult.RUNNING_EXISTS, f"repeat of {other!r}")


@case
async def one_bad_item_harms_no_other(t: Harness) -> None:
    await t.start("a")
    outcomes = await t.backend.start([t.request("b"), t.request("a"), t.request("c")])
    expect(
        [o.result for o in outcomes],
        [StartResult.CREATED, StartResult.RUNNING_EXISTS, StartResult.CREATED],
        "outcomes in order",
    )


@case
async def finishing_stores_result_and_time(t: Harness) -> None:
    await t.session()
    await t.start("a")
    task = await t.claim_one()
    t.clock.advance(5)
    await t.applied(task, finish=t.finish(task, result=b"42"))
    record = await t.backend.describe("a")
    expect_true(record is not None, "it is still there")
    if record is not None:
        expect(
            (record.status, record.result, record.finished_at),
            (Status.COMPLETED, b"42", t.clock.time),
            "record",
        )
    await t.claim_none()


@case
async def a_finish_is_refused_while_newer_messages_are_there(t: Harness) -> None:
    from ..records import CommitResult

    await t.session()
    await t.start("a")
    task = await t.claim_one()
    await t.signal("a", "late")
    expect(await t.commit(task, finish=t.finish(task)), CommitResult.BEHIND, "finish")
    record = await t.backend.describe("a")
    expect_true(record is not None and record.turn == 0, "nothing was written")


@case
async def continue_as_new_moves_unread_messages(t: Harness) -> None:
    await t.session()
    await t.start("a", run_id="r1")
    task = await t.claim_one()
    await t.signal("a", "unread")
    following = Continuation(
        run_id="r2",
        workflow="flow",
        version=1,
        queue="default",
        started=encode_event(WorkflowStarted("flow", 1, "default", b"[2]", 9)),
        carry=(task.inbox[0].entry,),
    )
    finish = Finish(status=Status.CONTINUED, seen=1, continuation=following)
    await t.applied(task, finish=finish)
    old = await t.backend.describe("a", "r1")
    expect_true(old is not None and old.continued_to == "r2", "the old run names the new one")
    new = await t.claim_one()
    expect(new.run_id, "r2", "the new run")
    names = [type(decode_event(entry.entry)).__name__ for entry in new.inbox]
    expect(
        names,
        ["WorkflowStarted", "WorkflowStarted", "SignalReceived"],
        "start, carried, unread, in this order",
    )


@case
async def ends_are_told_of_runs_that_have_ended(t: Harness) -> None:
    await t.session()
    await t.start("runs", run_id="runs")
    runs = await t.claim_one()
    await t.applied(runs)
    await t.start("done", run_id="done")
    done = await t.claim_one()
    await t.applied(done, finish=t.finish(done, result=b"42"))
    await t.start("failed", run_id="failed")
    failed = await t.claim_one()
    failure = Failure("ValueError", "no")
    finish = t.finish(failed, status=Status.FAILED, result=None, failure=failure)
    await t.applied(failed, finish=finish)
    await t.start("on", run_id="on-1")
    on = await t.claim_one()
    following = Continuation(
        run_id="on-2",
        workflow="flow",
        version=1,
        queue="default",
        started=encode_event(WorkflowStarted("flow", 1, "default", b"[2]", 9)),
    )
    await t.applied(on, finish=Finish(status=Status.CONTINUED, seen=0, continuation=following))
    await t.start("stopped", run_id="stopped")
    await t.backend.control("stopped", Action.TERMINATE, "enough")
    asked = ["runs", "done", "failed", "on-1", "on-2", "stopped", "nowhere"]
    ends = {end.run_id: end for end in await t.backend.ends(asked)}
    stopped = ends.pop("stopped", None)
    expect(
        ends,
        {
            "done": RunEnd("done", "done", Status.COMPLETED, result=b"42"),
            "failed": RunEnd("failed", "failed", Status.FAILED, failure=failure),
            "on-1": RunEnd("on-1", "on", Status.CONTINUED, continued_to="on-2"),
        },
        "those that have ended",
    )
    expect(stopped and stopped.status, Status.TERMINATED, "a terminated one")
    expect(await t.backend.ends([]), [], "ends of none")
    found = await t.backend.describe_runs(["nowhere", "done"])
    expect([one and one.run_id for one in found], [None, "done"], "runs by their ids, in order")


@case
async def results_and_timers_do_not_move_to_the_next_run(t: Harness) -> None:
    await t.session()
    await t.start("a", run_id="r1")
    task = await t.claim_one()
    await t.applied(task, activities=(t.activity(),))
    attempt = await t.claim_activity()
    from ..records import ActivityResult

    await t.backend.settle(
        [ActivityResult(run_id="r1", number=1, token=attempt.token, entry=t.completed())]
    )
    task = await t.claim_one()
    following = Continuation(
        run_id="r2",
        workflow="flow",
        version=1,
        queue="default",
        started=encode_event(WorkflowStarted("flow", 1, "default", b"[]", 9)),
    )
    finish = Finish(status=Status.CONTINUED, seen=0, continuation=following)
    await t.applied(task, consumed=(), finish=finish)
    new = await t.claim_one()
    expect(len(new.inbox), 1, "messages of the new run")


@case
async def children_start_and_report(t: Harness) -> None:
    await t.session()
    await t.start("parent", run_id="p")
    task = await t.claim_one()
    child = t.request("child", run_id="c", parent=Parent("parent", "p", 1))
    await t.applied(task, outbox=(ChildStart(request=child, refused=b"refused"),), release=True)
    started = await t.claim_one()
    expect(started.parent, Parent("parent", "p", 1), "parent of the child")
    await t.applied(started, finish=t.finish(started, to_parent=b"done"))
    told = await t.claim_one()
    expect(told.inbox, (InboxEntry(2, b"done"),), "the parent's inbox")


@case
async def a_child_whose_id_is_taken_is_refused(t: Harness) -> None:
    await t.session()
    await t.start("child", queue="other")
    await t.start("parent", run_id="p")
    task = await t.claim_one()
    child = t.request("child", parent=Parent("parent", "p", 1))
    await t.applied(task, outbox=(ChildStart(request=child, refused=b"refused"),), release=True)
    told = await t.claim_one()
    expect([entry.entry for entry in told.inbox], [b"refused"], "the parent's inbox")


@case
async def parent_close_policies(t: Harness) -> None:
    await t.session()
    await t.start("parent", run_id="p")
    task = await t.claim_one()
    policies = ("terminate", "cancel", "abandon")
    outbox = tuple(
        ChildStart(
            request=t.request(
                policy, parent=Parent("parent", "p", i), parent_close=policy, queue="children"
            ),
            refused=b"",
        )
        for i, policy in enumerate(policies)
    )
    await t.applied(task, outbox=outbox)
    await t.backend.control("parent", Action.TERMINATE, "enough")
    expect(
        [await t.state(policy) for policy in policies],
        ["terminated", "running", "running"],
        "children of an ended parent",
    )
    claimed = await t.claim(queues=("children",))
    sizes = {task.instance_id: len(task.inbox) for task in claimed.tasks}
    expect(sizes, {"cancel": 2, "abandon": 1}, "messages of the children that go on")


@case
async def children_of_a_continued_parent(t: Harness) -> None:
    await t.session()
    await t.start("parent", run_id="p1")
    task = await t.claim_one()
    outbox = tuple(
        ChildStart(
            request=t.request(
                name, parent=Parent("parent", "p1", i), parent_close="terminate", queue=name
            ),
            refused=b"",
        )
        for i, name in enumerate(("early", "late"))
    )
    following = Continuation(
        run_id="p2",
        workflow="flow",
        version=1,
        queue="default",
        started=encode_event(WorkflowStarted("flow", 1, "default", b"[]", 9)),
    )
    await t.applied(task, outbox=outbox)
    finish = Finish(status=Status.CONTINUED, seen=1, continuation=following)
    await t.applied(task, turn=2, consumed=(), finish=finish)
    child = await t.claim_one(queues=("early",))
    await t.applied(child, finish=t.finish(child, to_parent=b"late answer"))
    new = await t.claim_one()
    expect((new.run_id, len(new.inbox)), ("p2", 1), "the new run did not ask for it")
    await t.backend.control("parent", Action.TERMINATE, "enough")
    expect(await t.state("late"), "terminated", "the end of the last run closes the children")


@case
async def a_run_timeout_ends_the_run(t: Harness) -> None:
    await t.session()
    await t.start("a", run_timeout=10 * SECOND)
    t.clock.advance(9)
    await t.backend.sweep("s1", 100)
    expect(await t.state("a"), "running", "before")
    t.clock.advance(1)
    await t.backend.sweep("s1", 100)
    expect(await t.state("a"), "timed_out", "after")


@case
async def removing(t: Harness) -> None:
    await t.session()
    expect(await t.backend.remove("a"), RemoveResult.NOT_FOUND, "unknown")
    await t.start("a")
    expect(await t.backend.remove("a"), RemoveResult.RUNNING, "running")
    task = await t.claim_one()
    await t.applied(task, finish=t.finish(task))
    expect(await t.backend.remove("a"), RemoveResult.REMOVED, "finished")
    expect(await t.backend.describe("a"), None, "record")
    expect(await t.backend.read_history(task.run_id, 0, 10), [], "history")
    expect((await t.start("a")).result, StartResult.CREATED, "the id is free again")


@case
async def listing_pages_are_stable(t: Harness) -> None:
    if not isinstance(t.backend, Listing):
        return
    for i in range(25):
        await t.start(f"i{i:02}", workflow="even" if i % 2 == 0 else "odd")
        t.clock.advance(0.001)
    seen: list[str] = []
    after: str | None = None
    while True:
        page = await t.backend.list_instances(ListFilter(), after, 10)
        seen.extend(record.instance_id for record in page.instances)
        await t.start(t.fresh("new"))  # what comes meanwhile is newer and not shown
        after = page.after
        if after is None:
            break
    expect(seen, [f"i{i:02}" for i in reversed(range(25))], "newest first, each once")
    odd = await t.backend.list_instances(
        ListFilter(workflow="odd", id_prefix="i0", states=("running",)), None, 100
    )
    expect([r.instance_id for r in odd.instances], ["i09", "i07", "i05", "i03", "i01"], "filter")


@case
async def instances_of_one_moment_are_listed_once_each(t: Harness) -> None:
    if not isinstance(t.backend, Listing):
        return
    for i in range(25):
        await t.start(f"i{i:02}")
    seen: list[str] = []
    after: str | None = None
    while True:
        page = await t.backend.list_instances(ListFilter(), after, 4)
        seen.extend(record.instance_id for record in page.instances)
        after = page.after
        if after is None:
            break
    expect(sorted(seen), [f"i{i:02}" for i in range(25)], "each once, in whatever order")
