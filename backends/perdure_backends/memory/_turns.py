"""Starting, messages, claims and commits of the memory store.

PYTEST_DONT_REWRITE
"""

from __future__ import annotations

import msgspec

from .._images import both
from .._policies import MAX_INBOX, cancelled_entry, offered
from .._wakeups import ANSWERS
from ..records import (
    Action,
    ChildStart,
    ClaimedTurns,
    CommitOutcome,
    CommitResult,
    ControlResult,
    Delivery,
    Finish,
    InboxEntry,
    Message,
    NewActivity,
    SendResult,
    StartOutcome,
    StartRequest,
    StartResult,
    Status,
    TurnClaim,
    TurnCommit,
    TurnTask,
)
from ._activities import has_suspects
from ._ending import close_children, tell_parent, terminate
from ._state import ActivityRow, Run, State


def start(state: State, request: StartRequest) -> StartOutcome:
    """See :meth:`Backend.start`."""
    outcome = _start(state, request)
    if outcome.result in (StartResult.RUNNING_EXISTS, StartResult.FINISHED_EXISTS):
        return outcome
    for message in request.messages:
        delivered = send(state, message)
        if delivered is not SendResult.ACCEPTED:
            return msgspec.structs.replace(outcome, delivered=delivered)
    return outcome


def _start(state: State, request: StartRequest) -> StartOutcome:
    runs = state.by_id.get(request.instance_id, [])
    for run in runs:
        if run.request_id == request.request_id:
            return StartOutcome(result=StartResult.REPEATED, run_id=run.run_id)
    current = runs[-1] if runs else None
    if current is not None:
        if current.status is Status.RUNNING:
            if request.if_running == "error":
                return StartOutcome(result=StartResult.RUNNING_EXISTS, run_id=current.run_id)
            if request.if_running == "use_existing":
                return StartOutcome(result=StartResult.EXISTING, run_id=current.run_id)
            terminate(state, current, "replaced by a new start under its id")
        elif request.if_finished == "reject":
            return StartOutcome(result=StartResult.FINISHED_EXISTS, run_id=current.run_id)
    state.create(request, run_id=request.run_id, now=state.clock())
    return StartOutcome(result=StartResult.CREATED, run_id=request.run_id)


def send(state: State, message: Message) -> SendResult:
    """See :meth:`Backend.send`."""
    run = state.current(message.instance_id)
    if run is not None and message.run_id is not None:
        named = state.runs.get(message.run_id)
        run = named if named is not None and named.instance_id == message.instance_id else None
    if run is None:
        return SendResult.NOT_FOUND
    seen = state.messages.setdefault(run.instance_id, set())
    if not seen.isdisjoint(both(message.message_id)):
        return SendResult.ACCEPTED
    if run.status is not Status.RUNNING:
        return SendResult.FINISHED
    if len(run.inbox) >= MAX_INBOX:
        return SendResult.FULL
    seen.add(message.message_id)
    state.accept(run, message.entry, carried=True)
    return SendResult.ACCEPTED


def claim(state: State, claim: TurnClaim) -> ClaimedTurns:
    """See :meth:`Backend.claim_turns`."""
    session = state.sessions.get(claim.session_id)
    if session is None:
        return ClaimedTurns(tasks=())
    offers = {(offer.workflow, offer.version) for offer in claim.offers}
    tasks: list[TurnTask] = []
    limit = min(claim.limit, 1) if claim.alone else claim.limit
    source = state.parked if claim.parked else state.ready
    for run in list(source.values()):
        if len(tasks) >= limit:
            break
        if (
            run.queue not in claim.queues
            or not offered(offers, run.workflow, run.version)
            or run.owner not in (None, claim.session_id)
            or (run.suspect and run.owner is None) is not claim.alone
            or run.suspended
            or (claim.parked and claim.build in run.tried)
        ):
            continue
        del source[run.run_id]
        run.park = None
        tasks.append(_lease(state, run, claim))
    suspects = not claim.parked and has_suspects(state, offers, claim.queues)
    return ClaimedTurns(tasks=tuple(tasks), suspects=suspects, queries=bool(state.queries))


def _lease(state: State, run: Run, claim: TurnClaim) -> TurnTask:
    if run.owner is None:
        state.own(run, claim.session_id)
    run.executing = True
    return TurnTask(
        instance_id=run.instance_id,
        run_id=run.run_id,
        token=run.token,
        turn=run.turn,
        workflow=run.workflow,
        version=run.version,
        queue=run.queue,
        inbox=tuple(InboxEntry(seq, entry) for seq, (entry, _) in run.inbox.items()),
        time=state.clock(),
        started_at=run.started_at,
        events=run.events,
        parent=run.parent,
        alone=claim.alone,
        ready_at=None if claim.parked else run.ready_at,
    )


def commit(state: State, item: TurnCommit) -> CommitOutcome:
    """See :meth:`Backend.commit`."""
    now = state.clock()
    result = _check(state, item)
    deferred: list[int] = []
    if result is CommitResult.APPLIED:
        _apply(state, state.runs[item.run_id], item, now, deferred)
    return CommitOutcome(result, now, tuple(deferred))


def _check(state: State, item: TurnCommit) -> CommitResult:
    run = state.runs.get(item.run_id)
    if run is None:
        return CommitResult.GONE
    if run.last_commit == item.commit_id:
        return CommitResult.ALREADY
    if run.status is not Status.RUNNING:
        return CommitResult.GONE
    expected = run.turn + 1 if item.turn else run.turn
    if run.owner is None or run.token != item.token or item.turn not in (0, expected):
        return CommitResult.STALE
    for settled in item.settled:
        row = run.activities.get(settled.number)
        if row is None or row.token != settled.token:
            return CommitResult.STALE
    if any(seq not in run.inbox for seq in item.consumed):
        return CommitResult.STALE
    finish = item.finish
    if finish is not None and finish.continuation is None and run.last_seq > finish.seen:
        return CommitResult.BEHIND
    return CommitResult.APPLIED


def _apply(state: State, run: Run, item: TurnCommit, now: int, deferred: list[int]) -> None:
    run.last_commit = item.commit_id
    run.executing = False
    if item.turn:
        run.turn = item.turn
        run.events += item.events
        run.history.append(item.record)
        run.losses = run.lone_losses = 0
    for seq in item.consumed:
        del run.inbox[seq]
    if not run.inbox:
        state.ready.pop(run.run_id, None)
    for settled in item.settled:
        state.drop_activity(run.activities[settled.number])
    for cancel in item.cancelled_activities:
        row = run.activities.get(cancel.number)
        if row is not None:
            _cancel_activity(state, row, confirm=cancel.confirm)
        elif cancel.confirm:  # never started: its end is confirmed at once
            state.accept(run, cancelled_entry(cancel.number), carried=False)
    for new in item.activities:
        if not _add_activity(state, run, new, now):
            deferred.append(new.number)
    for number in item.cancelled_timers:
        run.timers.pop(number, None)
    for timer in item.timers:
        run.timers[timer.number] = timer.due_at
        state.plan(timer.due_at, "timer", run.run_id, timer.number)
    for out in item.outbox:
        _relay(state, run, out, now)
    if item.published is not None:
        run.published = item.published
    for answer in item.answers:
        state.updates[run.instance_id, answer.update_id] = answer
        state.topics.add(ANSWERS)
    if item.park is not None:
        state.set_park(run, item.park)
        state.disown(run)
    elif item.finish is not None:
        _finish(state, run, item.finish, now)
    elif item.release:
        state.disown(run)


def _add_activity(state: State, run: Run, new: NewActivity, now: int) -> bool:
    """Writes an activity's record; ``False`` when its start must wait for its queue's limit."""
    row = ActivityRow(run, new)
    run.activities[new.number] = row
    wanted = new.token is not None and run.owner is not None
    bucket = state.buckets.get(new.queue)
    started = wanted and (bucket is None or bucket.available(now) >= 1)
    if started and bucket is not None:
        bucket.take(1)
    if started and new.token is not None and run.owner is not None:
        state.own_activity(row, run.owner, new.token, now)
    else:
        state.offer_activity(row, now)
    state.set_deadline(row, now)
    return started or not wanted


def _cancel_activity(state: State, row: ActivityRow, *, confirm: bool) -> None:
    if confirm and row.owner is not None:
        row.cancel = True
        return
    run = row.run
    state.drop_activity(row)
    if confirm:
        state.accept(run, cancelled_entry(row.new.number), carried=False)


def _relay(state: State, sender: Run, out: ChildStart | Delivery, now: int) -> None:
    """Delivers at once: all instances live in the same place."""
    if isinstance(out, ChildStart):
        outcome = start(state, out.request)
        if outcome.result in (StartResult.CREATED, StartResult.REPEATED):
            sender.children.append(outcome.run_id)
        else:
            state.accept(sender, out.refused, carried=False)
        return
    result = send(state, out.message)
    answer = out.accepted if result is SendResult.ACCEPTED else out.refused
    if answer is not None and sender.status is Status.RUNNING:
        state.accept(sender, answer, carried=False)


def _finish(state: State, run: Run, finish: Finish, now: int) -> None:
    if finish.continuation is not None:
        new = state.continue_as_new(run, finish.continuation, now)
        new.children = run.children
        if run.parent is not None:
            parent = state.runs.get(run.parent.run_id)
            if parent is not None:
                parent.children.append(new.run_id)
        return
    state.finish(run, finish.status, now, result=finish.result, failure=finish.failure)
    tell_parent(state, run, finish.to_parent)
    close_children(state, run)


def control(state: State, instance_id: str, action: Action, reason: str) -> ControlResult:
    """See :meth:`Backend.control`."""
    run = state.current(instance_id)
    if run is None:
        return ControlResult.NOT_FOUND
    if run.status is not Status.RUNNING:
        return ControlResult.FINISHED
    if action is Action.TERMINATE:
        terminate(state, run, reason)
        return ControlResult.DONE
    if action is Action.SUSPEND:
        if run.suspended:
            return ControlResult.UNCHANGED
        run.suspended = True
        state.disown(run)
        state.ready.pop(run.run_id, None)
        return ControlResult.DONE
    if action is Action.RESUME:
        if not run.suspended:
            return ControlResult.UNCHANGED
        run.suspended = False
    else:
        if run.park is None:
            return ControlResult.UNCHANGED
        run.park = None
        run.tried = ()
        run.losses = run.lone_losses = 0
        state.parked.pop(run.run_id, None)
    # Woken even without a message: what it waited for may be wholly its own doing.
    state.wake(run)
    return ControlResult.DONE
