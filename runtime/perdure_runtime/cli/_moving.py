"""``perdure export``, ``perdure import`` and ``perdure move``.

PYTEST_DONT_REWRITE
"""

from __future__ import annotations

import functools
import json
import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import IO, Any, Final, NamedTuple

import click
from perdure import UsageError, Workflow
from perdure_backends.records import InstanceRecord, ListFilter, Status
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from .._connect import connect
from .._loading import load
from .._moving import Mover, MoveReport, read_export, write_export
from ._app import backend_option, json_option, run_async, unchanged

_STATES: Final = (*(status.value for status in Status), "suspended", "parked")


def add_to(group: click.Group) -> None:
    """Adds the commands."""
    for command in (export, import_, move):
        group.add_command(command)


class _Choice(NamedTuple):
    """Which instances, as the options say."""

    ids: tuple[str, ...]
    everything: bool
    states: tuple[str, ...]
    workflow: str | None
    prefix: str | None
    family: bool

    def check(self) -> None:
        """Before anything is opened.

        Raises:
            UsageError: none are named, or in more than one way.
        """
        narrowed = bool(self.states or self.workflow or self.prefix)
        if sum((bool(self.ids), self.everything, narrowed)) != 1:
            raise UsageError(
                "name instances, or choose them by --state, --workflow, --prefix or --all"
            )

    async def records(self, mover: Mover) -> list[InstanceRecord]:
        """The instances. Raises as :meth:`Mover.select`."""
        chosen = None
        if not self.ids:
            chosen = ListFilter(states=self.states, workflow=self.workflow, id_prefix=self.prefix)
        return await mover.select(chosen, self.ids, family=self.family)


def _choosing(function: Callable[..., Any]) -> Callable[..., Any]:
    """Arguments that choose instances, given as ``choice``; and ``--wait``."""

    @functools.wraps(function)
    def command(**given: Any) -> Any:
        choice = _Choice(*(given.pop(name) for name in _Choice._fields))
        return function(choice=choice, **given)

    for decorate in reversed(
        (
            click.argument("ids", nargs=-1, metavar="[ID]..."),
            click.option("--all", "everything", is_flag=True, help="All instances of the store."),
            click.option("--state", "states", multiple=True, type=click.Choice(_STATES)),
            click.option("--workflow", default=None, help="Only this workflow."),
            click.option("--prefix", default=None, help="Only ids that start so."),
            click.option("--family", is_flag=True, help="Take parents and sub-workflows along."),
            click.option(
                "--wait",
                default=30.0,
                show_default=True,
                help="Seconds that running activities may take to end.",
            ),
        )
    ):
        command = decorate(command)
    return command


def _code(target: str | None) -> list[Workflow[..., Any]]:
    return [] if target is None else list(load(target)[0])


def _tell(text: str) -> None:
    click.secho(text, fg="yellow", err=True)


# --- export ---------------------------------------------------------------------------------


@click.command()
@_choosing
@backend_option
@click.option("--output", "-o", default="-", type=click.Path(dir_okay=False, allow_dash=True))
@click.option("--suspend", is_flag=True, help="Suspend what runs; it stays so.")
@run_async
async def export(
    choice: _Choice,
    wait: float,
    url: str,
    output: str,
    suspend: bool,
) -> int:
    """Write instances with all that belongs to them as JSON lines.

    perdure export --workflow checkout -o orders.jsonl

    What has ended is copied. What runs must not run twice: it is left out, or suspended here by
    --suspend, and `perdure import --source` lets it go on in the other store.
    """
    choice.check()
    async with connect(unchanged(url)) as backend:
        mover = Mover(backend, None, wait=wait, tell=_tell)
        found = await choice.records(mover)
        left_out = [] if suspend else [one for one in found if _runs(one)]
        for record in left_out:
            _tell(f"{record.instance_id} runs and was left out; --suspend takes it along")
        records = [one for one in found if one not in left_out]
        held = await mover.hold(records)
        with _open(output) as out:
            count = await write_export(
                out, mover.packed(records, held), source=backend.url, now=await backend.now()
            )
    click.echo(f"{count} instance{'' if count == 1 else 's'} exported", err=True)
    return 1 if left_out else 0


def _runs(record: InstanceRecord) -> bool:
    return record.status is Status.RUNNING and not record.suspended


@contextmanager
def _open(path: str) -> Generator[IO[str]]:
    if path == "-":
        yield sys.stdout
        return
    with open(path, "w", encoding="utf-8") as out:
        yield out


# --- import ---------------------------------------------------------------------------------


@click.command("import")
@click.argument("file", type=click.File(encoding="utf-8"))
@backend_option
@click.option("--source", default=None, metavar="URL", help="Remove them there; they go on here.")
@click.option("--verify", "target", default=None, metavar="MODULE", help="Replay by this code.")
@click.option("--dry-run", is_flag=True, help="Only read the file, and replay it by --verify.")
@json_option
@run_async
async def import_(
    file: IO[str],
    url: str,
    source: str | None,
    target: str | None,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Take in the instances of an exported FILE (- for standard input).

    perdure import orders.jsonl --backend postgresql://… --source sqlite:///orders.db

    What had ended is there at once. What runs is suspended here, until it is certain that the copy
    it came from is gone: --source removes that one and resumes this one. It may be repeated.
    """
    marks: dict[str, str] = {}
    workflows = _code(target)
    found = read_export(file, file.name)
    if dry_run:
        mover = Mover(None, None, workflows=workflows)
        for packed in found:
            mover.verify(packed)
            marks[packed.image.instance_id] = packed.image.mark
        _report(MoveReport(copied=list(marks)), as_json=as_json, dry_run=True)
        return
    open_ones = 0
    held: set[str] = set()
    async with connect(url) as backend:
        mover = Mover(None, backend, workflows=workflows)
        for packed in found:
            await mover.take_in(packed)
            marks[packed.image.instance_id] = packed.image.mark
            open_ones += packed.image.newest.status == Status.RUNNING.value
            if packed.held:
                held.add(packed.image.instance_id)
        if source is None:
            report = MoveReport(copied=list(marks))
        else:
            async with connect(unchanged(source)) as other:
                mover = Mover(other, backend, workflows=workflows, tell=_tell)
                report = await mover.hand_over(marks, resume=held)
    _report(report, as_json=as_json)
    if source is None and open_ones and not as_json:
        _tell(
            f"{open_ones} of them had not ended and are suspended. Make sure that the copies they "
            "came from are gone (--source URL does that), then `perdure resume` them"
        )


# --- move -----------------------------------------------------------------------------------


@click.command()
@_choosing
@backend_option
@click.option("--to", "to", required=True, metavar="URL", help="The store to move them to.")
@click.option("--verify", "target", default=None, metavar="MODULE", help="Replay by this code.")
@click.option("--resume", is_flag=True, help="Also those that were suspended before go on there.")
@json_option
@run_async
async def move(
    choice: _Choice,
    wait: float,
    url: str,
    to: str,
    target: str | None,
    resume: bool,
    as_json: bool,
) -> None:
    """Move instances to another store, also while they run.

    perdure move --all --backend sqlite:///orders.db --to postgresql://db/orders

    They are suspended, copied, removed here, and resumed there: one copy at most can run, whatever
    breaks off. Then say it again, with --resume for those that it had suspended already.
    """
    choice.check()
    async with connect(unchanged(url)) as source, connect(to) as backend:
        with _progress() as progress:
            task = progress.add_task("moving", total=None)
            mover = Mover(
                source,
                backend,
                workflows=_code(target),
                wait=wait,
                tell=_tell,
                done=lambda _: progress.advance(task),
            )
            records = await choice.records(mover)
            progress.update(task, total=len(records))
            report = await mover.move(records, resume=resume)
        there = set(choice.ids) - {record.instance_id for record in records}
        if there:
            # Named ones that have left already, and may have been left suspended where they went.
            later = await mover.arrived(there, resume=resume)
            report.moved += later.moved
            report.held += later.held
    _report(report, as_json=as_json)


def _progress() -> Progress:
    """On a terminal only, and gone when it is done."""
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    return Progress(*columns, console=console, transient=True, disable=not console.is_terminal)


def _report(report: MoveReport, *, as_json: bool, dry_run: bool = False) -> None:
    if as_json:
        data = {"moved": report.moved, "held": report.held, "copied": report.copied}
        click.echo(json.dumps({**data, "dry_run": dry_run}))
        return
    for names, what in (
        (report.moved, "moved"),
        (report.held, "moved, still suspended (`perdure resume`, or --resume)"),
        (report.copied, "can be taken in" if dry_run else "taken in"),
    ):
        if names:
            click.echo(f"{len(names)} instance{'' if len(names) == 1 else 's'} {what}")
    if not (report.moved or report.held or report.copied):
        click.echo("there was nothing to do")
