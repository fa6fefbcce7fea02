"""Starting, messages, claims and commits.

PYTEST_DONT_REWRITE
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any, Final

import msgspec
from perdure import InternalError

from .._ids import new_token
from .._policies import ANY_WORKFLOW, MAX_INBOX, SUSPECT_AFTER, cancelled_entry
from .._stored import encode_failure
from .._wakeups import ANSWERS
from ..records import (
    CancelActivity,
    ChildStart,
    ClaimedTurns,
    CommitOutcome,
    CommitResult,
    Delivery,
    Finish,
    InboxEntry,
    Lease,
    Message,
    Offer,
    SendResult,
    StartOutcome,
    StartRequest,
    StartResult,
    TurnClaim,
    TurnCommit,
    TurnTask,
)
from ._database import Asked
from ._posting import post_to_instance, receiver_of
from ._rows import RUN_COLUMNS, Run
from ._steps import (
    accept,
    add_activity,
    close_children,
    continue_as_new,
    create,
    disown,
    end_activity,
    finish,
    park,
    tell_parent,
    terminate,
)
from ._unit import Unit

_WIDTH: Final = len(RUN_COLUMNS)

# --- starting and messages ------------------------------------------------------------------


async def start(unit: Unit, requests: Sequence[StartRequest]) -> list[StartOutcome]:
    """See :meth:`Backend.start`."""
    await unit.load_current(request.instance_id for request in requests)
    return [await _start_with_messages(unit, request) for request in requests]


async def _start_with_messages(unit: Unit, request: StartRequest) -> StartOutcome:
    outcome = await _start(unit, request)
    if outcome.result in (StartResult.RUNNING_EXISTS, StartResult.FINISHED_EXISTS):
        return outcome
    for message in request.messages:
        delivered = await send_one(unit, message)
        if delivered is not SendResult.ACCEPTED:
            return msgspec.structs.replace(outcome, delivered=delivered)
    return outcome


async def _start(unit: Unit, request: StartRequest) -> StartOutcome:
    run = await unit.current(request.instance_id)
    if run is not None:
        repeated = await _first_answer(unit, run, request.request_id)
        if repeated is not None:
            return StartOutcome(result=StartResult.REPEATED, run_id=repeated)
        if run.running:
            if request.if_running == "error":
                return StartOutcome(result=StartResult.RUNNING_EXISTS, run_id=run.run_id)
            if request.if_running == "use_existing":
                return StartOutcome(result=StartResult.EXISTING, run_id=run.run_id)
            await terminate(unit, run, "replaced by a new start under its id")
        elif request.if_finished == "reject":
            return StartOutcome(result=StartResult.FINISHED_EXISTS, run_id=run.run_id)
    await create(unit, request, run_id=request.run_id)
    return StartOutcome(result=StartResult.CREATED, run_id=request.run_id)


async def _first_answer(unit: Unit, run: Run, request_id: str) -> str | None:
    """The run that a request made before."""
    if run.lineage == run.serial:  # the only one of its instance
        return run.run_id if run.request_id == request_id else None
    rows = await unit.fetch("find_request", lineage=run.lineage, request_id=request_id)
    if rows:
        run_id: str = rows[0][0]
        return run_id
    return run.run_id if run.request_id == request_id else None


async def send(unit: Unit, messages: Sequence[Message]) -> list[SendResult]:
    """See :meth:`Backend.send`."""
    await _load_receivers(unit, messages)
    return [await send_one(unit, message) for message in messages]


async def _load_receivers(unit: Unit, messages: Sequence[Message]) -> None:
    """Locks and loads in one go what the messages concern."""
    await unit.load_current(m.instance_id for m in messages if m.run_id is None)
    await unit.load_runs(m.run_id for m in messages if m.run_id is not None)
    receivers = [(await _receiver(unit, m), m.message_id) for m in messages]
    await unit.load_messages((run, one) for run, one in receivers if run is not None)


async def _receiver(unit: Unit, message: Message) -> Run | None:
    if message.run_id is None:
        return await unit.current(message.instance_id)
    run = await unit.run(message.run_id)
    return run if run is not None and run.instance_id == message.instance_id else None


async def send_one(unit: Unit, message: Message) -> SendResult:
    """Accepts one message."""
    run = await _receiver(unit, message)
    if run is None:
        return SendResult.NOT_FOUND
    if await unit.is_known(run, message.message_id):
        return SendResult.ACCEPTED
    if not run.running:
        return SendResult.FINISHED
    if run.unread >= MAX_INBOX:
        return SendResult.FULL
    unit.note_message(run, message.message_id)
    accept(unit, run, message.entry, carried=True)
    return SendResult.ACCEPTED


# --- claims ---------------------------------------------------------------------------------


def offers_of(offers: Sequence[Offer]) -> dict[str, Any]:
    """What a worker offers, as parameters of a statement."""
    return {
        "offers": [f"{offer.version} {offer.workflow}" for offer in offers],
        "all_workflows": any((offer.workflow, offer.version) == ANY_WORKFLOW for offer in offers),
    }


async def claim(unit: Unit, claim: TurnClaim) -> ClaimedTurns:
    """See :meth:`Backend.claim_turns`."""
    limit = min(claim.limit, 1) if claim.alone else claim.limit
    if len(claim.queues) == 1 and not claim.parked:
        _, parameters = _claimable(claim, claim.queues, limit)
        claimed = await unit.claim_at_once(now=unit.now, **parameters)
        if claimed is not None:
            return _claimed_at_once(unit, claim, *claimed)
    return await _claim_with_locks(unit, claim, limit)


def _claimed_at_once(
    unit: Unit, claim: TurnClaim, rows: Sequence[Any], entries: Sequence[Any]
) -> ClaimedTurns:
    *_, suspects, queries = rows[0]
    taken = [row for row in rows if row[0] is not None]
    runs = unit.take_in(row[:_WIDTH] for row in taken)
    # What came after the claim is claimed later.
    last = {run.serial: run.last_seq for run in runs}
    inboxes = _inboxes(entry for entry in entries if entry[1] <= last[entry[0]])
    return ClaimedTurns(
        tasks=tuple(
            _task(unit, claim, run, inboxes[run.serial], row[_WIDTH])
            for run, row in zip(runs, taken, strict=True)
        ),
        suspects=suspects,
        queries=queries,
    )


async def _claim_with_locks(unit: Unit, claim: TurnClaim, limit: int) -> ClaimedTurns:
    several = len(claim.queues) != 1 and not claim.parked
    offers, queues = offers_of(claim.offers), list(claim.queues)
    shared, rows, (flags,) = await unit.fetch_each(
        ("share_session", {"id": claim.session_id}),
        ("ready_queues", {"queues": queues}) if several else _claimable(claim, queues, limit),
        ("suspects", {"now": unit.now, "queues": queues, "suspect": SUSPECT_AFTER, **offers}),
    )
    if not shared:
        return ClaimedTurns(tasks=())
    if several:
        # Queue by queue, those that wait longest first.
        ready: list[str] = [row[0] for row in rows]
        rows = list[Any]()
        for queue in ready:
            if len(rows) < limit:
                statement, parameters = _claimable(claim, [queue], limit - len(rows))
                rows += await unit.fetch(statement, **parameters)
    runs = unit.take_in(rows)
    unread = [run.serial for run in runs if run.unread]
    inboxes = _inboxes(await unit.fetch("read_inboxes", runs=unread) if unread else ())
    return ClaimedTurns(
        tasks=tuple(_lease(unit, claim, run, inboxes[run.serial]) for run in runs),
        suspects=bool(flags[0]) and not claim.parked,
        queries=bool(flags[1]),
    )


def _inboxes(entries: Iterable[Any]) -> defaultdict[int, list[InboxEntry]]:
    inboxes: defaultdict[int, list[InboxEntry]] = defaultdict(list)
    for serial, seq, entry in entries:
        inboxes[serial].append(InboxEntry(seq, bytes(entry)))
    return inboxes


def _claimable(claim: TurnClaim, queues: Sequence[str], limit: int) -> Asked:
    """Asks for rows that the claim may take, and locks them."""
    what = {**offers_of(claim.offers), "suspect": SUSPECT_AFTER, "alone": claim.alone}
    what["limit"] = limit
    if claim.parked:
        return "claimable_parked", {**what, "queues": queues, "build": f" {claim.build} "}
    (queue,) = queues
    return "claimable", {**what, "queue": queue, "session": claim.session_id}


def _lease(unit: Unit, claim: TurnClaim, run: Run, inbox: Sequence[InboxEntry]) -> TurnTask:
    if run.owner is None or run.token is None:
        run.token = new_token()
    run.owner = claim.session_id
    run.executing = 1
    ready_at, run.ready_at, run.park = run.ready_at, None, None
    return _task(unit, claim, run, inbox, ready_at)


def _task(
    unit: Unit, claim: TurnClaim, run: Run, inbox: Sequence[InboxEntry], ready_at: int | None
) -> TurnTask:
    if run.token is None:
        raise InternalError(f"run {run.run_id} was claimed without a token")
    return TurnTask(
        instance_id=run.instance_id,
        run_id=run.run_id,
        token=run.token,
        turn=run.turn,
        workflow=run.workflow,
        version=run.version,
        queue=run.queue,
        inbox=tuple(inbox),
        time=unit.now,
        started_at=run.started_at,
        events=run.events,
        parent=run.parent,
        alone=claim.alone,
        ready_at=ready_at,
    )


async def release(unit: Unit, leases: Sequence[Lease]) -> None:
    """See :meth:`Backend.release`."""
    await unit.load_runs(lease.run_id for lease in leases)
    for lease in leases:
        run = await unit.run(lease.run_id)
        if run is not None and run.owner is not None and run.token == lease.token:
            disown(unit, run)


# --- commits --------------------------------------------------------------------------------


async def commit(unit: Unit, commits: Sequence[TurnCommit]) -> list[CommitOutcome]:
    """See :meth:`Backend.commit`."""
    await unit.load_runs(item.run_id for item in commits)
    await _load_concerned(unit, commits)
    return [await _commit(unit, item) for item in commits]


async def _load_concerned(unit: Unit, commits: Sequence[TurnCommit]) -> None:
    """Locks and loads in one go what the commits concern besides their own runs."""
    parents: set[str] = set()
    instances: set[str] = set()
    messages: list[Message] = []
    keys: list[tuple[int, int]] = []
    for item in commits:
        run = await unit.run(item.run_id)
        if run is None or run.token != item.token:
            continue
        keys += [(run.serial, one.number) for one in item.settled]
        keys += [(run.serial, one.number) for one in item.cancelled_activities]
        parent = run.parent
        if item.finish is not None and parent is not None and unit.is_here(parent.instance_id):
            parents.add(parent.run_id)
        for out in item.outbox:
            if not unit.is_here(receiver_of(out)):
                continue
            if isinstance(out, ChildStart):
                instances.add(out.request.instance_id)
            else:
                messages.append(out.message)
    instances.update(m.instance_id for m in messages if m.run_id is None)
    parents.update(m.run_id for m in messages if m.run_id is not None)
    await unit.load_runs(parents)
    await unit.load_current(instances)
    if messages:
        await _load_receivers(unit, messages)
    await unit.load_activities(keys)


async def _commit(unit: Unit, item: TurnCommit) -> CommitOutcome:
    run = await unit.run(item.run_id)
    if run is None:
        return CommitOutcome(CommitResult.GONE, unit.now)
    result = await _check(unit, run, item)
    deferred = await _apply(unit, run, item) if result is CommitResult.APPLIED else ()
    return CommitOutcome(result, unit.now, deferred)


async def _check(unit: Unit, run: Run, item: TurnCommit) -> CommitResult:
    if run.last_commit == item.commit_id:
        return CommitResult.ALREADY
    if not run.running:
        return CommitResult.GONE
    if run.owner is None or run.token != item.token or item.turn not in (0, run.turn + 1):
        return CommitResult.STALE
    finish = item.finish
    if finish is not None and finish.continuation is None and run.last_seq > finish.seen:
        return CommitResult.BEHIND
    for one in item.settled:
        activity = await unit.activity(run.serial, one.number)
        if activity is None or activity.token != one.token:
            return CommitResult.STALE
    return CommitResult.APPLIED


async def _apply(unit: Unit, run: Run, item: TurnCommit) -> tuple[int, ...]:
    """Writes the turn; returns the activities that must wait for their queue's limit."""
    for one in item.settled:
        activity = await unit.activity(run.serial, one.number)
        if activity is not None:
            unit.drop_activity(activity)
    unit.drop_entries(run, item.consumed)
    run.unread -= len(item.consumed)
    run.last_commit = item.commit_id
    run.executing = 0
    if not run.unread:
        run.ready_at = None
    if item.turn:
        run.turn = item.turn
        run.events += item.events
        run.losses = run.lone_losses = 0
        unit.put("insert_history", run.serial, item.turn, item.record)
    for cancel in item.cancelled_activities:
        await _cancel_activity(unit, run, cancel)
    deferred = [new.number for new in item.activities if not await add_activity(unit, run, new)]
    for number in item.cancelled_timers:
        unit.drop_timer(run, number)
    for timer in item.timers:
        unit.add_timer(run, timer.number, timer.due_at)
    for out in item.outbox:
        await _relay(unit, run, out)
    if item.published is not None:
        unit.publish(run, item.published)
    for answer in item.answers:
        failure = encode_failure(answer.failure)
        unit.put_update(run, answer.update_id, answer.stage, answer.result, failure)
        unit.topics.add(ANSWERS)
    if item.park is not None:
        park(run, item.park)
        disown(unit, run)
    elif item.finish is not None:
        await _finish(unit, run, item.finish)
    elif item.release:
        disown(unit, run)
    return tuple(deferred)


async def _cancel_activity(unit: Unit, run: Run, cancel: CancelActivity) -> None:
    activity = await unit.activity(run.serial, cancel.number)
    if activity is None:
        if cancel.confirm:  # never started: its end is confirmed at once
            accept(unit, run, cancelled_entry(cancel.number), carried=False)
    elif cancel.confirm and activity.owner is not None:
        activity.cancel = 1
    elif cancel.confirm:
        end_activity(unit, run, activity, cancelled_entry(cancel.number))
    else:
        unit.drop_activity(activity)


async def _relay(unit: Unit, sender: Run, out: ChildStart | Delivery) -> None:
    """Delivers within the transaction, which has locked both instances; or posts it."""
    if not unit.is_here(receiver_of(out)):
        post_to_instance(unit, sender, out)
        return
    answer = await relay(unit, out)
    if answer is not None:
        accept(unit, sender, answer, carried=False)


async def relay(unit: Unit, out: ChildStart | Delivery) -> bytes | None:
    """Delivers; gives the entry that answers the sender, if one does."""
    if isinstance(out, ChildStart):
        outcome = await _start_with_messages(unit, out.request)
        begun = outcome.result in (StartResult.CREATED, StartResult.REPEATED)
        return None if begun else out.refused
    result = await send_one(unit, out.message)
    return out.accepted if result is SendResult.ACCEPTED else out.refused


async def _finish(unit: Unit, run: Run, end: Finish) -> None:
    following = end.continuation
    if following is not None:
        base = StartRequest(
            instance_id=run.instance_id,
            run_id=following.run_id,
            request_id=run.request_id,
            workflow=following.workflow,
            version=following.version,
            queue=following.queue,
            started=following.started,
            run_timeout=following.run_timeout,
            parent=run.parent,
            parent_close=run.parent_close,  # type: ignore[arg-type]
        )
        await continue_as_new(unit, run, base, following)
        return
    finish(unit, run, end.status, result=end.result, failure=end.failure)
    await tell_parent(unit, run, end.to_parent)
    await close_children(unit, run)
