"""``perdure debug``: a history, forwards and backwards, in the terminal.

PYTEST_DONT_REWRITE
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import importlib
import json
import linecache
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import click
from perdure import DataConverter, UsageError
from perdure_backends import history as h
from rich.console import Console
from rich.markup import escape

from .._client import Client
from .._connect import connect
from .._loading import load
from .._registry import Registry
from .._replay import Debugger, FrameView, History, Moment, read_histories
from .._replay._frames import shown
from .._replay._verify import divergence_data
from .._rows import event_rows
from .._views import moment
from ._app import json_option, run_plain, unchanged
from ._render import console

_AROUND: Final = 3
"""Source lines shown above and below."""

_LONGEST: Final = 160

_HELP: Final = """\
  n, Enter   next event               b          the event before
  N, B       next, previous turn      g NUMBER   go to an event; -1 is the end
  0, $       the first, the end       l          list the events around; L all of them
  w          where every task is      t NUMBER   look at another task
  u, d       up, down a function      p EXPR     value of an expression, as Python
  i          the event as JSON        h          this help
  q          quit"""


def add_to(group: click.Group) -> None:
    """Adds the command."""
    group.add_command(debug)


@click.command()
@click.argument("target", metavar="MODULE[:ATTR]")
@click.argument("what", metavar="ID|FILE")
@click.option(
    "--backend",
    "-b",
    "url",
    envvar="PERDURE_BACKEND",
    show_envvar=True,
    metavar="URL",
    help="The store; not needed for a FILE.",
)
@click.option("--run", "run_id", default=None, help="An earlier run of the instance, by its id.")
@click.option("--at", type=int, default=None, help="Print this event and end; -1 is the end.")
@json_option
@run_plain
def debug(
    target: str, what: str, url: str | None, run_id: str | None, at: int | None, as_json: bool
) -> int:
    """Step through an instance's history with the code of MODULE, forwards and backwards.

    Shows at each event the source line of every task, its variables, what is pending and the
    published state. Reads the store only; no work is taken from workers. FILE is a history that
    `perdure history` wrote. With --json and without --at, prints every event, a line each.
    """
    history = _read(what, url, run_id)
    workflows, _ = load(target)
    registry = Registry(workflows, (), DataConverter())
    if not registry.offers_workflow(history.workflow, history.version):
        raise UsageError(
            f"{target} has no workflow {history.workflow!r} in version {history.version}"
        )
    with Debugger(history, registry.workflow(history.workflow, history.version)) as debugger:
        screen = _Screen(debugger, console())
        if at is not None:
            found = debugger.goto(at)
            if as_json:
                click.echo(json.dumps(_data(found)))
            else:
                screen.show()
        elif as_json:
            _print_all(debugger)
        else:
            screen.run()
        return 1 if debugger.moment.divergence is not None else 0


def _read(what: str, url: str | None, run_id: str | None) -> History:
    if what.endswith(".jsonl") or Path(what).is_file():
        try:
            runs = list(read_histories(what))
        except OSError as error:
            raise UsageError(f"{what} can't be read: {error}") from None
        chosen = [run for run in runs if run_id in (None, run.run_id)]
        if not chosen:
            raise UsageError(f"{what} has no run {run_id!r}")
        return chosen[-1]
    if url is None:
        raise UsageError(
            f"where is {what!r}? Name the store with --backend URL (or PERDURE_BACKEND), or a file "
            "that `perdure history` wrote"
        )
    return asyncio.run(_read_stored(what, unchanged(url), run_id))


async def _read_stored(instance_id: str, url: str, run_id: str | None) -> History:
    async with connect(url) as backend:
        handle = Client(backend).handle_by_id(instance_id)
        handle.run_id = run_id
        record = await handle.describe()
        return History.of(record, [turn async for turn in handle.history()])


def _print_all(debugger: Debugger) -> None:
    position = 0
    while True:
        click.echo(json.dumps(_data(debugger.goto(position))))
        if position >= debugger.last:
            return
        position += 1


def _data(found: Moment) -> dict[str, Any]:
    return {
        "position": found.position,
        "turn": found.turn,
        "time": moment(found.time),
        "event": None if found.event is None else h.to_jsonable(found.event),
        "location": found.location,
        "tasks": [dataclasses.asdict(task) for task in found.tasks],
        "pending": [
            {**dataclasses.asdict(one), "issued_at": moment(one.issued_at)} for one in found.pending
        ],
        "published": found.published,
        "divergence": None if found.divergence is None else divergence_data(found.divergence),
    }


class _Screen:
    """The dialogue."""

    def __init__(self, debugger: Debugger, out: Console) -> None:
        self._debugger = debugger
        self._out = out
        self._task = 0
        self._frame = -1
        rows = list(event_rows(debugger.history.turns, _LONGEST))
        self._rows = [f"{row.event} {row.number}".rstrip() for row in rows]
        self._details = [row.details for row in rows]
        self._commands: dict[str, Callable[[], object]] = {
            "n": debugger.forward,
            "b": debugger.back,
            "N": lambda: (
                debugger.goto_turn(debugger.moment.turn + 1)
                if debugger.moment.turn < len(debugger.history.turns)
                else debugger.goto(-1)
            ),
            "B": lambda: debugger.goto_turn(debugger.moment.turn - 1),
            "0": lambda: debugger.goto(0),
            "$": lambda: debugger.goto(-1),
        }

    def run(self) -> None:
        """Asks and shows until ``q`` or the end of the input."""
        history = self._debugger.history
        self._out.print(
            f"[bold]{escape(history.instance_id)}[/]  workflow {escape(history.workflow)}, "
            f"{len(history.turns)} turns, {history.events} events; h helps"
        )
        self.show()
        if sys.stdin.isatty():
            with contextlib.suppress(ImportError):  # Windows
                importlib.import_module("readline")  # gives input() its keys and history
        last = "n"
        while True:
            try:
                line = input(f"({self._debugger.position}/{self._debugger.last}) ").strip()
            except EOFError:
                self._out.print()
                return
            except KeyboardInterrupt:
                self._out.print("  q quits")
                continue
            line = line or last
            if line == "q":
                return
            if line[0] in "nbNB":
                last = line[0]
            self._do(line)

    def _do(self, line: str) -> None:
        name, _, rest = line.partition(" ")
        rest = rest.strip()
        move = self._commands.get(name)
        if move is not None and not rest:
            before = self._debugger.position
            move()
            self._task, self._frame = 0, -1
            if self._debugger.position == before:
                self._out.print("[yellow]there is nothing further that way[/]")
            else:
                self.show()
        elif name == "g" and _is_number(rest):
            self._debugger.goto(int(rest))
            self._task, self._frame = 0, -1
            self.show()
        elif name == "t" and _is_number(rest):
            self._choose(int(rest), -1)
        elif name in ("u", "d"):
            self._choose(self._task, self._frame + (-1 if name == "u" else 1))
        elif name == "p" and rest:
            self._evaluate(rest)
        elif name in ("l", "L"):
            self._list(10**9 if name == "L" else 5)
        elif name == "w":
            self._show_tasks()
        elif name == "i":
            event = self._debugger.moment.event
            self._out.print_json(json.dumps(None if event is None else h.to_jsonable(event)))
        else:
            self._out.print(_HELP)

    def _choose(self, task: int, frame: int) -> None:
        tasks = self._debugger.moment.tasks
        if not 0 <= task < len(tasks) or not -len(tasks[task].frames) <= frame < 0:
            self._out.print("[yellow]there is none[/]")
            return
        self._task, self._frame = task, frame
        self.show()

    def _evaluate(self, expression: str) -> None:
        try:
            value = self._debugger.evaluate(expression, task=self._task, frame=self._frame)
        except Exception as error:
            self._out.print(f"[red]{type(error).__name__}: {escape(str(error))}[/]")
            return
        self._out.print(escape(shown(value)))

    # --- what is seen ---------------------------------------------------------------------------

    def show(self) -> None:
        """The event, the code, what is pending and published."""
        found = self._debugger.moment
        self._out.rule(
            f"event {found.position} of {self._debugger.last}, turn {found.turn}, "
            f"{moment(found.time)}",
            style="dim",
        )
        self._out.print(self._event(found.position), no_wrap=True, overflow="ellipsis")
        if found.tasks:
            task = found.tasks[min(self._task, len(found.tasks) - 1)]
            frame = task.frames[self._frame]
            state = "runs" if task.running else "waits"
            others = f"; {len(found.tasks) - 1} more tasks: w" if len(found.tasks) > 1 else ""
            self._out.print(
                f"[bold]{escape(task.name)}[/] {state} in [bold]{escape(frame.function)}[/], "
                f"{escape(_brief(frame.file))}:{frame.line}{others}"
            )
            self._show_source(frame)
            for name, value in frame.variables.items():
                line = f"    [cyan]{escape(name)}[/] = {escape(value)}"
                self._out.print(line, no_wrap=True, overflow="ellipsis")
        for one in found.pending:
            place = f" from {_brief_place(one.location)}" if one.location else ""
            self._out.print(
                f"  pending: {escape(one.command)} (number {one.number}){escape(place)}"
            )
        if found.published is not None:
            self._out.print(f"  published: {escape(json.dumps(found.published))}")
        if found.divergence is not None:
            self._out.print("\n[bold red]Here code and history part.[/]")
            self._out.print(escape(str(found.divergence)))

    def _event(self, position: int) -> str:
        if position < len(self._rows) and self._debugger.moment.divergence is None:
            return f"[bold]{escape(self._rows[position])}[/]  {escape(self._details[position])}"
        if self._debugger.moment.divergence is not None:
            return "[bold]as far as the code goes along[/]"
        return "[bold]the end of the history[/]"

    def _show_source(self, frame: FrameView) -> None:
        for number in range(max(1, frame.line - _AROUND), frame.line + _AROUND + 1):
            line = linecache.getline(frame.file, number).rstrip()
            if not line and number > frame.line:
                continue
            if number == frame.line:
                self._out.print(f"[bold]  > {number:4} {escape(line)}[/]")
            else:
                self._out.print(f"[dim]    {number:4} {escape(line)}[/]")

    def _show_tasks(self) -> None:
        for number, task in enumerate(self._debugger.moment.tasks):
            mark = ">" if number == self._task else " "
            frame = task.frames[-1]
            source = linecache.getline(frame.file, frame.line).strip()
            self._out.print(
                escape(f"{mark} {number}  {task.name}  {_brief(frame.file)}:{frame.line}  {source}")
            )
        if not self._debugger.moment.tasks:
            self._out.print("no task is left")

    def _list(self, around: int) -> None:
        here = self._debugger.position
        first = max(0, here - around)
        for number in range(first, min(len(self._rows), here + around + 1)):
            mark = ">" if number == here else " "
            line = f"{mark}{number:5}  {self._rows[number]}  {self._details[number]}"
            self._out.print(escape(line), no_wrap=True, overflow="ellipsis")


def _is_number(text: str) -> bool:
    return text.removeprefix("-").isdigit()


def _brief(path: str) -> str:
    relative = os.path.relpath(path)
    return path if relative.startswith("..") else relative


def _brief_place(place: str) -> str:
    path, _, line = place.rpartition(":")
    return f"{_brief(path)}:{line}"
