"""Sessions, what comes due, and what operators do.

PYTEST_DONT_REWRITE
"""

from __future__ import annotations

import sqlite3
from typing import Any

import msgspec
from perdure import Failure

from .. import _liveness
from .._policies import (
    activity_failed,
    cancelled_entry,
    convicted,
    crash_failure,
    retry_at,
)
from .._stored import (
    bucket_of,
    decode_policy,
    encode_failure,
    parent_of,
    which_timeout,
)
from .._wakeups import ACTIVITIES, TURNS
from ..history import TimerFired, encode_event
from ..records import Action, ControlResult, Park, RemoveResult, SessionStart, Status, SweepReport
from ._statements import SQL
from ._steps import Tx
from ._turns import disown

# --- sessions -------------------------------------------------------------------------------


def open_session(tx: Tx, session: SessionStart, proof: str) -> None:
    """See :meth:`Backend.open_session`."""
    tx.execute(
        SQL["insert_session"],
        (
            session.id,
            session.build,
            msgspec.json.encode(session),
            session.lease,
            tx.now,
            tx.now + session.lease,
            proof,
        ),
    )


def end_session(tx: Tx, session_id: str) -> None:
    """See :meth:`Backend.end_session`."""
    retain(tx, session_id, set(), set())
    tx.execute(SQL["delete_session"], (session_id,))


def retain(tx: Tx, session_id: str, runs: set[str], activities: set[str]) -> int:
    """See :meth:`Backend.retain`."""
    count = 0
    for serial, _, token in tx.execute(SQL["owned_runs"], (session_id,)).fetchall():
        if token not in runs:
            disown(tx, serial)
            count += 1
    rows = tx.execute(SQL["owned_activities"], (session_id,)).fetchall()
    for serial, number, stored, scheduled_at, attempt, cancel, token in rows:
        if token not in activities:
            _free_activity(tx, serial, number, stored, scheduled_at, attempt, cancel=cancel)
            count += 1
    return count


def _free_activity(
    tx: Tx,
    serial: int,
    number: int,
    stored: bytes,
    scheduled_at: int,
    attempt: int,
    *,
    cancel: int,
) -> None:
    """Gives an attempt back, uncounted."""
    if cancel:
        tx.end_activity(serial, number, cancelled_entry(number))
        return
    tx.offer_activity(
        serial,
        number,
        due_at=tx.now,
        attempt=attempt - 1,
        policy=decode_policy(stored),
        scheduled_at=scheduled_at,
        last_failure=None,
    )


def _lose_session(tx: Tx, session_id: str, build: str) -> None:
    """Frees what a lost session owned, and marks what may have killed it."""
    lost = tx.execute(SQL["count_session_loss"]).fetchone()[0]
    runs = tx.execute(SQL["owned_runs"], (session_id,)).fetchall()
    activities = tx.execute(SQL["owned_activities"], (session_id,)).fetchall()
    alone = sum(bool(executing) for _, executing, _ in runs) + len(activities) == 1
    for serial, executing, _ in runs:
        if executing:
            losses = _count_loss(tx, "run", (serial,), lost, alone=alone)
            if losses:
                message = f"its worker died {losses} times while it ran a turn alone"
                park = Park(reason="crashes", message=message, build=build, at=tx.now)
                tx.park(serial, park)
        disown(tx, serial)
    for serial, number, stored, scheduled_at, attempt, cancel, _ in activities:
        losses = _count_loss(tx, "activity", (serial, number), lost, alone=alone)
        if losses and not cancel:
            entry = activity_failed(number, crash_failure(losses), "failed")
            tx.end_activity(serial, number, entry)
        else:
            _free_activity(tx, serial, number, stored, scheduled_at, attempt, cancel=cancel)
    tx.execute(SQL["delete_session"], (session_id,))


def _count_loss(tx: Tx, kind: str, key: tuple[int, ...], lost: int, *, alone: bool) -> int:
    """Counts the loss of an owner; the number of losses if that convicts it, else 0."""
    if not alone:
        tx.execute(SQL[f"count_{kind}_loss"], key)
        return 0
    lone, base = tx.execute(SQL[f"count_lone_{kind}_loss"], (lost, *key)).fetchone()
    return lone if convicted(lone, lost - base) else 0


# --- what comes due -------------------------------------------------------------------------


def sweep(tx: Tx, session_id: str, limit: int, since: int) -> SweepReport:
    """See :meth:`Backend.sweep`. ``since`` is the time of this process's last sweep."""
    fired, timed_out = _do_what_is_due(tx, limit)
    if tx.execute(SQL["retries_due"], (since, tx.now)).fetchone()[0]:
        tx.topics.add(ACTIVITIES)
    tx.execute(SQL["forget_queries"], (tx.now,))
    waiting = [bucket_of(row) for row in tx.execute(SQL["limited_and_waiting"], (tx.now,))]
    if any(bucket.available(tx.now) >= 1 for bucket in waiting):
        tx.topics.add(ACTIVITIES)
    lost = _lost_sessions(tx, session_id)
    times = [tx.execute(SQL["next_due"], (tx.now, session_id)).fetchone()[0]]
    times += [bucket.next_at(tx.now) for bucket in waiting]
    next_due = min((at for at in times if at is not None), default=None)
    return SweepReport(
        fired=fired, timed_out=timed_out, sessions_lost=tuple(lost), next_due=next_due
    )


def nothing_due(
    conn: sqlite3.Connection, session_id: str, now: int, since: int
) -> SweepReport | None:
    """The report of a sweep that would do nothing; ``None`` when there may be something to do."""
    parameters = (now, now, now, since, now, now, now, session_id)
    busy = conn.execute(SQL["anything_due"], parameters).fetchone()[0]
    if busy:
        return None
    return SweepReport(next_due=conn.execute(SQL["next_due"], (now, session_id)).fetchone()[0])


def _lost_sessions(tx: Tx, session_id: str) -> list[str]:
    others = tx.execute(SQL["other_sessions"], (session_id,)).fetchall()
    dead = [
        (other, build)
        for other, build, expires_at, proof in others
        if expires_at <= tx.now or _liveness.proven_dead(other, proof)
    ]
    for other, build in dead:
        _lose_session(tx, other, build)
    return [other for other, _ in dead]


def _do_what_is_due(tx: Tx, limit: int) -> tuple[int, int]:
    """Timers that fired, and time-outs; what was due first happens first.

    At the same moment timers come first, then runs, then activities.
    """
    timers = tx.execute(SQL["due_timers"], (tx.now, limit)).fetchall()
    runs = tx.execute(SQL["due_runs"], (tx.now, limit)).fetchall()
    activities = tx.execute(SQL["due_activities"], (tx.now, limit)).fetchall()
    due = [
        *((row[0], 0, row[1], row[2], row) for row in timers),
        *((row[0], 1, row[1], 0, row) for row in runs),
        *((row[0], 2, row[1], row[2], row) for row in activities),
    ]
    due.sort(key=lambda entry: entry[:4])
    fired = timed_out = 0
    for _, kind, serial, number, row in due[:limit]:
        # What came before may have ended the run, and all that it had pending.
        if kind == 0:
            if tx.execute(SQL["delete_timer"], (serial, number)).rowcount:
                tx.accept(serial, encode_event(TimerFired(number)), carried=False)
                fired += 1
        elif kind == 1:
            if tx.execute(SQL["is_running"], (serial,)).fetchone():
                _time_out_run(tx, row)
                timed_out += 1
        elif tx.execute(SQL["is_pending"], (serial, number)).fetchone():
            _time_out_activity(tx, row)
            timed_out += 1
    return fired, timed_out


def _time_out_run(tx: Tx, row: tuple[Any, ...]) -> None:
    _, serial, run_id, parent_instance, parent_run, number = row
    failure = Failure("WorkflowTimeoutError", "the run time-out has passed", retryable=False)
    parent = parent_of(parent_instance, parent_run, number)
    tx.end_from_outside(serial, run_id, parent, Status.TIMED_OUT, failure)


def _time_out_activity(tx: Tx, row: tuple[Any, ...]) -> None:
    _, serial, number, stored, scheduled_at, attempt, started_at, owner, cancel = row
    policy = decode_policy(stored)
    failure = which_timeout(tx.now, policy, scheduled_at, started_at, waiting=owner is None)
    due = retry_at(policy.retry, attempt, failure, scheduled_at, tx.now)
    if due is None or cancel:
        tx.end_activity(serial, number, activity_failed(number, failure, "timeout"))
    else:
        tx.offer_activity(
            serial,
            number,
            due_at=due,
            attempt=attempt,
            policy=policy,
            scheduled_at=scheduled_at,
            last_failure=encode_failure(failure),
        )


# --- operators ------------------------------------------------------------------------------


def control(tx: Tx, instance_id: str, action: Action, reason: str) -> ControlResult:
    """See :meth:`Backend.control`."""
    row: tuple[Any, ...] | None = tx.execute(SQL["for_control"], (instance_id,)).fetchone()
    if row is None:
        return ControlResult.NOT_FOUND
    serial, run_id, status, suspended, parked = row[:5]
    if status != Status.RUNNING.value:
        return ControlResult.FINISHED
    if action is Action.TERMINATE:
        tx.terminate(serial, run_id, parent_of(*row[5:8]), reason)
        return ControlResult.DONE
    if action is Action.SUSPEND:
        if suspended:
            return ControlResult.UNCHANGED
        tx.execute(SQL["suspend_run"], (serial,))
        disown(tx, serial)
        return ControlResult.DONE
    if action is Action.RESUME:
        if not suspended:
            return ControlResult.UNCHANGED
        tx.execute(SQL["resume_run"], (tx.now, serial))
    else:
        if not parked:
            return ControlResult.UNCHANGED
        tx.execute(SQL["unpark_run"], (tx.now, serial))
    tx.topics.update((TURNS, ACTIVITIES))
    return ControlResult.DONE


def remove(tx: Tx, instance_id: str) -> RemoveResult:
    """See :meth:`Backend.remove`."""
    rows = tx.execute(SQL["runs_of_instance"], (instance_id,)).fetchall()
    if not rows:
        return RemoveResult.NOT_FOUND
    if rows[-1][1] == Status.RUNNING.value:
        return RemoveResult.RUNNING
    remove_all(tx, instance_id)
    return RemoveResult.REMOVED


def remove_all(tx: Tx, instance_id: str) -> None:
    """Removes all runs of an instance with all that belongs to them."""
    for serial, _ in tx.execute(SQL["runs_of_instance"], (instance_id,)).fetchall():
        for name in (
            *("clear_history", "clear_inbox", "clear_timers", "clear_activities"),
            "clear_queries",
        ):
            tx.execute(SQL[name], (serial,))
        tx.execute(SQL["delete_start"], (serial,))
        tx.execute(SQL["delete_run"], (serial,))
    tx.execute(SQL["clear_messages"], (instance_id,))
    tx.execute(SQL["clear_updates"], (instance_id,))
