"""How instances and histories look: tables for people, plain data for machines.

PYTEST_DONT_REWRITE
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Final

from perdure import Failure
from perdure_backends import history as h
from perdure_backends.records import InstanceRecord, Pending, SessionRecord
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from .._rows import event_rows, shortened

_LONGEST: Final = 200
"""Characters of a value that are shown."""

_COLOURS: Final = {
    "running": "cyan",
    "completed": "green",
    "failed": "red",
    "timed_out": "red",
    "parked": "yellow",
    "suspended": "yellow",
}


def console() -> Console:
    """The terminal, or a plain stream when there is none."""
    out = Console(highlight=False)
    # Into a pipe nothing is folded: whoever reads it there cuts as they like.
    return out if out.is_terminal else Console(highlight=False, width=4000)


def moment(microseconds: int | None) -> str:
    """A time in UTC, to the millisecond."""
    if microseconds is None:
        return ""
    when = datetime.fromtimestamp(microseconds / 1e6, UTC)
    return when.strftime("%Y-%m-%d %H:%M:%S.") + f"{when.microsecond // 1000:03}Z"


def instance_data(record: InstanceRecord) -> dict[str, Any]:
    """An instance as JSON-like data."""
    data: dict[str, Any] = {
        "id": record.instance_id,
        "run_id": record.run_id,
        "workflow": record.workflow,
        "version": record.version,
        "queue": record.queue,
        "state": record.state,
        "started_at": moment(record.started_at),
        "finished_at": moment(record.finished_at) or None,
        "turn": record.turn,
        "events": record.events,
        "parent": record.parent.instance_id if record.parent else None,
        "continued_to": record.continued_to,
        "input": _input(record),
    }
    if record.published is not None:
        data["published"] = h.payload_to_jsonable(record.published)
    if record.result is not None:
        data["result"] = h.payload_to_jsonable(record.result)
    if record.failure is not None:
        data["failure"] = failure_data(record.failure)
    if record.park is not None:
        data["parked"] = {
            "reason": record.park.reason,
            "message": record.park.message,
            "build": record.park.build,
            "details": record.park.details,
        }
    return data


def failure_data(failure: Failure) -> dict[str, Any]:
    """A failure with its causes."""
    data: dict[str, Any] = {
        "type": failure.type,
        "message": failure.message,
        "stack": failure.stack,
        "retryable": failure.retryable,
    }
    if failure.cause is not None:
        data["cause"] = failure_data(failure.cause)
    return data


def pending_data(pending: Pending) -> dict[str, Any]:
    """Pending work as JSON-like data."""
    return {
        "activities": [
            {
                "number": activity.number,
                "name": activity.name,
                "queue": activity.queue,
                "state": activity.state,
                "attempt": activity.attempt,
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


def turn_data(turn: h.Turn) -> dict[str, Any]:
    """A turn as JSON-like data."""
    return {
        "turn": turn.number,
        "time": moment(turn.time),
        "events": [h.to_jsonable(event) for event in turn.events],
    }


def _input(record: InstanceRecord) -> Any:
    try:
        started = h.decode_event(record.started)
    except h.NewerHistoryError:
        return None
    return h.payload_to_jsonable(started.input) if isinstance(started, h.WorkflowStarted) else None


def instances_table(records: list[InstanceRecord]) -> Table:
    """Instances, a row each."""
    table = Table(box=None, header_style="bold", pad_edge=False)
    for heading in ("ID", "WORKFLOW", "STATE", "QUEUE", "STARTED", "FINISHED"):
        table.add_column(heading, overflow="fold")
    for record in records:
        table.add_row(
            escape(record.instance_id),
            escape(record.workflow) + (f" v{record.version}" if record.version != 1 else ""),
            _state(record.state),
            escape(record.queue),
            moment(record.started_at),
            moment(record.finished_at),
        )
    return table


def _state(state: str) -> str:
    colour = _COLOURS.get(state, "magenta")
    return f"[{colour}]{state}[/]"


def session_data(session: SessionRecord) -> dict[str, Any]:
    """A worker's session as JSON-like data."""
    start = session.start
    return {
        "id": start.id,
        "process": start.label,
        "build": start.build,
        "queues": list(start.queues),
        "workflows": [{"name": o.workflow, "version": o.version} for o in start.workflows],
        "activities": list(start.activities),
        "since": moment(session.opened_at),
        "lease_until": moment(session.expires_at),
    }


def sessions_table(sessions: Sequence[SessionRecord]) -> Table:
    """Workers, a row each."""
    table = Table(box=None, header_style="bold", pad_edge=False)
    for heading in ("PROCESS", "BUILD", "QUEUES", "WORKFLOWS", "ACTIVITIES", "SINCE"):
        table.add_column(heading, overflow="fold")
    for session in sessions:
        start = session.start
        table.add_row(
            escape(start.label),
            escape(start.build),
            escape(", ".join(start.queues)),
            str(len(start.workflows)),
            str(len(start.activities)),
            moment(session.opened_at),
        )
    return table


def show_instance(out: Console, record: InstanceRecord, pending: Pending) -> None:
    """One instance: what it is, what came of it, what it waits for."""
    facts = Table(box=None, show_header=False, pad_edge=False)
    facts.add_column(style="bold")
    facts.add_column(overflow="fold")
    facts.add_row("id", escape(record.instance_id))
    facts.add_row("run", record.run_id)
    facts.add_row("workflow", escape(f"{record.workflow} (version {record.version})"))
    facts.add_row("state", _state(record.state))
    facts.add_row("queue", escape(record.queue))
    facts.add_row("started", moment(record.started_at))
    if record.finished_at is not None:
        facts.add_row("finished", moment(record.finished_at))
    if record.parent is not None:
        facts.add_row("parent", escape(record.parent.instance_id))
    if record.continued_to is not None:
        facts.add_row("continued as", record.continued_to)
    facts.add_row("input", escape(shortened(_input(record), _LONGEST)))
    if record.published is not None:
        facts.add_row(
            "published", escape(shortened(h.payload_to_jsonable(record.published), _LONGEST))
        )
    if record.result is not None:
        facts.add_row("result", escape(shortened(h.payload_to_jsonable(record.result), _LONGEST)))
    out.print(facts)
    if record.failure is not None:
        _show_failure(out, record.failure)
    if record.park is not None:
        out.print(f"\n[bold yellow]parked: {record.park.reason}[/]")
        out.print(escape(record.park.message))
    if pending.activities or pending.timers or pending.inbox:
        out.print("\n[bold]pending[/]")
        for activity in pending.activities:
            failure = activity.last_failure
            last = f", last failure {failure.type}: {failure.message}" if failure else ""
            out.print(
                escape(
                    f"  activity {activity.name} (number {activity.number}) on queue "
                    f"{activity.queue}: {activity.state}, attempt {activity.attempt}{last}"
                )
            )
        for timer in pending.timers:
            out.print(f"  timer (number {timer.number}) due {moment(timer.due_at)}")
        if pending.inbox:
            out.print(f"  {pending.inbox} unread messages")


def _show_failure(out: Console, failure: Failure) -> None:
    out.print(f"\n[bold red]{escape(failure.type)}[/]: {escape(failure.message)}")
    if failure.stack:
        out.print(escape(failure.stack.rstrip()), style="dim")
    if failure.cause is not None:
        out.print("caused by", end=" ")
        _show_failure(out, failure.cause)


def history_table(turns: list[h.Turn]) -> Table:
    """A history, a row for each event."""
    table = Table(box=None, header_style="bold", pad_edge=False)
    for heading in ("TURN", "TIME", "EVENT", "NUMBER", "DETAILS"):
        table.add_column(heading, overflow="fold")
    for row in event_rows(turns, _LONGEST):
        table.add_row(
            "" if row.turn is None else str(row.turn.number),
            "" if row.turn is None else moment(row.turn.time),
            row.event,
            row.number,
            escape(row.details),
        )
    return table
