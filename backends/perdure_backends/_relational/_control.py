"""Sessions, what comes due, and what operators do.

PYTEST_DONT_REWRITE
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
from perdure import Failure

from .._policies import activity_failed, cancelled_entry, convicted, crash_failure, retry_at
from .._stored import decode_policy, which_timeout
from .._wakeups import ACTIVITIES, TURNS
from ..history import TimerFired, encode_event
from ..records import Action, ControlResult, Park, RemoveResult, SessionStart, Status
from ._rows import Activity, Run
from ._steps import accept, disown, end_activity, end_from_outside, offer_activity, park, terminate
from ._unit import Unit

# --- sessions -------------------------------------------------------------------------------


async def open_session(unit: Unit, session: SessionStart) -> None:
    """See :meth:`Backend.open_session`."""
    start = msgspec.json.encode(session)
    expires = unit.now + session.lease
    row = (session.id, session.build, start, session.lease, unit.now, expires, "")
    unit.also("insert_session", row)


async def end_session(unit: Unit, session_id: str) -> None:
    """See :meth:`Backend.end_session`."""
    await retain(unit, session_id, set(), set())
    unit.also("delete_session", (session_id,))


async def retain(unit: Unit, session_id: str, runs: set[str], activities: set[str]) -> int:
    """See :meth:`Backend.retain`."""
    await unit.fetch("lock_session", id=session_id)
    owned, attempts = await _owned(unit, session_id)
    count = 0
    for run in owned:
        if run.token not in runs:
            disown(unit, run)
            count += 1
    for activity in attempts:
        if activity.token not in activities:
            _free_activity(unit, activity)
            count += 1
    return count


async def _owned(unit: Unit, session_id: str) -> tuple[list[Run], list[Activity]]:
    """What a session owns, locked: runs first, those of its activities among them."""
    rows = await unit.fetch("serials_owned", session=session_id)
    await unit.load_serials(row[0] for row in rows)
    owned = [run for (serial,) in rows if (run := unit.of_serial(serial)).owner == session_id]
    attempts = unit.take_in_activities(await unit.fetch("owned_activities", session=session_id))
    return owned, attempts


def _free_activity(unit: Unit, activity: Activity) -> None:
    """Gives an attempt back, uncounted."""
    if activity.cancel:
        run = unit.of_serial(activity.run)
        end_activity(unit, run, activity, cancelled_entry(activity.number))
        return
    policy = decode_policy(activity.policy)
    offer_activity(unit, activity, policy, due_at=unit.now, attempt=activity.attempt - 1)


async def lose_session(unit: Unit, session_id: str, build: str, *, proven: bool) -> bool:
    """Frees what a lost session owned, and marks what may have killed it.

    Returns:
        ``False`` when it has been renewed or treated by somebody else meanwhile.
    """
    rows = await unit.fetch("lock_session", id=session_id)
    if not rows or (not proven and rows[0][0] > unit.now):
        return False
    lost = await _count_session_loss(unit)
    owned, attempts = await _owned(unit, session_id)
    alone = sum(bool(run.executing) for run in owned) + len(attempts) == 1
    for run in owned:
        if run.executing:
            losses = _count_loss(run, lost, alone=alone)
            if losses:
                message = f"its worker died {losses} times while it ran a turn alone"
                park(run, Park(reason="crashes", message=message, build=build, at=unit.now))
        disown(unit, run)
    for activity in attempts:
        losses = _count_loss(activity, lost, alone=alone)
        if losses and not activity.cancel:
            entry = activity_failed(activity.number, crash_failure(losses), "failed")
            end_activity(unit, unit.of_serial(activity.run), activity, entry)
        else:
            _free_activity(unit, activity)
    unit.also("delete_session", (session_id,))
    return True


async def _count_session_loss(unit: Unit) -> int:
    rows = await unit.fetch("lock_meta", key="lost_sessions")
    lost = 1 + (int(rows[0][0]) if rows else 0)
    unit.also("put_meta", ("lost_sessions", str(lost)))
    return lost


def _count_loss(suspect: Run | Activity, lost: int, *, alone: bool) -> int:
    """Counts the loss of an owner; the number of losses if that convicts it, else 0."""
    if not alone:
        suspect.losses += 1
        return 0
    if suspect.lone_losses == 0:
        suspect.loss_base = lost - 1
    suspect.lone_losses += 1
    lone = suspect.lone_losses
    return lone if convicted(lone, lost - suspect.loss_base) else 0


# --- what comes due -------------------------------------------------------------------------


async def do_what_is_due(unit: Unit, limit: int) -> tuple[int, int]:
    """Timers that fired, and time-outs; what was due first happens first.

    At the same moment timers come first, then runs, then activities. Runs that somebody else has
    locked just now are left for the next sweep.
    """
    due = [(*row, 0) for row in await unit.fetch("due_timers", now=unit.now, limit=limit)]
    due += [(at, run, 0, 1) for at, run in await unit.fetch("due_runs", now=unit.now, limit=limit)]
    due += [(*row, 2) for row in await unit.fetch("due_activities", now=unit.now, limit=limit)]
    due.sort(key=lambda entry: (entry[0], entry[3], entry[1], entry[2]))
    del due[limit:]
    runs = {r.serial: r for r in await unit.load_serials({row[1] for row in due}, wait=False)}
    timers = [(serial, number) for _, serial, number, kind in due if kind == 0 and serial in runs]
    there = set[tuple[int, int]]()
    if timers:
        there = {(row[0], row[1]) for row in await unit.fetch("timers_by_key", keys=timers)}
    await unit.load_activities(
        (serial, number) for _, serial, number, kind in due if kind == 2 and serial in runs
    )
    fired = timed_out = 0
    for _, serial, number, kind in due:
        # What came before may have ended the run, and all that it had pending.
        run = runs.get(serial)
        if run is None or not run.running:
            continue
        if kind == 0:
            if (serial, number) in there:
                unit.drop_timer(run, number)
                accept(unit, run, encode_event(TimerFired(number)), carried=False)
                fired += 1
        elif kind == 1:
            if run.deadline_at is not None and run.deadline_at <= unit.now:
                await _time_out_run(unit, run)
                timed_out += 1
        else:
            activity = await unit.activity(serial, number)
            if activity is not None and (activity.deadline_at or unit.now + 1) <= unit.now:
                _time_out_activity(unit, run, activity)
                timed_out += 1
    return fired, timed_out


async def _time_out_run(unit: Unit, run: Run) -> None:
    failure = Failure("WorkflowTimeoutError", "the run time-out has passed", retryable=False)
    await end_from_outside(unit, run, Status.TIMED_OUT, failure)


def _time_out_activity(unit: Unit, run: Run, activity: Activity) -> None:
    policy = decode_policy(activity.policy)
    scheduled_at, attempt = activity.scheduled_at, activity.attempt
    failure = which_timeout(
        unit.now, policy, scheduled_at, activity.started_at, waiting=activity.owner is None
    )
    due = retry_at(policy.retry, attempt, failure, scheduled_at, unit.now)
    if due is None or activity.cancel:
        end_activity(unit, run, activity, activity_failed(activity.number, failure, "timeout"))
    else:
        offer_activity(unit, activity, policy, due_at=due, attempt=attempt, last_failure=failure)


# --- operators ------------------------------------------------------------------------------


async def control(unit: Unit, instance_id: str, action: Action, reason: str) -> ControlResult:
    """See :meth:`Backend.control`."""
    run = await unit.current(instance_id)
    if run is None:
        return ControlResult.NOT_FOUND
    if not run.running:
        return ControlResult.FINISHED
    if action is Action.TERMINATE:
        await terminate(unit, run, reason)
        return ControlResult.DONE
    if action is Action.SUSPEND:
        if run.suspended:
            return ControlResult.UNCHANGED
        run.suspended = 1
        run.ready_at = None
        disown(unit, run)
        return ControlResult.DONE
    if action is Action.RESUME:
        if not run.suspended:
            return ControlResult.UNCHANGED
        run.suspended = 0
        run.ready_at = unit.now if run.park is None else None
    else:
        if run.park is None:
            return ControlResult.UNCHANGED
        run.park = None
        run.tried = ""
        run.losses = run.lone_losses = 0
        run.ready_at = None if run.suspended else unit.now
    unit.topics.update((TURNS, ACTIVITIES))
    return ControlResult.DONE


async def remove(unit: Unit, instance_id: str) -> RemoveResult:
    """See :meth:`Backend.remove`."""
    run = await unit.current(instance_id)
    if run is None:
        return RemoveResult.NOT_FOUND
    if run.running:
        return RemoveResult.RUNNING
    await remove_lineage(unit, run.lineage)
    return RemoveResult.REMOVED


async def remove_lineage(unit: Unit, lineage: int) -> None:
    """Removes all runs of an instance, none of which has anything pending any more."""
    serials: Sequence[Any] = await unit.fetch("serials_of_lineage", lineage=lineage)
    await unit.load_serials(row[0] for row in serials)
    rows = [(row[0],) for row in serials]
    for statement in (
        *("clear_history", "clear_queries", "delete_starts", "delete_outcomes"),
        *("delete_published", "delete_runs"),
    ):
        unit.also(statement, *rows)
    for statement in ("clear_messages", "clear_updates"):
        unit.also(statement, (lineage,))
