"""Starting, messages, claims and commits.

PYTEST_DONT_REWRITE
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import msgspec

from .._ids import new_token
from .._images import both
from .._policies import ANY_WORKFLOW, MAX_INBOX, SUSPECT_AFTER, cancelled_entry
from .._stored import encode_failure, parent_of
from .._wakeups import ANSWERS, TURNS
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
    Settled,
    StartOutcome,
    StartRequest,
    StartResult,
    Status,
    TurnClaim,
    TurnCommit,
    TurnTask,
)
from ._statements import SQL
from ._steps import Tx


def start(tx: Tx, request: StartRequest) -> StartOutcome:
    """See :meth:`Backend.start`."""
    outcome = _start(tx, request)
    if outcome.result in (StartResult.RUNNING_EXISTS, StartResult.FINISHED_EXISTS):
        return outcome
    for message in request.messages:
        delivered = send(tx, message)
        if delivered is not SendResult.ACCEPTED:
            return msgspec.structs.replace(outcome, delivered=delivered)
    return outcome


def _start(tx: Tx, request: StartRequest) -> StartOutcome:
    current = tx.execute(SQL["current_run"], (request.instance_id,)).fetchone()
    if current is not None:
        serial, run_id, status, _ = current
        repeated = tx.execute(
            SQL["find_request"], (request.instance_id, request.request_id)
        ).fetchone()
        if repeated is not None:
            return StartOutcome(result=StartResult.REPEATED, run_id=repeated[0])
        if status == Status.RUNNING.value:
            if request.if_running == "error":
                return StartOutcome(result=StartResult.RUNNING_EXISTS, run_id=run_id)
            if request.if_running == "use_existing":
                return StartOutcome(result=StartResult.EXISTING, run_id=run_id)
            _replace(tx, serial, run_id)
        elif request.if_finished == "reject":
            return StartOutcome(result=StartResult.FINISHED_EXISTS, run_id=run_id)
    tx.create(request, run_id=request.run_id)
    return StartOutcome(result=StartResult.CREATED, run_id=request.run_id)


def _replace(tx: Tx, serial: int, run_id: str) -> None:
    row = tx.execute(SQL["for_commit"], (run_id,)).fetchone()
    parent = parent_of(row[10], row[11], row[12])
    tx.terminate(serial, run_id, parent, "replaced by a new start under its id")


def send(tx: Tx, message: Message) -> SendResult:
    """See :meth:`Backend.send`."""
    if message.run_id is None:
        row = tx.execute(SQL["current_run"], (message.instance_id,)).fetchone()
    else:
        row = tx.execute(SQL["named_run"], (message.run_id, message.instance_id)).fetchone()
    if row is None:
        return SendResult.NOT_FOUND
    serial, _, status, unread = row
    identity = (message.instance_id, message.message_id)
    known = (message.instance_id, *both(message.message_id))
    if tx.execute(SQL["message_known"], known).fetchone() is not None:
        return SendResult.ACCEPTED
    if status != Status.RUNNING.value:
        return SendResult.FINISHED
    if unread >= MAX_INBOX:
        return SendResult.FULL
    tx.execute(SQL["insert_message"], identity)
    tx.accept(serial, message.entry, carried=True)
    return SendResult.ACCEPTED


def claim(tx: Tx, claim: TurnClaim) -> ClaimedTurns:
    """See :meth:`Backend.claim_turns`."""
    if tx.execute(SQL["session_exists"], (claim.session_id,)).fetchone() is None:
        return ClaimedTurns(tasks=())
    parameters: dict[str, Any] = {
        **offers_of(claim.queues, claim.offers),
        "session": claim.session_id,
        "build": claim.build,
        "suspect": SUSPECT_AFTER,
        "alone": claim.alone,
        "limit": min(claim.limit, 1) if claim.alone else claim.limit,
        "now": tx.now,
    }
    statement = SQL["claimable_parked" if claim.parked else "claimable"]
    rows = tx.execute(statement, parameters).fetchall()
    tasks = tuple(_lease(tx, claim, row) for row in rows)
    suspects, queries = tx.execute(SQL["suspects"], parameters).fetchone()
    return ClaimedTurns(
        tasks=tasks, suspects=bool(suspects) and not claim.parked, queries=bool(queries)
    )


def offers_of(queues: Sequence[str], offers: Sequence[Offer]) -> dict[str, Any]:
    """What a worker offers, as parameters of a statement."""
    return {
        "queues": json.dumps(queues),
        "offers": json.dumps([f"{offer.version} {offer.workflow}" for offer in offers]),
        "all_workflows": any((offer.workflow, offer.version) == ANY_WORKFLOW for offer in offers),
    }


def _lease(tx: Tx, claim: TurnClaim, row: tuple[Any, ...]) -> TurnTask:
    serial, instance_id, run_id, token, turn, workflow, version, queue, started_at, events = row[
        :10
    ]
    if row[13] is None:
        token = new_token()
    tx.execute(SQL["lease_run"], (claim.session_id, token, serial))
    inbox = tx.execute(SQL["read_inbox"], (serial,)).fetchall() if row[14] else []
    return TurnTask(
        instance_id=instance_id,
        run_id=run_id,
        token=token,
        turn=turn,
        workflow=workflow,
        version=version,
        queue=queue,
        inbox=tuple(InboxEntry(seq, entry) for seq, entry in inbox),
        time=tx.now,
        started_at=started_at,
        events=events,
        parent=parent_of(row[10], row[11], row[12]),
        alone=claim.alone,
        ready_at=row[15],
    )


def release(tx: Tx, lease: Lease) -> None:
    """See :meth:`Backend.release`."""
    row = tx.execute(SQL["release_lease"], (lease.run_id, lease.token)).fetchone()
    if row is not None:
        disown(tx, row[0])


def disown(tx: Tx, serial: int) -> None:
    """Ends a run's lease; unread messages make it claimable."""
    row = tx.execute(SQL["disown_run"], (tx.now, serial)).fetchone()
    if row is not None and row[0]:
        tx.topics.add(TURNS)


# --- commits --------------------------------------------------------------------------------


class _Run:
    """The columns of a run that its commit needs."""

    def __init__(self, row: tuple[Any, ...]) -> None:
        (
            self.serial,
            self.status,
            self.owner,
            self.token,
            self.turn,
            self.last_commit,
            self.last_seq,
            self.unread,
            self.instance_id,
            self.request_id,
            parent_instance,
            self.parent_run,
            parent_number,
            self.parent_close,
            self.closes_with,
            self.limits,
        ) = row
        self.parent = parent_of(parent_instance, self.parent_run, parent_number)


def commit(tx: Tx, item: TurnCommit) -> CommitOutcome:
    """See :meth:`Backend.commit`."""
    row = tx.execute(SQL["for_commit"], (item.run_id,)).fetchone()
    if row is None:
        return CommitOutcome(CommitResult.GONE, tx.now)
    run = _Run(row)
    result = _check(tx, run, item)
    deferred = _apply(tx, run, item) if result is CommitResult.APPLIED else ()
    return CommitOutcome(result, tx.now, deferred)


def _check(tx: Tx, run: _Run, item: TurnCommit) -> CommitResult:
    if run.last_commit == item.commit_id:
        return CommitResult.ALREADY
    if run.status != Status.RUNNING.value:
        return CommitResult.GONE
    if run.owner is None or run.token != item.token or item.turn not in (0, run.turn + 1):
        return CommitResult.STALE
    finish = item.finish
    if finish is not None and finish.continuation is None and run.last_seq > finish.seen:
        return CommitResult.BEHIND
    return _take_settled(tx, run.serial, item.settled)


def _take_settled(tx: Tx, serial: int, settled: tuple[Settled, ...]) -> CommitResult:
    """Drops the records of activities whose outcomes ride in the turn; all of them or none."""
    if len(settled) > 1:
        for one in settled:
            found = tx.execute(SQL["activity_token"], (serial, one.number)).fetchone()
            if found is None or found[0] != one.token:
                return CommitResult.STALE
    for one in settled:
        # For a single one the deletion itself is the check: the common case is one statement.
        if not tx.execute(SQL["take_activity"], (serial, one.number, one.token)).rowcount:
            return CommitResult.STALE
    return CommitResult.APPLIED


def _apply(tx: Tx, run: _Run, item: TurnCommit) -> tuple[int, ...]:
    """Writes the turn; returns the activities that must wait for their queue's limit."""
    serial, execute = run.serial, tx.execute
    for seq in item.consumed:
        execute(SQL["delete_inbox"], (serial, seq))
    count = len(item.consumed)
    if item.turn:
        execute(SQL["advance_run"], (item.turn, item.events, count, item.commit_id, count, serial))
        execute(SQL["insert_history"], (serial, item.turn, item.record))
    else:
        execute(SQL["note_commit"], (item.commit_id, count, count, serial))
    for cancel in item.cancelled_activities:
        _cancel_activity(tx, serial, cancel)
    deferred: list[int] = []
    for new in item.activities:
        if not tx.add_activity(serial, new, run.owner, limited=bool(run.limits)):
            deferred.append(new.number)
    for number in item.cancelled_timers:
        execute(SQL["delete_timer"], (serial, number))
    for timer in item.timers:
        execute(SQL["insert_timer"], (serial, timer.number, timer.due_at))
        tx.plan(timer.due_at)
    for out in item.outbox:
        _relay(tx, serial, out)
    if item.published is not None:
        execute(SQL["publish"], (item.published, serial))
    for answer in item.answers:
        failure = encode_failure(answer.failure)
        row = (run.instance_id, answer.update_id, answer.stage, answer.result, failure)
        execute(SQL["put_update"], row)
        tx.topics.add(ANSWERS)
    if item.park is not None:
        tx.park(serial, item.park)
        disown(tx, serial)
    elif item.finish is not None:
        _finish(tx, run, item.run_id, item.finish, unread=run.unread - count)
    elif item.release:
        disown(tx, serial)
    return tuple(deferred)


def _cancel_activity(tx: Tx, serial: int, cancel: CancelActivity) -> None:
    row = tx.execute(SQL["activity_owner"], (serial, cancel.number)).fetchone()
    if row is None:
        if cancel.confirm:  # never started: its end is confirmed at once
            tx.accept(serial, cancelled_entry(cancel.number), carried=False)
        return
    if cancel.confirm and row[0] is not None:
        tx.execute(SQL["cancel_flag"], (serial, cancel.number))
    elif cancel.confirm:
        tx.end_activity(serial, cancel.number, cancelled_entry(cancel.number))
    else:
        tx.execute(SQL["delete_activity"], (serial, cancel.number))


def _relay(tx: Tx, sender: int, out: ChildStart | Delivery) -> None:
    """Delivers within the transaction: the one writer's lock covers both instances."""
    if isinstance(out, ChildStart):
        outcome = start(tx, out.request)
        if outcome.result not in (StartResult.CREATED, StartResult.REPEATED):
            tx.accept(sender, out.refused, carried=False)
        return
    result = send(tx, out.message)
    answer = out.accepted if result is SendResult.ACCEPTED else out.refused
    if answer is not None:
        tx.accept(sender, answer, carried=False)


def _finish(tx: Tx, run: _Run, run_id: str, finish: Finish, *, unread: int) -> None:
    following = finish.continuation
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
            parent_close=run.parent_close,
        )
        tx.continue_as_new(run.serial, run_id, base, following, run.closes_with)
        return
    tx.finish(
        run.serial,
        run_id,
        finish.status,
        result=finish.result,
        failure=finish.failure,
        unread=unread,
    )
    tx.tell_parent(run.parent_run, finish.to_parent)
    tx.close_children(run_id)
