"""``start``, ``result``, ``list``, ``show``, ``signal`` and what operators do.

PYTEST_DONT_REWRITE
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any, Final

import click
from perdure import InvalidOptionError, Signal, WorkflowError
from perdure.extension import DEFAULT_QUEUE
from perdure_backends.records import InstanceRecord, ListFilter, Status
from rich.markup import escape

from .._client import Client
from .._connect import connect
from .._handle import Handle
from ._app import backend_option, json_option, run_async

_STATES: Final = (*(status.value for status in Status), "suspended", "parked")


def add_to(group: click.Group) -> None:
    """Adds the commands."""
    for command in (start, result, list_, show, signal, workers):
        group.add_command(command)
    for name, text, act in _STEERING:
        group.add_command(_steering(name, text, act))


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
@backend_option
@click.option("--id", "instance_id", default=None, help="The instance's id; random by default.")
@click.option("--queue", "-q", default=DEFAULT_QUEUE, show_default=True)
@click.option("--version", default=1, show_default=True, help="Version of the workflow.")
@click.option("--wait", is_flag=True, help="Wait for the result and print it.")
@json_option
@run_async
async def start(
    workflow: str,
    arguments: tuple[str, ...],
    url: str,
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
    async with connect(url) as backend:
        client = Client(backend)
        handle = await client.start_by_name(
            workflow, json.dumps(values).encode(), id=instance_id, version=version, queue=queue
        )
        if wait:
            return await _print_result(handle, None, as_json=as_json)
        data = {"id": handle.id, "run_id": handle.run_id}
        click.echo(json.dumps(data) if as_json else handle.id)
    return None


@click.command()
@click.argument("instance_id", metavar="ID")
@backend_option
@click.option("--timeout", default=None, type=float, help="Seconds to wait; for ever by default.")
@json_option
@run_async
async def result(instance_id: str, url: str, timeout: float | None, as_json: bool) -> int | None:
    """Wait for an instance and print its result as JSON. Exits with 1 if it has none."""
    async with connect(url) as backend:
        handle = Client(backend).handle_by_id(instance_id)
        return await _print_result(handle, timeout, as_json=as_json)


async def _print_result(handle: Handle[Any], timeout: float | None, *, as_json: bool) -> int:
    try:
        value = await handle.result(timeout)
    except WorkflowError as error:
        if as_json:
            from ._render import failure_data

            click.echo(json.dumps({"id": handle.id, "failure": failure_data(error.failure)}))
        click.secho(f"Error: {error}", fg="red", err=True)
        return 1
    click.echo(json.dumps({"id": handle.id, "result": value} if as_json else value))
    return 0


@click.command("list")
@backend_option
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
    url: str,
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
    async with connect(url) as backend:
        records: list[InstanceRecord] = []
        more = False
        async for record in Client(backend).list(chosen, page_size=min(limit or 500, 500)):
            if limit and len(records) >= limit:
                more = True
                break
            records.append(record)
    if as_json:
        click.echo(json.dumps([_render.instance_data(record) for record in records]))
        return
    out = _render.console()
    if not records:
        out.print("no instances")
        return
    out.print(_render.instances_table(records))
    if more:
        out.print(f"… more than {limit}; see --limit and the filters")


def _microseconds(when: datetime | None) -> int | None:
    return None if when is None else round(when.replace(tzinfo=UTC).timestamp() * 1e6)


@click.command()
@click.argument("instance_id", metavar="ID")
@backend_option
@click.option("--history/--no-history", "with_history", default=True, help="Show the history too.")
@json_option
@run_async
async def show(instance_id: str, url: str, with_history: bool, as_json: bool) -> None:
    """Show an instance: state, input, result or error, pending work, history."""
    from . import _render

    async with connect(url) as backend:
        client = Client(backend)
        handle = client.handle_by_id(instance_id)
        record, pending = await handle.describe(), await handle.pending()
        missing = await client.unoffered(record, pending)
        turns = [turn async for turn in handle.history()] if with_history else []
    if as_json:
        data = _render.instance_data(record)
        data["pending"] = {**_render.pending_data(pending), "unoffered": missing}
        if with_history:
            data["history"] = [_render.turn_data(turn) for turn in turns]
        click.echo(json.dumps(data))
        return
    out = _render.console()
    _render.show_instance(out, record, pending)
    for line in missing:
        out.print(f"[yellow]{escape(line)}[/]")
    if with_history:
        out.print("\n[bold]history[/]")
        out.print(_render.history_table(turns))


@click.command()
@click.argument("instance_id", metavar="ID")
@click.argument("name")
@click.argument("payload", default="null", metavar="[JSON]")
@backend_option
@click.option("--request-id", default=None, help="A repeat with the same id is accepted once.")
@json_option
@run_async
async def signal(
    instance_id: str, name: str, payload: str, url: str, request_id: str | None, as_json: bool
) -> None:
    """Send a signal with a JSON payload to an instance."""
    untyped: Signal[Any] = Signal(name, Any)
    async with connect(url) as backend:
        handle = Client(backend).handle_by_id(instance_id)
        await handle.signal(untyped, json_argument(payload), request_id=request_id)
    click.echo(json.dumps({"id": instance_id, "accepted": True}) if as_json else "accepted")


@click.command()
@backend_option
@json_option
@run_async
async def workers(url: str, as_json: bool) -> None:
    """List the workers that run, and what they offer."""
    from . import _render

    async with connect(url) as backend:
        sessions = await Client(backend).workers()
    if as_json:
        click.echo(json.dumps([_render.session_data(session) for session in sessions]))
        return
    out = _render.console()
    out.print(_render.sessions_table(sessions) if sessions else "no workers")


Act = Callable[[Handle[Any], str], Awaitable[None]]

_STEERING: Final[tuple[tuple[str, str, Act], ...]] = (
    ("cancel", "Ask an instance to cancel; its code may clean up.", lambda h, r: h.cancel(r)),
    (
        "terminate",
        "End an instance at once, without its code.",
        lambda h, r: h.terminate(r or "terminated from the command line"),
    ),
    ("suspend", "Halt an instance; messages gather.", lambda h, r: h.suspend(r)),
    ("resume", "Let a suspended instance go on.", lambda h, _: h.resume()),
    ("unpark", "Let a parked instance be tried again.", lambda h, _: h.unpark()),
    ("remove", "Remove a finished instance and its history.", lambda h, _: h.remove()),
)


def _steering(name: str, text: str, act: Act) -> click.Command:
    async def command(instance_id: str, url: str, reason: str, as_json: bool) -> None:
        async with connect(url) as backend:
            handle = Client(backend).handle_by_id(instance_id)
            await act(handle, reason)
            state = "removed" if name == "remove" else await handle.state()
        click.echo(json.dumps({"id": instance_id, "state": state}) if as_json else state)

    decorated = json_option(run_async(command))
    decorated = click.option("--reason", default="", help="Recorded with the action.")(decorated)
    decorated = click.argument("instance_id", metavar="ID")(backend_option(decorated))
    return click.command(name, help=text)(decorated)
