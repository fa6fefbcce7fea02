"""Activities, sessions and housekeeping of the memory store.

PYTEST_DONT_REWRITE
"""

from __future__ import annotations

import heapq
from collections.abc import Container

from perdure import Failure
from perdure.extension import CATCH_ALL

from .._policies import (
    activity_failed,
    after_attempt,
    cancelled_entry,
    convicted,
    crash_failure,
    offered,
    retry_at,
    timeout_failure,
)
from .._wakeups import ACTIVITIES
from ..history import TimerFired, encode_event
from ..records import (
    ActivityClaim,
    ActivityResult,
    ActivityTask,
    Heartbeat,
    HeartbeatResult,
    Park,
    Status,
    SweepReport,
)
from ._ending import end_from_outside
from ._state import ActivityRow, Run, Session, State


def has_suspects(state: State, offers: Container[tuple[str, int]], queues: Container[str]) -> bool:
    """Whether something waits that must run alone."""
    return state.lost_sessions > 0 and (
        any(
            run.suspect
            and run.owner is None
            and run.queue in queues
            and offered(offers, run.workflow, run.version)
            for run in state.ready.values()
        )
        or any(row.suspect and row.new.queue in queues for row in state.waiting.values())
    )


def claim_activities(state: State, claim: ActivityClaim) -> list[ActivityTask]:
    """See :meth:`Backend.claim_activities`."""
    if claim.session_id not in state.sessions:
        return []
    now = state.clock()
    state.offer_due(now)
    tasks: list[ActivityTask] = []
    limit = min(claim.limit, 1) if claim.alone else claim.limit
    any_name = CATCH_ALL in claim.names
    for key, row in sorted(state.waiting.items(), key=_rank):
        if len(tasks) >= limit:
            break
        if (
            row.new.queue not in claim.queues
            or (row.new.name not in claim.names and not any_name)
            or row.run.suspended
            or row.suspect is not claim.alone
        ):
            continue
        bucket = state.buckets.get(row.new.queue)
        if bucket is not None:
            if bucket.available(now) < 1:
                continue
            bucket.take(1)
        del state.waiting[key]
        state.own_activity(row, claim.session_id, state.new_token(), now)
        state.set_deadline(row, now)
        tasks.append(_task(row, alone=claim.alone))
    return tasks


def _rank(item: tuple[tuple[str, int], ActivityRow]) -> tuple[int, int, int, int]:
    """The greatest priority first; of one priority, the longest waiting."""
    row = item[1]
    return -row.new.priority, row.due_at, row.run.serial, row.new.number


def _task(row: ActivityRow, *, alone: bool) -> ActivityTask:
    new = row.new
    return ActivityTask(
        instance_id=row.run.instance_id,
        run_id=row.run.run_id,
        number=new.number,
        name=new.name,
        queue=new.queue,
        input=new.input,
        token=row.token,
        attempt=row.attempt,
        scheduled_at=new.scheduled_at,
        started_at=row.started_at,
        retry=new.retry,
        deadline=row.deadline,
        heartbeat=new.heartbeat,
        details=row.details,
        alone=alone,
        headers=new.headers,
        due_at=row.due_at,
    )


def _find(state: State, run_id: str, number: int, token: str) -> ActivityRow | None:
    run = state.runs.get(run_id)
    row = run.activities.get(number) if run is not None else None
    return row if row is not None and row.token == token else None


def settle(state: State, result: ActivityResult) -> bool:
    """See :meth:`Backend.settle`."""
    row = _find(state, result.run_id, result.number, result.token)
    if row is None:
        return False
    now = state.clock()
    if result.detach:
        state.detach_activity(row)
        return True
    if result.entry is not None or row.cancel:
        run = row.run
        entry = result.entry if result.entry is not None else cancelled_entry(result.number)
        state.drop_activity(row)
        state.accept(run, entry, carried=False)
        return True
    due, failed = after_attempt(result, row.retry, row.attempt, row.new.scheduled_at, now)
    if failed is not None:
        fail_activity(state, row, failed)
        return True
    state.disown_activity(row)
    if result.hand_back:
        row.attempt -= 1
    row.last_failure = result.failure or row.last_failure
    state.offer_activity(row, due)
    state.set_deadline(row, now)
    return True


def heartbeat(state: State, beat: Heartbeat) -> HeartbeatResult:
    """See :meth:`Backend.heartbeat`."""
    row = _find(state, beat.run_id, beat.number, beat.token)
    if row is None:
        return HeartbeatResult.GONE
    if beat.details is not None:
        row.details = beat.details
    if beat.alive and row.new.heartbeat is not None:
        now = state.clock()
        limits = [now + row.new.heartbeat]
        if row.new.start_to_close is not None:
            limits.append(row.started_at + row.new.start_to_close)
        if row.new.schedule_to_close is not None:
            limits.append(row.new.scheduled_at + row.new.schedule_to_close)
        row.deadline = min(limits)
        state.plan(row.deadline, "activity_timeout", beat.run_id, beat.number)
    return HeartbeatResult.CANCEL if row.cancel else HeartbeatResult.GO_ON


# --- sessions -------------------------------------------------------------------------------


def retain(state: State, session_id: str, runs: set[str], activities: set[str]) -> int:
    """See :meth:`Backend.retain`."""
    session = state.sessions.get(session_id)
    if session is None:
        return 0
    unknown = [run for run in session.runs.values() if run.token not in runs]
    rows = [row for row in session.activities.values() if row.token not in activities]
    for run in unknown:
        state.disown(run)
    for row in rows:
        _hand_back(state, row)
    return len(unknown) + len(rows)


def _hand_back(state: State, row: ActivityRow) -> None:
    """Gives an attempt back, uncounted."""
    state.disown_activity(row)
    row.attempt -= 1
    if row.cancel:
        fail_activity(state, row, cancelled_entry(row.new.number))
    else:
        state.offer_activity(row, state.clock())
        state.set_deadline(row, state.clock())


def end_session(state: State, session_id: str) -> None:
    """See :meth:`Backend.end_session`."""
    session = state.sessions.get(session_id)
    if session is None:
        return
    for run in list(session.runs.values()):
        state.disown(run)
    for row in list(session.activities.values()):
        _hand_back(state, row)
    del state.sessions[session_id]


def lose_session(state: State, session: Session) -> None:
    """Frees what a lost session owned, and marks what may have killed it."""
    now = state.clock()
    rows = list(session.activities.values())
    state.lost_sessions += 1
    executing = sum(run.executing for run in session.runs.values()) + len(rows)
    for run in list(session.runs.values()):
        if run.executing:
            _count_run_loss(state, run, alone=executing == 1, build=session.start.build, now=now)
        else:
            state.disown(run)
    for row in rows:
        _count_activity_loss(state, row, alone=executing == 1, now=now)
    del state.sessions[session.start.id]


def _count_loss(state: State, item: Run | ActivityRow, *, alone: bool) -> bool:
    """Counts the loss of an owner; whether it is convicted of having caused it."""
    if not alone:
        item.losses += 1
        return False
    if item.lone_losses == 0:
        item.loss_base = state.lost_sessions - 1
    item.lone_losses += 1
    return convicted(item.lone_losses, state.lost_sessions - item.loss_base)


def _count_run_loss(state: State, run: Run, *, alone: bool, build: str, now: int) -> None:
    if _count_loss(state, run, alone=alone):
        message = f"its worker process died {run.lone_losses} times while it ran a turn alone"
        state.set_park(run, Park(reason="crashes", message=message, build=build, at=now))
    state.disown(run)


def _count_activity_loss(state: State, row: ActivityRow, *, alone: bool, now: int) -> None:
    state.disown_activity(row)
    row.attempt -= 1  # a lost owner is not a failed attempt
    guilty = _count_loss(state, row, alone=alone)
    if row.cancel:
        fail_activity(state, row, cancelled_entry(row.new.number))
    elif guilty:
        failure = crash_failure(row.lone_losses)
        fail_activity(state, row, activity_failed(row.new.number, failure, "failed"))
    else:
        state.offer_activity(row, now)
        state.set_deadline(row, now)


def fail_activity(state: State, row: ActivityRow, entry: bytes) -> None:
    """Ends an activity with an outcome."""
    run = row.run
    state.drop_activity(row)
    state.accept(run, entry, carried=False)


# --- what comes due -------------------------------------------------------------------------


def sweep(state: State, session_id: str, limit: int) -> SweepReport:
    """See :meth:`Backend.sweep`."""
    now = state.clock()
    state.offer_due(now)
    fired = timed_out = 0
    while state.due and state.due[0][0] <= now and fired + timed_out < limit:
        at, _, _, number, kind, run_id = heapq.heappop(state.due)
        run = state.runs.get(run_id)
        if run is None or run.status is not Status.RUNNING:
            continue
        if kind == "timer":
            if run.timers.pop(number, None) is not None:
                state.accept(run, encode_event(TimerFired(number)), carried=False)
                fired += 1
        elif kind == "run_timeout":
            _time_out_run(state, run)
            timed_out += 1
        else:
            row = run.activities.get(number)
            if row is None:
                continue
            if row.deadline == at:
                _time_out_activity(state, row, now)
                timed_out += 1
    for name in [name for name, query in state.queries.items() if query.expires_at <= now]:
        del state.queries[name]
    if any(bucket.available(now) >= 1 for bucket in state.limited_and_waiting()):
        state.topics.add(ACTIVITIES)
    lost = [
        session
        for session in list(state.sessions.values())
        if session.expires_at <= now and session.start.id != session_id
    ]
    for session in lost:
        lose_session(state, session)
    return SweepReport(
        fired=fired,
        timed_out=timed_out,
        sessions_lost=tuple(session.start.id for session in lost),
        next_due=_next_due(state, session_id),
    )


def _is_due(state: State, entry: tuple[int, int, int, int, str, str]) -> bool:
    """Whether what was planned is still to happen then."""
    at, _, _, number, kind, run_id = entry
    run = state.runs.get(run_id)
    if run is None or run.status is not Status.RUNNING:
        return False
    if kind == "timer":
        return run.timers.get(number) == at
    if kind == "run_timeout":
        return run.deadline == at
    row = run.activities.get(number)
    return row is not None and row.deadline == at


def _next_due(state: State, session_id: str) -> int | None:
    times = [s.expires_at for s in state.sessions.values() if s.start.id != session_id]
    while state.due and not _is_due(state, state.due[0]):
        heapq.heappop(state.due)
    while state.later and not state.waits_for(*state.later[0]):
        heapq.heappop(state.later)
    times += [heap[0][0] for heap in (state.due, state.later) if heap]
    times += [query.expires_at for query in state.queries.values()]
    now = state.clock()
    limited = [bucket.next_at(now) for bucket in state.limited_and_waiting()]
    times += [at for at in limited if at is not None]
    return min(times) if times else None


def _time_out_run(state: State, run: Run) -> None:
    failure = Failure("WorkflowTimeoutError", "the run time-out has passed", retryable=False)
    end_from_outside(state, run, Status.TIMED_OUT, failure)


def _time_out_activity(state: State, row: ActivityRow, now: int) -> None:
    new = row.new
    total = new.schedule_to_close
    if total is not None and now >= new.scheduled_at + total:
        failure = timeout_failure("schedule_to_close", total)
    elif row.owner is None:
        failure = timeout_failure("schedule_to_start", new.schedule_to_start or 0)
    elif new.start_to_close is not None and now >= row.started_at + new.start_to_close:
        failure = timeout_failure("start_to_close", new.start_to_close)
    else:
        failure = timeout_failure("heartbeat", new.heartbeat or 0)
    due = retry_at(row.retry, row.attempt, failure, new.scheduled_at, now)
    if due is None or row.cancel:
        fail_activity(state, row, activity_failed(new.number, failure, "timeout"))
        return
    state.disown_activity(row)
    row.last_failure = failure
    state.offer_activity(row, due)
    state.set_deadline(row, now)
