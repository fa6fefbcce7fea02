"""How instances and histories look: tables for people, plain data for machines.

PYTEST_DONT_REWRITE
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from .._rows import data_row, shortened
from .._views import Data

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


def instances_table(records: Sequence[Data]) -> Table:
    """Instances, a row each."""
    table = Table(box=None, header_style="bold", pad_edge=False)
    for heading in ("ID", "WORKFLOW", "STATE", "QUEUE", "STARTED", "FINISHED"):
        table.add_column(heading, overflow="fold")
    for record in records:
        table.add_row(
            escape(record["id"]),
            escape(record["workflow"])
            + (f" v{record['version']}" if record["version"] != 1 else ""),
            _state(record["state"]),
            escape(record["queue"]),
            record["started_at"],
            record["finished_at"] or "",
        )
    return table


def _state(state: str) -> str:
    colour = _COLOURS.get(state, "magenta")
    return f"[{colour}]{state}[/]"


def sessions_table(sessions: Sequence[Data]) -> Table:
    """Workers, a row each."""
    table = Table(box=None, header_style="bold", pad_edge=False)
    for heading in ("PROCESS", "BUILD", "QUEUES", "WORKFLOWS", "ACTIVITIES", "SINCE"):
        table.add_column(heading, overflow="fold")
    for session in sessions:
        table.add_row(
            escape(session["process"]),
            escape(session["build"]),
            escape(", ".join(session["queues"])),
            str(len(session["workflows"])),
            str(len(session["activities"])),
            session["since"],
        )
    return table


def show_instance(out: Console, data: Data) -> None:
    """One instance: what it is, what came of it, what it waits for."""
    facts = Table(box=None, show_header=False, pad_edge=False)
    facts.add_column(style="bold")
    facts.add_column(overflow="fold")
    facts.add_row("id", escape(data["id"]))
    facts.add_row("run", data["run_id"])
    facts.add_row("workflow", escape(f"{data['workflow']} (version {data['version']})"))
    facts.add_row("state", _state(data["state"]))
    facts.add_row("queue", escape(data["queue"]))
    facts.add_row("started", data["started_at"])
    if data["finished_at"] is not None:
        facts.add_row("finished", data["finished_at"])
    if data["parent"] is not None:
        facts.add_row("parent", escape(data["parent"]))
    if data["continued_to"] is not None:
        facts.add_row("continued as", data["continued_to"])
    for name in ("input", "published", "result"):
        if name in data:
            facts.add_row(name, escape(shortened(data[name], _LONGEST)))
    out.print(facts)
    if "failure" in data:
        _show_failure(out, data["failure"])
    if "parked" in data:
        out.print(f"\n[bold yellow]parked: {data['parked']['reason']}[/]")
        out.print(escape(data["parked"]["message"]))
    _show_pending(out, data["pending"])


def _show_pending(out: Console, pending: Data) -> None:
    if not (pending["activities"] or pending["timers"] or pending["unread_messages"]):
        return
    out.print("\n[bold]pending[/]")
    for activity in pending["activities"]:
        failure = activity["last_failure"]
        last = f", last failure {failure['type']}: {failure['message']}" if failure else ""
        out.print(
            escape(
                f"  activity {activity['name']} (number {activity['number']}) on queue "
                f"{activity['queue']}: {activity['state']}, attempt {activity['attempt']}{last}"
            )
        )
    for timer in pending["timers"]:
        out.print(f"  timer (number {timer['number']}) due {timer['due_at']}")
    if pending["unread_messages"]:
        out.print(f"  {pending['unread_messages']} unread messages")


def _show_failure(out: Console, failure: Data) -> None:
    out.print(f"\n[bold red]{escape(failure['type'])}[/]: {escape(failure['message'])}")
    if failure["stack"]:
        out.print(escape(failure["stack"].rstrip()), style="dim")
    if "cause" in failure:
        out.print("caused by", end=" ")
        _show_failure(out, failure["cause"])


def history_table(turns: Sequence[Data]) -> Table:
    """A history, a row for each event."""
    table = Table(box=None, header_style="bold", pad_edge=False)
    for heading in ("TURN", "TIME", "EVENT", "NUMBER", "DETAILS"):
        table.add_column(heading, overflow="fold")
    for turn in turns:
        for index, event in enumerate(turn["events"]):
            row = data_row(event, _LONGEST)
            first = index == 0
            table.add_row(
                str(turn["turn"]) if first else "",
                turn["time"] if first else "",
                row.event,
                row.number,
                escape(row.details),
            )
    return table
