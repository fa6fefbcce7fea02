"""The steps from which the methods are made, within one unit of work.

PYTEST_DONT_REWRITE
"""

from __future__ import annotations

import msgspec
from perdure import Failure

from .._policies import child_ended
from .._stored import Policy, encode_failure, encode_headers, encode_policy, new_deadline
from .._wakeups import ACTIVITIES, TURNS
from ..history import CancelRequested, encode_event
from ..records import Continuation, NewActivity, Park, StartRequest, Status
from ._posting import post_continuation, post_end, post_to_parent
from ._rows import Activity, Run
from ._unit import Unit


def accept(unit: Unit, run: Run, entry: bytes, *, carried: bool) -> None:
    """Puts an entry into a run's inbox and wakes the run."""
    unit.add_entry(run, entry, carried=carried)
    run.make_ready(unit.now)
    unit.topics.add(TURNS)


def park(run: Run, why: Park) -> None:
    """Puts a run aside and notes the build that failed it."""
    tried = f" {why.build} "
    run.park = msgspec.json.encode(why)
    run.tried = run.tried.replace(tried, "") + tried
    run.ready_at = None


def disown(unit: Unit, run: Run) -> None:
    """Ends a run's lease; unread messages make it claimable."""
    run.owner = run.token = None
    run.executing = 0
    if run.unread and run.running:
        run.make_ready(unit.now)
    if run.ready_at is not None:
        unit.topics.add(TURNS)


# --- activities


async def add_activity(unit: Unit, run: Run, new: NewActivity) -> bool:
    """A new activity, claimed at once when its token is given.

    Returns:
        ``False`` when it has a token, but must wait for its queue's limit.
    """
    mine = wanted = new.token is not None and run.owner is not None
    if wanted and unit.limits:
        bucket = await unit.bucket(new.queue)
        if bucket is not None:
            mine = bucket.available(unit.now) >= 1
            if mine:
                unit.take(bucket, 1)
    deadline = new_deadline(new, unit.now, running=mine)
    unit.plan(deadline)
    now = unit.now
    owner, token = (run.owner, new.token) if mine else (None, None)
    state = (1 if mine else 0, now, deadline, now if mine else 0, owner, token, 0, 0, 0, 0)
    rest = (new.name, new.queue, new.priority, new.input, encode_headers(new.headers))
    key = (run.serial, new.number, encode_policy(new), new.scheduled_at)
    unit.add_activity(Activity((*key, *state), rest=rest))
    if not mine:
        unit.topics.add(ACTIVITIES)
    return mine or not wanted


def offer_activity(
    unit: Unit,
    activity: Activity,
    policy: Policy,
    *,
    due_at: int,
    attempt: int,
    last_failure: Failure | None = None,
) -> None:
    """Makes an activity claimable from ``due_at`` on."""
    deadline = policy.deadline(now=unit.now, scheduled_at=activity.scheduled_at, running=False)
    activity.owner = activity.token = None
    activity.due_at = due_at
    activity.attempt = attempt
    activity.deadline_at = deadline
    activity.last_failure = encode_failure(last_failure)
    unit.plan(deadline)
    if due_at <= unit.now:
        unit.topics.add(ACTIVITIES)
    else:
        unit.plan(due_at)


def end_activity(unit: Unit, run: Run, activity: Activity, entry: bytes) -> None:
    """Drops an activity's record and gives its outcome to the run."""
    unit.drop_activity(activity)
    accept(unit, run, entry, carried=False)


# --- beginning and end of runs


async def create(
    unit: Unit,
    request: StartRequest,
    *,
    run_id: str,
    more: tuple[bytes, ...] = (),
    closes_with: str | None = None,
) -> Run:
    """A new run with its first message, and those that move to it."""
    parent = request.parent
    deadline = None if request.run_timeout is None else unit.now + request.run_timeout
    closing = closes_with or (parent.run_id if parent else None)
    run = await unit.add_run(
        run_id=run_id,
        instance_id=request.instance_id,
        request_id=request.request_id,
        workflow=request.workflow,
        version=request.version,
        queue=request.queue,
        deadline_at=deadline,
        parent=parent,
        parent_close=request.parent_close,
        closes_with=closing,
    )
    if closing is not None:
        closer = await unit.run(closing)
        if closer is not None:
            closer.has_children = 1
    unit.put("insert_starts", run.serial, request.started)
    accept(unit, run, request.started, carried=False)
    for entry in more:
        accept(unit, run, entry, carried=True)
    unit.plan(deadline)
    return run


def finish(
    unit: Unit,
    run: Run,
    status: Status,
    *,
    result: bytes | None = None,
    failure: Failure | None = None,
) -> None:
    """Ends a run and drops what it had pending; children and parent are the caller's part."""
    run.status = status.value
    run.finished_at = unit.now
    run.park = run.ready_at = run.deadline_at = run.owner = run.token = None
    run.suspended = run.executing = run.unread = 0
    unit.clear(run)
    if result is not None or failure is not None:
        unit.put("insert_outcomes", run.serial, result, encode_failure(failure))
    unit.finished.append(run.run_id)


async def continue_as_new(
    unit: Unit, run: Run, base: StartRequest, following: Continuation
) -> None:
    """Ends a run as continued and creates the next one, unread messages moved."""
    unread = await unit.unread_carried(run)
    children = await unit.children(run.run_id) if run.has_children else []
    closes_with = run.closes_with
    finish(unit, run, Status.CONTINUED)
    run.continued_to = following.run_id
    for child in children:
        child.closes_with = following.run_id
    new = await create(
        unit,
        base,
        run_id=following.run_id,
        more=(*following.carry, *unread),
        closes_with=closes_with,
    )
    new.has_children = 1 if children else 0
    if run.has_children and unit.others:
        new.has_children = 1
        post_continuation(unit, run, following.run_id)


async def tell_parent(unit: Unit, run: Run, entry: bytes | None) -> None:
    """Puts the outcome of a sub-workflow into its parent's inbox."""
    if run.parent is None or entry is None:
        return
    if not unit.is_here(run.parent.instance_id):
        post_to_parent(unit, run, run.parent, entry)
        return
    parent = await unit.run(run.parent.run_id)
    if parent is not None and parent.running:
        accept(unit, parent, entry, carried=False)


async def close_children(unit: Unit, run: Run) -> None:
    """Treats the children of an ended run by their parent-close policy."""
    if not run.has_children:
        return
    for child in await unit.children(run.run_id):
        await close_child(unit, child)
    post_end(unit, run)


async def close_child(unit: Unit, child: Run) -> None:
    """Treats one child of an ended run."""
    if child.parent_close == "terminate":
        await terminate(unit, child, "its parent has ended")
    elif child.parent_close == "cancel":
        entry = encode_event(CancelRequested("its parent has ended"))
        accept(unit, child, entry, carried=True)


async def terminate(unit: Unit, run: Run, reason: str) -> None:
    """Ends a run by an operator's will, or its parent's end."""
    failure = Failure("WorkflowTerminatedError", reason, retryable=False)
    await end_from_outside(unit, run, Status.TERMINATED, failure)


async def end_from_outside(unit: Unit, run: Run, status: Status, failure: Failure) -> None:
    """Ends a run without its code; parent and children are told."""
    finish(unit, run, status, failure=failure)
    if run.parent is not None:
        await tell_parent(unit, run, child_ended(run.parent, failure, status.value))
    await close_children(unit, run)
