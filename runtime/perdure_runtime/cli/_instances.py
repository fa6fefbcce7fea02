"""``start``, ``result``, ``list``, ``show``, ``signal`` and what operators do.

PYTEST_DONT_REWRITE
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any, Final

import click
from perdure import InvalidOptionError
from perdure.extension import DEFAULT_QUEUE
from perdure_backends.history import NewerHistoryError
from perdure_backends.records import ListFilter, Status
from rich.markup import escape

from .._views import Data
from ._app import json_option, run_async
from ._remote import AnyDesk, Place, place_options

_STATES: Final = (*(status.value for status in Status), "suspended", "parked")


def add_to(group: click.Group) -> None:
    """Adds the commands."""
    for command in (start, result, list_, show, signal, workers):
        group.add_command(command)
    for name, text in _STEERING:
        group.add_command(_steering(name, text))


def json_argument(text: str) -> Any:
    """A JSON value from the command line.

    Raises:
        InvalidOptionError: it is none.
    """
    try:
        return json.loads(text)
    except ValueError as error:
        raise InvalidOptionError(
            f"{text!r} is not JSON ({error}); text needs quotes of its own: '\"text\"'"
        ) from None


@click.command()
@click.argument("workflow")
@click.argument("arguments", nargs=-1, metavar="[JSON]...")
@place_options
@click.option("--id", "instance_id", default=None, help="The instance's id; random by default.")
@click.option("--queue", "-q", default=DEFAULT_QUEUE, show_default=True)
@click.option("--version", default=1, show_default=True, help="Version of the workflow.")
@click.option("--wait", is_flag=True, help="Wait for the result and print it.")
@json_option
@run_async
async def start(
    workflow: str,
    arguments: tuple[str, ...],
    place: Place,
    instance_id: str | None,
    queue: str,
    version: int,
    wait: bool,
    as_json: bool,
) -> int | None:
    """Start an instance of WORKFLOW; each argument is JSON.

    perdure start checkout '{"net": 100, "tax": 19}' --id order-17
    """
    values = [json_argument(text) for text in arguments]
    async with place.desk() as desk:
        started = await desk.start(workflow, values, id=instance_id, version=version, queue=queue)
        if wait:
            return await _print_result(desk, started["id"], None, as_json=as_json)
        click.echo(json.dumps(started) if as_json else started["id"])
    return None


@click.command()
@click.argument("instance_id", metavar="ID")
@place_options
@click.option("--timeout", default=None, type=float, help="Seconds to wait; for ever by default.")
@json_option
@run_async
async def result(
    instance_id: str, place: Place, timeout: float | None, as_json: bool
) -> int | None:
    """Wait for an instance and print its result as JSON. Exits with 1 if it has none."""
    async with place.desk() as desk:
        return await _print_result(desk, instance_id, timeout, as_json=as_json)


async def _print_result(
    desk: AnyDesk, instance_id: str, timeout: float | None, *, as_json: bool
) -> int:
    data = await desk.result(instance_id, timeout)
    failure = data.get("failure")
    if failure is not None:
        if as_json:
            click.echo(json.dumps(data))
        click.secho(f"Error: {data['error']}", fg="red", err=True)
        return 1
    click.echo(json.dumps(data if as_json else data["result"]))
    return 0


@click.command("list")
@place_options
@click.option("--state", "states", multiple=True, type=click.Choice(_STATES))
@click.option("--workflow", default=None, help="Only this workflow.")
@click.option("--prefix", default=None, help="Only ids that start so.")
@click.option("--queue", "-q", default=None, help="Only this queue.")
@click.option("--since", default=None, type=click.DateTime(), help="Started at or after (UTC).")
@click.option("--before", default=None, type=click.DateTime(), help="Started before (UTC).")
@click.option("--all-runs", is_flag=True, help="Also runs that were continued or replaced.")
@click.option("--limit", default=50, show_default=True, help="At most so many; 0 for all.")
@json_option
@run_async
async def list_(
    place: Place,
    states: tuple[str, ...],
    workflow: str | None,
    prefix: str | None,
    queue: str | None,
    since: datetime | None,
    before: datetime | None,
    all_runs: bool,
    limit: int,
    as_json: bool,
) -> None:
    """List instances, newest first."""
    from . import _render

    chosen = ListFilter(
        states=states,
        workflow=workflow,
        id_prefix=prefix,
        queue=queue,
        started_after=_microseconds(since),
        started_before=_microseconds(before),
        all_runs=all_runs,
    )
    records: list[Data] = []
    after: str | None = None
    async with place.desk() as desk:
        while True:
            left = limit - len(records) if limit else 500
            page = await desk.instances(chosen, after, min(left, 500))
            records += page["instances"]
            after = page["after"]
            if after is None or (limit and len(records) >= limit):
                break
    if as_json:
        click.echo(json.dumps(records))
        return
    out = _render.console()
    if not records:
        out.print("no instances")
        return
    out.print(_render.instances_table(records))
    if after is not None:
        out.print(f"… more than {limit}; see --limit and the filters")


def _microseconds(when: datetime | None) -> int | None:
    return None if when is None else round(when.replace(tzinfo=UTC).timestamp() * 1e6)


@click.command()
@click.argument("instance_id", metavar="ID")
@place_options
@click.option("--history/--no-history", "with_history", default=True, help="Show the history too.")
@json_option
@run_async
async def show(instance_id: str, place: Place, with_history: bool, as_json: bool) -> None:
    """Show an instance: state, input, result or error, pending work, history."""
    from . import _render

    async with place.desk() as desk:
        data = await desk.instance(instance_id)
        turns: list[Data] = []
        after: int | None = 0
        while with_history and after is not None:
            page = await desk.history(instance_id, data["run_id"], after, 500)
            turns += page["turns"]
            after = page["after"]
            if page["unreadable"]:
                raise NewerHistoryError(page["unreadable"])
    if as_json:
        if with_history:
            data["history"] = turns
        click.echo(json.dumps(data))
        return
    out = _render.console()
    _render.show_instance(out, data)
    for line in data["pending"]["unoffered"]:
        out.print(f"[yellow]{escape(line)}[/]")
    if with_history:
        out.print("\n[bold]history[/]")
        out.print(_render.history_table(turns))


@click.command()
@click.argument("instance_id", metavar="ID")
@click.argument("name")
@click.argument("payload", default="null", metavar="[JSON]")
@place_options
@click.option("--request-id", default=None, help="A repeat with the same id is accepted once.")
@json_option
@run_async
async def signal(
    instance_id: str, name: str, payload: str, place: Place, request_id: str | None, as_json: bool
) -> None:
    """Send a signal with a JSON payload to an instance."""
    async with place.desk() as desk:
        done = await desk.signal(instance_id, name, json_argument(payload), request_id=request_id)
    click.echo(json.dumps(done) if as_json else "accepted")


@click.command()
@place_options
@json_option
@run_async
async def workers(place: Place, as_json: bool) -> None:
    """List the workers that run, and what they offer."""
    from . import _render

    async with place.desk() as desk:
        sessions = await desk.workers()
    if as_json:
        click.echo(json.dumps(sessions))
        return
    out = _render.console()
    out.print(_render.sessions_table(sessions) if sessions else "no workers")


_STEERING: Final = (
    ("cancel", "Ask an instance to cancel; its code may clean up."),
    ("terminate", "End an instance at once, without its code."),
    ("suspend", "Halt an instance; messages gather."),
    ("resume", "Let a suspended instance go on."),
    ("unpark", "Let a parked instance be tried again."),
    ("remove", "Remove a finished instance and its history."),
)


def _steering(name: str, text: str) -> click.Command:
    async def command(instance_id: str, place: Place, reason: str, as_json: bool) -> None:
        if name == "terminate" and not reason:
            reason = "terminated from the command line"
        async with place.desk() as desk:
            done = await desk.act(name, instance_id, reason)
        click.echo(json.dumps(done) if as_json else done["state"])

    decorated = json_option(run_async(command))
    decorated = click.option("--reason", default="", help="Recorded with the action.")(decorated)
    decorated = click.argument("instance_id", metavar="ID")(place_options(decorated))
    return click.command(name, help=text)(decorated)
