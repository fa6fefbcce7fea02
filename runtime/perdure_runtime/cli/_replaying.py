"""``perdure history``, ``perdure replay`` and ``perdure verify``.

PYTEST_DONT_REWRITE
"""

from __future__ import annotations

import asyncio
import collections
import dataclasses
import json
import os
import sys
import time
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any, Final
from xml.etree import ElementTree

import click
from perdure import DataConverter, InternalError, UsageError, Workflow
from perdure_backends.records import InstanceRecord, ListFilter
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from .._client import FINISHED_STATES, Client
from .._connect import connect
from .._loading import load
from .._registry import Registry
from .._replay import Verified, Verifier, read_histories, replay, write_history
from .._replay._processes import verify_chunk
from ._app import backend_option, json_option, run_async, unchanged

_OPEN: Final = ("running", "suspended", "parked")
_CHUNK: Final = 25
_LOOK: Final = 1.0


def add_to(group: click.Group) -> None:
    """Adds the commands."""
    for command in (history, replay_, verify):
        group.add_command(command)


# --- history --------------------------------------------------------------------------------


@click.command()
@click.argument("instance_id", metavar="ID")
@backend_option
@click.option("--run", "run_id", default=None, help="An earlier run of the instance, by its id.")
@run_async
async def history(instance_id: str, url: str, run_id: str | None) -> None:
    """Print an instance's history as JSON lines: a header, then one line for each turn.

    perdure history order-17 > tests/histories/order-17.jsonl
    """
    async with connect(url) as backend:
        handle = Client(backend).handle_by_id(instance_id)
        handle.run_id = run_id
        await write_history(sys.stdout, await handle.describe(), handle.history())


# --- replay ---------------------------------------------------------------------------------


@click.command("replay")
@click.argument("target", metavar="MODULE[:ATTR]")
@click.argument("files", nargs=-1, type=click.Path(exists=True, dir_okay=False))
@click.option(
    "--backend", "-b", "url", default=None, metavar="URL", help="A store, in place of files."
)
@click.option("--id", "ids", multiple=True, help="An instance of the store; may be repeated.")
@click.option("--strict", is_flag=True, help="Changed arguments are a mismatch.")
@json_option
@run_async
async def replay_(
    target: str,
    files: tuple[str, ...],
    url: str | None,
    ids: tuple[str, ...],
    strict: bool,
    as_json: bool,
) -> int:
    """Replay histories against the code of MODULE: from FILES, or from a store by --id.

    Exit 1 if one does not fit, with the place, the commands around it and the likely edit.
    """
    if bool(files) == bool(url):
        raise UsageError("name files, or --backend with --id")
    if url is not None and not ids:
        raise UsageError("name the instances: --id ID")
    workflows, _ = load(target)
    found: list[Verified] = []
    if url is not None:
        async with connect(unchanged(url)) as backend:
            verifier = Verifier(backend, workflows, strict=strict)
            for instance_id in ids:
                record = await Client(backend).handle_by_id(instance_id).describe()
                found.append(await verifier.verify(record))
    for path in files:
        found += _replay_file(path, workflows, strict=strict)
    if as_json:
        click.echo(json.dumps([dataclasses.asdict(one) for one in found]))
    else:
        for one in found:
            _show(one)
    return 0 if all(one.verdict == "fits" for one in found) else 1


def _replay_file(
    path: str, workflows: Sequence[Workflow[..., Any]], *, strict: bool
) -> list[Verified]:
    registry = Registry(workflows, (), DataConverter())
    found: list[Verified] = []
    for run in read_histories(path):
        result = None
        if registry.offers_workflow(run.workflow, run.version):
            result = replay(run, registry.workflow(run.workflow, run.version), strict=strict)
        found.append(Verified.of(run, "" if result is None else result.outcome, result))
    return found


def _show(one: Verified) -> None:
    name = f"{one.instance_id} ({one.workflow})"
    if one.verdict == "fits":
        click.secho(f"fits     {name}: {one.turns} turns, {one.events} events", fg="green")
    elif one.verdict == "unknown":
        click.secho(f"unknown  {name}: the code has no version {one.version} of it", fg="yellow")
    else:
        click.secho(f"DIFFERS  {name}", fg="red", bold=True)
        click.echo((one.divergence or {}).get("text", ""))
    for warning in one.warnings:
        click.secho(f"  warning: {warning}", fg="yellow")


# --- verify ---------------------------------------------------------------------------------


@click.command()
@click.argument("target", metavar="MODULE[:ATTR]")
@backend_option
@click.option("--workflow", default=None, help="Only instances of this workflow.")
@click.option("--id-prefix", default=None, help="Only ids that begin so.")
@click.option("--all", "everything", is_flag=True, help="Finished instances too.")
@click.option(
    "--sample", type=click.IntRange(min=1), default=None, help="At most so many, the newest."
)
@click.option("--budget", type=float, default=None, help="Seconds after which to stop and report.")
@click.option(
    "--jobs", "-j", type=click.IntRange(min=0), default=0, help="Processes; 0: one a core."
)
@click.option("--strict", is_flag=True, help="Changed arguments are a mismatch.")
@click.option("--follow", is_flag=True, help="Go on with whatever finishes, until Ctrl-C.")
@click.option(
    "--junit", type=click.Path(dir_okay=False), default=None, help="Write a JUnit report."
)
@json_option
@run_async
async def verify(
    target: str,
    url: str,
    workflow: str | None,
    id_prefix: str | None,
    everything: bool,
    sample: int | None,
    budget: float | None,
    jobs: int,
    strict: bool,
    follow: bool,
    junit: str | None,
    as_json: bool,
) -> int:
    """Replay the open instances of a store against the code of MODULE, before it is deployed.

    Nothing is written to the store and no work is taken from workers. Exit 1 if an instance does
    not fit, 4 if the code lacks a workflow that is in use.
    """
    states = (*_OPEN, *FINISHED_STATES) if everything else _OPEN
    chosen = ListFilter(states=states, workflow=workflow, id_prefix=id_prefix)
    end = None if budget is None else time.monotonic() + budget
    url = unchanged(url)
    report = _Report(as_json=as_json)
    workflows, _ = load(target)
    async with connect(url) as backend:
        client = Client(backend)
        if follow:
            return await _follow(
                client, Verifier(backend, workflows, strict=strict), chosen, report
            )
        records: list[InstanceRecord] = []
        async for record in client.list(chosen, page_size=500):
            records.append(record)
            if sample is not None and len(records) >= sample:
                break
        jobs = jobs or os.cpu_count() or 1
        verifier = Verifier(backend, workflows, strict=strict)
        with _Bar(len(records), quiet=as_json) as advance:
            results = (
                _alone(verifier, records)
                if jobs == 1 or len(records) < 2 * _CHUNK or url.startswith("memory:")
                else _in_processes(target, url, records, jobs, strict=strict)
            )
            async for one in results:
                report.add(one)
                advance()
                if end is not None and time.monotonic() > end:
                    report.stopped = len(records) - len(report.found)
                    break
    if junit is not None:
        report.write_junit(Path(junit))
    report.show()
    return report.exit_code


async def _alone(verifier: Verifier, records: Sequence[InstanceRecord]) -> AsyncIterator[Verified]:
    for record in records:
        yield await verifier.verify(record)
        await asyncio.sleep(0)


async def _in_processes(
    target: str, url: str, records: Sequence[InstanceRecord], jobs: int, *, strict: bool
) -> AsyncIterator[Verified]:
    import multiprocessing
    from concurrent.futures import ProcessPoolExecutor
    from concurrent.futures.process import BrokenProcessPool

    loop = asyncio.get_running_loop()
    context = multiprocessing.get_context("spawn")
    chunks = [records[n : n + _CHUNK] for n in range(0, len(records), _CHUNK)]
    pool = ProcessPoolExecutor(jobs, mp_context=context)
    try:
        pending = {
            loop.run_in_executor(pool, verify_chunk, target, url, [r.run_id for r in chunk], strict)
            for chunk in chunks
        }
        while pending:
            done, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
            for future in done:
                try:
                    found = future.result()
                except BrokenProcessPool:
                    raise InternalError(
                        "a process that replayed has died (out of memory?); try fewer --jobs"
                    ) from None
                for one in found:
                    yield Verified(**one)
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


async def _follow(client: Client, verifier: Verifier, chosen: ListFilter, report: _Report) -> int:
    """Replays what finishes from now on."""
    seen: set[str] = set()
    finished = ListFilter(
        states=FINISHED_STATES, workflow=chosen.workflow, id_prefix=chosen.id_prefix
    )
    async for record in client.list(finished, page_size=500):
        seen.add(record.run_id)
    click.echo("following what finishes; Ctrl-C ends", err=True)
    try:
        while True:
            async for record in client.list(finished, page_size=500):
                if record.run_id not in seen:
                    seen.add(record.run_id)
                    one = await verifier.verify(record)
                    report.add(one)
                    if report.as_json:
                        click.echo(json.dumps(dataclasses.asdict(one)))
                    else:
                        _show(one)
            await asyncio.sleep(_LOOK)
    except asyncio.CancelledError:
        if not report.as_json:
            report.show()
        return report.exit_code


class _Report:
    """What was found, for people and machines."""

    def __init__(self, *, as_json: bool) -> None:
        self.as_json = as_json
        self.found: list[Verified] = []
        self.stopped = 0

    def add(self, one: Verified) -> None:
        self.found.append(one)

    def _with(self, verdict: str) -> list[Verified]:
        return [one for one in self.found if one.verdict == verdict]

    @property
    def exit_code(self) -> int:
        if self._with("differs"):
            return 1
        return 4 if self._with("unknown") else 0

    def show(self) -> None:
        if self.as_json:
            summary = {v: len(self._with(v)) for v in ("fits", "differs", "unknown")}
            instances = [dataclasses.asdict(one) for one in self.found]
            click.echo(
                json.dumps(
                    {"summary": {**summary, "skipped": self.stopped}, "instances": instances}
                )
            )
            return
        groups: dict[tuple[str, ...], list[Verified]] = collections.defaultdict(list)
        for one in self._with("differs"):
            groups[one.key].append(one)
        for alike in groups.values():
            first = alike[0]
            count = len(alike)
            what = "instance differs" if count == 1 else "instances differ in the same way"
            click.secho(f"{count} {what}: workflow {first.workflow}", fg="red", bold=True)
            names = ", ".join(one.instance_id for one in alike[:5])
            click.echo(f"  {names}{f' and {count - 5} more' if count > 5 else ''}")
            click.echo((first.divergence or {}).get("text", "") + "\n")
        missing = collections.Counter((o.workflow, o.version) for o in self._with("unknown"))
        for (name, version), count in sorted(missing.items()):
            click.secho(
                f"{count} of workflow {name!r} version {version}, which the code does not have",
                fg="yellow",
            )
        warned = [one for one in self.found if one.warnings]
        if warned:
            click.secho(
                f"{len(warned)} have other arguments than stored, such as: {warned[0].warnings[0]}",
                fg="yellow",
            )
        if self.stopped:
            click.secho(f"{self.stopped} were not looked at: the time is over", fg="yellow")
        events = sum(one.events for one in self.found)
        click.echo(
            f"{len(self._with('fits'))} fit, {len(self._with('differs'))} differ, "
            f"{len(self._with('unknown'))} unknown; {events:,} events replayed"
        )

    def write_junit(self, path: Path) -> None:
        suite = ElementTree.Element(
            "testsuite",
            name="perdure verify",
            tests=str(len(self.found)),
            failures=str(len(self._with("differs"))),
            skipped=str(len(self._with("unknown"))),
        )
        for one in self.found:
            case = ElementTree.SubElement(
                suite, "testcase", classname=one.workflow, name=one.instance_id
            )
            facts = one.divergence
            if facts is not None:
                failure = ElementTree.SubElement(case, "failure", message=facts["message"])
                failure.text = facts["text"]
            elif one.verdict == "unknown":
                ElementTree.SubElement(case, "skipped", message="the code has no such workflow")
        ElementTree.ElementTree(suite).write(path, encoding="utf-8", xml_declaration=True)


class _Bar:
    """A progress bar on a terminal; gives what advances it."""

    def __init__(self, total: int, *, quiet: bool) -> None:
        self._progress = Progress(
            TextColumn("replaying"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            transient=True,
            disable=quiet or not sys.stderr.isatty(),
            console=Console(stderr=True),
        )
        self._task = self._progress.add_task("replaying", total=total)

    def __enter__(self) -> Any:
        self._progress.start()
        return lambda: self._progress.advance(self._task)

    def __exit__(self, *_: object) -> None:
        self._progress.stop()
