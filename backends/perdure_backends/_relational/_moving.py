"""Instances that go to another store, and come from one.

PYTEST_DONT_REWRITE
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from .._images import (
    ActivityImage,
    InstanceImage,
    RunImage,
    UpdateImage,
    activity_image,
    as_bytes,
    compare,
    mark,
)
from .._wakeups import DUE
from ..records import RemoveResult, RestoreResult
from ._control import remove_lineage
from ._database import Database
from ._rows import Activity, Run
from ._unit import Unit

PAGE: Final = 1024 * 1024
"""Bytes of history that go into one unit."""


async def image(unit: Unit, database: Database, instance_id: str) -> InstanceImage | None:
    """See :meth:`Moving.image`; all of its runs are locked meanwhile."""
    newest = await unit.current(instance_id)
    if newest is None:
        return None
    rows = await unit.fetch("serials_of_lineage", lineage=newest.lineage)
    await unit.load_serials(row[0] for row in rows)
    runs = sorted(
        (unit.of_serial(row[0]) for row in rows), key=lambda r: (r is newest, r.started_at)
    )
    messages = await unit.fetch("image_messages", lineage=newest.lineage)
    updates = await unit.fetch("image_updates", lineage=newest.lineage)
    return InstanceImage(
        instance_id=instance_id,
        runs=tuple([await _run_image(unit, database, run) for run in runs]),
        suspended=bool(newest.suspended),
        messages=tuple(bytes(row[0]) for row in messages),
        updates=tuple(
            UpdateImage(
                digest=bytes(key), stage=stage, result=as_bytes(result), failure=as_bytes(why)
            )
            for key, stage, result, why in updates
        ),
    )


async def _run_image(unit: Unit, database: Database, run: Run) -> RunImage:
    # Read beside the unit: what of this changes is only changed under the run's lock.
    (row,) = await database.fetch("describe_run", id=run.instance_id, run_id=run.run_id)
    inbox = await unit.fetch("image_inbox", run=run.serial)
    timers = await database.fetch("pending_timers", run=run.serial)
    activities = await unit.fetch("image_activities", run=run.serial)
    return RunImage(
        run_id=run.run_id,
        request_id=run.request_id,
        workflow=run.workflow,
        version=run.version,
        queue=run.queue,
        started_at=run.started_at,
        status=run.status,
        started=bytes(row[20]),
        turn=run.turn,
        events=run.events,
        last_seq=run.last_seq,
        parent=run.parent,
        parent_close=run.parent_close,
        closes_with=run.closes_with,
        deadline_at=run.deadline_at,
        finished_at=run.finished_at,
        last_commit=run.last_commit,
        continued_to=run.continued_to,
        park=as_bytes(run.park),
        tried=run.tried,
        result=as_bytes(row[16]),
        failure=as_bytes(row[17]),
        published=as_bytes(row[21]),
        inbox=tuple((seq, bytes(entry), bool(carried)) for seq, entry, carried in inbox),
        timers=tuple((number, due_at) for number, due_at in timers),
        activities=tuple(map(activity_image, activities)),
    )


async def make_room(unit: Unit, wanted: InstanceImage) -> RestoreResult:
    """Looks at what is there, and removes an older copy, or one that was left half-made."""
    newest = await unit.current(wanted.instance_id)
    if newest is None:
        await unit.load_runs(run.run_id for run in wanted.runs)
        left = [run for one in wanted.runs if (run := await unit.run(one.run_id)) is not None]
        for lineage in sorted({run.lineage for run in left}):
            await remove_lineage(unit, lineage)
        return RestoreResult.RESTORED
    state = (newest.run_id, newest.turn, newest.last_seq, newest.status)
    verdict = compare(wanted, state, suspended=bool(newest.suspended))
    if verdict is RestoreResult.RESTORED:
        unit.clear(newest)
        await remove_lineage(unit, newest.lineage)
    return verdict


async def begin(unit: Unit, wanted: InstanceImage) -> list[int]:
    """Writes the runs, of no instance yet; gives their serials."""
    serials: list[int] = []
    for one in wanted.runs:
        run = await unit.add_apart(
            run_id=one.run_id,
            instance_id=wanted.instance_id,
            lineage=serials[0] if serials else None,
            request_id=one.request_id,
            workflow=one.workflow,
            version=one.version,
            queue=one.queue,
            started_at=one.started_at,
            parent=one.parent,
            parent_close=one.parent_close,
        )
        serials.append(run.serial)
        unit.put("insert_starts", run.serial, one.started)
        if one.result is not None or one.failure is not None:
            unit.put("insert_outcomes", run.serial, one.result, one.failure)
        if one.published is not None:
            unit.publish(run, one.published)
    for found in wanted.messages:
        unit.put("insert_messages", serials[0], found)
    for update in wanted.updates:
        key = (update.stage, update.result, update.failure)
        unit.put("put_updates", serials[0], update.digest, *key)
    return serials


async def add_history(unit: Unit, serial: int, after: int, records: Sequence[bytes]) -> None:
    """Writes some turns of a run."""
    for number, record in enumerate(records, after + 1):
        unit.put("insert_history", serial, number, record)


async def complete(unit: Unit, wanted: InstanceImage, serials: Sequence[int]) -> None:
    """Makes the runs what they were; from here on the instance is there."""
    await unit.load_serials(serials)
    for one, serial in zip(wanted.runs, serials, strict=True):
        run = unit.of_serial(serial)
        run.status = one.status
        run.suspended = int(one.finished_at is None)
        run.deadline_at, run.finished_at = one.deadline_at, one.finished_at
        run.turn, run.events, run.last_seq = one.turn, one.events, one.last_seq
        run.last_commit, run.continued_to = one.last_commit, one.continued_to
        run.park, run.tried, run.closes_with = one.park, one.tried, one.closes_with
        run.has_children = 1
        run.unread = len(one.inbox)
        unit.plan(one.deadline_at)
        for seq, entry, carried in one.inbox:
            unit.put_entry(run, seq, entry, carried=carried)
        for number, due_at in one.timers:
            unit.add_timer(run, number, due_at)
        for activity in one.activities:
            _add_activity(unit, run, activity)
    unit.of_serial(serials[-1]).current_of = wanted.instance_id
    unit.topics.add(DUE)


def _add_activity(unit: Unit, run: Run, one: ActivityImage) -> None:
    state = (one.attempt, one.due_at, one.deadline_at, one.started_at, None, None)
    rest = (one.name, one.queue, one.priority, one.input, one.headers)
    key = (run.serial, one.number, one.policy, one.scheduled_at)
    unit.add_activity(Activity((*key, *state, int(one.cancel), 0, 0, 0), rest=rest))
    unit.plan(one.deadline_at)
    unit.plan(one.due_at)


async def add_details(unit: Unit, wanted: InstanceImage, serials: Sequence[int]) -> None:
    """Gives activities what their last attempts left; their rows are there by now."""
    for one, serial in zip(wanted.runs, serials, strict=True):
        left = {a.number: a for a in one.activities if a.details or a.failure}
        if left:
            await unit.load_serials([serial])
            await unit.load_activities([(serial, number) for number in left])
            for number, image in left.items():
                activity = await unit.activity(serial, number)
                if activity is not None:
                    activity.details, activity.last_failure = image.details, image.failure


async def discard(unit: Unit, instance_id: str, wanted: str) -> RemoveResult:
    """See :meth:`Moving.discard`."""
    run = await unit.current(instance_id)
    if run is None:
        return RemoveResult.NOT_FOUND
    if run.running and not run.suspended:
        return RemoveResult.RUNNING
    if mark(run.run_id, run.turn, run.last_seq, run.status) != wanted:
        return RemoveResult.CHANGED
    if run.running:
        unit.clear(run)
    await remove_lineage(unit, run.lineage)
    return RemoveResult.REMOVED
