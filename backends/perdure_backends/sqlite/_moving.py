"""Instances that go to another store, and come from one.

PYTEST_DONT_REWRITE
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .._images import (
    InstanceImage,
    RunImage,
    UpdateImage,
    activity_image,
    compare,
    digest,
    digested,
    mark,
)
from .._stored import parent_of
from .._wakeups import DUE
from ..records import RemoveResult, RestoreResult, Status
from ._control import remove_all
from ._statements import SQL
from ._steps import Tx


def image(tx: Tx, instance_id: str) -> InstanceImage | None:
    """See :meth:`Moving.image`."""
    rows = tx.execute(SQL["image_runs"], (instance_id,)).fetchall()
    if not rows:
        return None
    messages = tx.execute(SQL["image_messages"], (instance_id,)).fetchall()
    updates = tx.execute(SQL["image_updates"], (instance_id,)).fetchall()
    return InstanceImage(
        instance_id=instance_id,
        runs=tuple(_run_image(tx, row) for row in rows),
        suspended=bool(rows[-1][1]),
        messages=tuple(sorted(digest(row[0]) for row in messages)),
        updates=tuple(
            UpdateImage(digest=digest(update_id), stage=stage, result=result, failure=failure)
            for update_id, stage, result, failure in updates
        ),
    )


def _run_image(tx: Tx, row: tuple[Any, ...]) -> RunImage:
    serial, _, *columns = row
    parent = parent_of(*columns[11:14])
    inbox = tx.execute(SQL["image_inbox"], (serial,)).fetchall()
    activities = tx.execute(SQL["image_activities"], (serial,)).fetchall()
    fixed = dict(zip(_FIXED, columns[:11], strict=True))
    rest = dict(zip(_REST, columns[14:], strict=True))
    return RunImage(
        **fixed,
        **rest,
        parent=parent,
        inbox=tuple((seq, entry, bool(carried)) for seq, entry, carried in inbox),
        timers=tuple(tx.execute(SQL["pending_timers"], (serial,)).fetchall()),
        activities=tuple(map(activity_image, activities)),
    )


_FIXED = (
    *("run_id", "request_id", "workflow", "version", "queue", "started_at", "status", "started"),
    *("turn", "events", "last_seq"),
)
_REST = (
    *("parent_close", "closes_with", "deadline_at", "finished_at", "last_commit", "continued_to"),
    *("park", "tried", "result", "failure", "published"),
)


def restore(tx: Tx, wanted: InstanceImage, histories: Sequence[Sequence[bytes]]) -> RestoreResult:
    """See :meth:`Moving.restore`."""
    row = tx.execute(SQL["image_state"], (wanted.instance_id,)).fetchone()
    if row is not None:
        verdict = compare(wanted, row[:4], suspended=bool(row[4]))
        if verdict is not RestoreResult.RESTORED:
            return verdict
        remove_all(tx, wanted.instance_id)
    for run, history in zip(wanted.runs, histories, strict=True):
        _restore_run(tx, wanted.instance_id, run, history)
    for found in wanted.messages:
        tx.execute(SQL["insert_message"], (wanted.instance_id, digested(found)))
    for update in wanted.updates:
        key = (wanted.instance_id, digested(update.digest))
        tx.execute(SQL["put_update"], (*key, update.stage, update.result, update.failure))
    tx.topics.add(DUE)
    return RestoreResult.RESTORED


def _restore_run(tx: Tx, instance_id: str, run: RunImage, history: Sequence[bytes]) -> None:
    parent = run.parent
    origin = (parent.instance_id, parent.run_id, parent.number) if parent else (None,) * 3
    columns = [getattr(run, name) for name in _FIXED if name != "started"]
    rest = [getattr(run, name) for name in _REST]
    held = int(run.finished_at is None)
    values = (instance_id, held, len(run.inbox), *columns, *origin, *rest)
    serial = tx.execute(SQL["restore_run"], values).lastrowid
    tx.execute(SQL["insert_start"], (serial, run.started))
    for number, record in enumerate(history, 1):
        tx.execute(SQL["insert_history"], (serial, number, record))
    for entry in run.inbox:
        tx.execute(SQL["insert_inbox"], (serial, *entry))
    for timer in run.timers:
        tx.execute(SQL["insert_timer"], (serial, *timer))
    for one in run.activities:
        key = (serial, one.number, one.name, one.queue, one.input, one.policy, one.scheduled_at)
        state = (one.attempt, one.due_at, one.deadline_at, one.started_at, None, None)
        tx.execute(SQL["insert_activity"], (*key, *state, one.priority, one.headers))
        left = (int(one.cancel), one.details, one.failure, serial, one.number)
        tx.execute(SQL["restore_activity"], left)


def discard(tx: Tx, instance_id: str, wanted: str) -> RemoveResult:
    """See :meth:`Moving.discard`."""
    row = tx.execute(SQL["image_state"], (instance_id,)).fetchone()
    if row is None:
        return RemoveResult.NOT_FOUND
    run_id, turn, last_seq, status, suspended = row
    if status == Status.RUNNING.value and not suspended:
        return RemoveResult.RUNNING
    if mark(run_id, turn, last_seq, status) != wanted:
        return RemoveResult.CHANGED
    remove_all(tx, instance_id)
    return RemoveResult.REMOVED
