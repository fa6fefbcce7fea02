"""Instances that go to another store, and come from one.

PYTEST_DONT_REWRITE
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from .._images import (
    ActivityImage,
    InstanceImage,
    RunImage,
    UpdateImage,
    both,
    compare,
    digest,
    digested,
    mark,
)
from .._stored import (
    decode_failure,
    decode_headers,
    decode_park,
    decode_policy,
    encode_failure,
    encode_headers,
    encode_policy,
)
from ..records import (
    NewActivity,
    RemoveResult,
    RestoreResult,
    StartRequest,
    Status,
    UpdateAnswer,
)
from ._state import ActivityRow, Run, State


def update(state: State, instance_id: str, update_id: str) -> UpdateAnswer | None:
    """How an update stands, also one that came from another store."""
    for name in both(update_id):
        found = state.updates.get((instance_id, name))
        if found is not None:
            return msgspec.structs.replace(found, update_id=update_id)
    return None


def image(state: State, instance_id: str) -> InstanceImage | None:
    """See :meth:`Moving.image`."""
    runs = state.by_id.get(instance_id)
    if not runs:
        return None
    return InstanceImage(
        instance_id=instance_id,
        runs=tuple(_run_image(state, run) for run in runs),
        suspended=runs[-1].suspended,
        messages=tuple(sorted(digest(one) for one in state.messages.get(instance_id, ()))),
        updates=tuple(
            UpdateImage(
                digest=digest(update_id),
                stage=answer.stage,
                result=answer.result,
                failure=encode_failure(answer.failure),
            )
            for (owner, update_id), answer in state.updates.items()
            if owner == instance_id
        ),
    )


def _run_image(state: State, run: Run) -> RunImage:
    closer: str | None = None
    if run.parent is not None:
        family = state.by_id.get(run.parent.instance_id, ())
        closer = next((one.run_id for one in family if run.run_id in one.children), None)
        closer = closer or state.orphans.get(run.run_id, run.parent.run_id)
    return RunImage(
        run_id=run.run_id,
        request_id=run.request_id,
        workflow=run.workflow,
        version=run.version,
        queue=run.queue,
        started_at=run.started_at,
        status=run.status.value,
        started=run.started,
        turn=run.turn,
        events=run.events,
        last_seq=run.last_seq,
        parent=run.parent,
        parent_close=run.parent_close,
        closes_with=closer,
        deadline_at=run.deadline if run.status is Status.RUNNING else None,
        finished_at=run.finished_at,
        last_commit=run.last_commit or None,
        continued_to=run.continued_to,
        park=None if run.park is None else msgspec.json.encode(run.park),
        tried="".join(f" {build} " for build in run.tried),
        result=run.result,
        failure=encode_failure(run.failure),
        published=run.published,
        inbox=tuple((seq, *entry) for seq, entry in run.inbox.items()),
        timers=tuple(sorted(run.timers.items())),
        activities=tuple(_activity_image(row) for _, row in sorted(run.activities.items())),
    )


def _activity_image(row: ActivityRow) -> ActivityImage:
    new = row.new
    return ActivityImage(
        number=new.number,
        name=new.name,
        queue=new.queue,
        input=new.input,
        policy=encode_policy(new),
        scheduled_at=new.scheduled_at,
        attempt=row.attempt - (row.owner is not None),
        due_at=row.due_at,
        deadline_at=row.deadline,
        started_at=row.started_at,
        cancel=row.cancel,
        priority=new.priority,
        headers=encode_headers(new.headers),
        details=row.details,
        failure=encode_failure(row.last_failure),
    )


def restore(
    state: State, wanted: InstanceImage, histories: Sequence[Sequence[bytes]]
) -> RestoreResult:
    """See :meth:`Moving.restore`."""
    there = state.current(wanted.instance_id)
    if there is not None:
        state_there = (there.run_id, there.turn, there.last_seq, there.status.value)
        verdict = compare(wanted, state_there, suspended=there.suspended)
        if verdict is not RestoreResult.RESTORED:
            return verdict
        _drop(state, there)
    for run, history in zip(wanted.runs, histories, strict=True):
        _restore_run(state, wanted.instance_id, run, history)
    state.messages[wanted.instance_id] = set(map(digested, wanted.messages))
    for one in wanted.updates:
        name = digested(one.digest)
        state.updates[wanted.instance_id, name] = UpdateAnswer(
            update_id=name,
            stage=one.stage,  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
            result=one.result,
            failure=decode_failure(one.failure),
        )
    return RestoreResult.RESTORED


def _restore_run(state: State, instance_id: str, one: RunImage, history: Sequence[bytes]) -> None:
    request = StartRequest(
        instance_id=instance_id,
        run_id=one.run_id,
        request_id=one.request_id,
        workflow=one.workflow,
        version=one.version,
        queue=one.queue,
        started=one.started,
        parent=one.parent,
        parent_close=one.parent_close,  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    )
    run = Run(request, run_id=one.run_id, serial=next(state.serials), now=one.started_at)
    state.runs[run.run_id] = run
    state.by_id.setdefault(instance_id, []).append(run)
    run.status = Status(one.status)
    run.suspended = run.status is Status.RUNNING
    run.deadline, run.finished_at = one.deadline_at, one.finished_at
    run.turn, run.events, run.last_seq = one.turn, one.events, one.last_seq
    run.last_commit, run.continued_to = one.last_commit or "", one.continued_to
    run.tried = tuple(one.tried.split())
    run.result, run.failure = one.result, decode_failure(one.failure)
    run.published, run.history = one.published, list(history)
    run.inbox = {seq: (entry, carried) for seq, entry, carried in one.inbox}
    run.children = [child for child, closer in state.orphans.items() if closer == run.run_id]
    for child in run.children:
        del state.orphans[child]
    if one.closes_with is not None:
        closer = state.runs.get(one.closes_with)
        if closer is None:
            state.orphans[run.run_id] = one.closes_with
        elif run.run_id not in closer.children:
            closer.children.append(run.run_id)
    if run.deadline is not None:
        state.plan(run.deadline, "run_timeout", run.run_id)
    if one.park is not None:
        run.park = decode_park(one.park)
        state.parked[run.run_id] = run
    for number, due_at in one.timers:
        run.timers[number] = due_at
        state.plan(due_at, "timer", run.run_id, number)
    for activity in one.activities:
        _restore_activity(state, run, activity)


def _restore_activity(state: State, run: Run, one: ActivityImage) -> None:
    policy = decode_policy(one.policy)
    new = NewActivity(
        number=one.number,
        name=one.name,
        queue=one.queue,
        input=one.input,
        scheduled_at=one.scheduled_at,
        retry=policy.retry,
        start_to_close=policy.start_to_close,
        schedule_to_close=policy.schedule_to_close,
        schedule_to_start=policy.schedule_to_start,
        heartbeat=policy.heartbeat,
        priority=one.priority,
        headers=decode_headers(one.headers),
    )
    row = ActivityRow(run, new)
    row.attempt, row.started_at = one.attempt, one.started_at
    row.deadline, row.details, row.cancel = one.deadline_at, one.details, one.cancel
    row.last_failure = decode_failure(one.failure)
    run.activities[one.number] = row
    state.offer_activity(row, one.due_at)
    if row.deadline is not None:
        state.plan(row.deadline, "activity_timeout", run.run_id, one.number)


def _drop(state: State, run: Run) -> None:
    """Removes an instance that is held, with all that it waits for."""
    for row in list(run.activities.values()):
        state.drop_activity(row)
    run.timers.clear()
    state.disown(run)
    state.ready.pop(run.run_id, None)
    state.parked.pop(run.run_id, None)
    state.forget(run.instance_id)


def discard(state: State, instance_id: str, wanted: str) -> RemoveResult:
    """See :meth:`Moving.discard`."""
    run = state.current(instance_id)
    if run is None:
        return RemoveResult.NOT_FOUND
    if run.status is Status.RUNNING and not run.suspended:
        return RemoveResult.RUNNING
    if mark(run.run_id, run.turn, run.last_seq, run.status.value) != wanted:
        return RemoveResult.CHANGED
    _drop(state, run)
    return RemoveResult.REMOVED
