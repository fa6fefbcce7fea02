"""Instances, histories and workers as plain data: for ``--json``, the API and pages alike.

Times are text in UTC to the millisecond; payloads are shown by a function of the caller's, which
may decode, redact or hide them.

PYTEST_DONT_REWRITE
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, TypeAlias, cast

import msgspec
from perdure import Failure
from perdure_backends import history as h
from perdure_backends.records import (
    InstanceRecord,
    Overview,
    Pending,
    QueueLimit,
    SessionRecord,
)

from ._audit import Entry

Data: TypeAlias = dict[str, Any]
Show: TypeAlias = Callable[[bytes, str], Any]
"""A payload as data: its bytes, and what it is (``input``, ``result``, ``signal`` …)."""


def plain(payload: bytes, what: str) -> Any:
    """A payload as it is stored."""
    return h.payload_to_jsonable(payload)


def moment(microseconds: int | None) -> str | None:
    """A time in UTC, to the millisecond."""
    if microseconds is None:
        return None
    when = datetime.fromtimestamp(microseconds / 1e6, UTC)
    return when.strftime("%Y-%m-%d %H:%M:%S.") + f"{when.microsecond // 1000:03}Z"


def instance_data(record: InstanceRecord, show: Show = plain) -> Data:
    """An instance."""
    started = started_of(record)
    data: Data = {
        "id": record.instance_id,
        "run_id": record.run_id,
        "workflow": record.workflow,
        "version": record.version,
        "queue": record.queue,
        "state": record.state,
        "started_at": moment(record.started_at),
        "finished_at": moment(record.finished_at),
        "turn": record.turn,
        "events": record.events,
        "parent": record.parent.instance_id if record.parent else None,
        "continued_from": started.continued_from if started else None,
        "continued_to": record.continued_to,
        "input": show(started.input, "input") if started else None,
    }
    if record.published is not None:
        data["published"] = show(record.published, "published")
    if record.result is not None:
        data["result"] = show(record.result, "result")
    if record.failure is not None:
        data["failure"] = failure_data(record.failure)
    if record.park is not None:
        data["parked"] = {
            "reason": record.park.reason,
            "message": record.park.message,
            "build": record.park.build,
            "details": record.park.details,
            "at": moment(record.park.at or None),
        }
    return data


def started_of(record: InstanceRecord) -> h.WorkflowStarted | None:
    """The first event of a run; ``None`` where it can't be read."""
    try:
        event = h.decode_event(record.started)
    except h.NewerHistoryError:
        return None
    return event if isinstance(event, h.WorkflowStarted) else None


def failure_data(failure: Failure) -> Data:
    """A failure with its causes."""
    data: Data = {
        "type": failure.type,
        "message": failure.message,
        "stack": failure.stack,
        "retryable": failure.retryable,
    }
    if failure.cause is not None:
        data["cause"] = failure_data(failure.cause)
    if failure.members:
        data["members"] = [failure_data(member) for member in failure.members]
    return data


def pending_data(pending: Pending) -> Data:
    """Pending work."""
    return {
        "activities": [
            {
                "number": activity.number,
                "name": activity.name,
                "queue": activity.queue,
                "state": activity.state,
                "attempt": activity.attempt,
                "scheduled_at": moment(activity.scheduled_at),
                "due_at": moment(activity.due_at),
                "last_failure": failure_data(activity.last_failure)
                if activity.last_failure
                else None,
            }
            for activity in pending.activities
        ],
        "timers": [{"number": t.number, "due_at": moment(t.due_at)} for t in pending.timers],
        "unread_messages": pending.inbox,
    }


def turn_data(turn: h.Turn, show: Show = plain) -> Data:
    """A turn."""
    commands = iter(range(len(turn.events)))
    events: list[Data] = []
    for event in turn.events:
        data = event_data(event, show)
        if isinstance(event, h.Command):
            line = turn.line(next(commands))
            if line:
                data["line"] = line
        events.append(data)
    data = {"turn": turn.number, "time": moment(turn.time), "events": events}
    if turn.replayed:
        data["replayed"] = True
    return data


def event_data(event: h.Event, show: Show) -> Data:
    """An event."""
    tag = h.tag_of(event)
    data: Data = {"type": tag}
    for name in event.__struct_fields__:
        value: Any = getattr(event, name)
        if isinstance(value, bytes):
            value = show(value, f"{tag}.{name}")
        elif isinstance(value, Failure):
            value = failure_data(value)
        elif isinstance(value, msgspec.Struct):
            value = {field: getattr(value, field) for field in value.__struct_fields__}
        elif isinstance(value, dict):
            items = cast("dict[str, bytes]", value)
            value = {key: show(item, "header") for key, item in items.items()}
        data[name] = value
    return data


def session_data(session: SessionRecord) -> Data:
    """A worker's session."""
    start = session.start
    return {
        "id": start.id,
        "process": start.label,
        "build": start.build,
        "queues": list(start.queues),
        "workflows": [{"name": o.workflow, "version": o.version} for o in start.workflows],
        "activities": list(start.activities),
        "slots": {"turns": start.max_turns, "activities": start.max_activities},
        "since": moment(session.opened_at),
        "last_heartbeat": moment(session.expires_at - start.lease),
        "lease_until": moment(session.expires_at),
    }


def overview_data(overview: Overview, limits: list[QueueLimit]) -> Data:
    """A store at a glance."""
    allowed = {limit.queue: limit.per_second for limit in limits}

    def age(since: int | None) -> float | None:
        return None if since is None else max(0, overview.time - since) / 1e6

    return {
        "time": moment(overview.time),
        "counted_up_to": overview.most,
        "states": overview.states,
        "parked": overview.parked,
        "queues": [
            {
                "queue": one.queue,
                "turns": one.turns,
                "turns_age": age(one.turns_since),
                "activities": one.activities,
                "activities_age": age(one.activities_since),
                "running": one.running,
                "limit": allowed.get(one.queue),
            }
            for one in overview.queues
        ],
    }


def entry_data(entry: Entry) -> Data:
    """An entry of the audit log."""
    return {
        "at": moment(entry.at),
        "by": entry.by,
        "action": entry.action,
        "instance": entry.instance_id,
        "reason": entry.reason,
        "details": entry.details,
        "address": entry.address,
        "outcome": entry.outcome,
    }
