"""``query``, ``update`` and ``limit``: asking instances, and steering queues.

PYTEST_DONT_REWRITE
"""

from __future__ import annotations

import json
from typing import Any

import click
from perdure import Query, QueryWith, Update

from .._client import Client
from .._connect import connect
from ._app import backend_option, json_option, run_async
from ._instances import json_argument


def add_to(group: click.Group) -> None:
    """Adds the commands."""
    for command in (query, update, limit):
        group.add_command(command)


@click.command()
@click.argument("instance_id", metavar="ID")
@click.argument("name")
@click.argument("argument", default=None, required=False, metavar="[JSON]")
@backend_option
@click.option("--timeout", default=10.0, show_default=True, help="Seconds to wait for an answer.")
@json_option
@run_async
async def query(
    instance_id: str, name: str, argument: str | None, url: str, timeout: float, as_json: bool
) -> None:
    """Ask an instance; a worker that has its workflow answers. Prints the answer as JSON."""
    async with connect(url) as backend:
        handle = Client(backend).handle_by_id(instance_id)
        answer: Any
        if argument is None:
            untyped: Query[Any] = Query(name, Any)
            answer = await handle.query(untyped, timeout=timeout)
        else:
            asked: QueryWith[Any, Any] = QueryWith(name, Any, Any)
            answer = await handle.query(asked, json_argument(argument), timeout=timeout)
    click.echo(json.dumps({"id": instance_id, "answer": answer} if as_json else answer))


@click.command()
@click.argument("instance_id", metavar="ID")
@click.argument("name")
@click.argument("argument", default="null", metavar="[JSON]")
@backend_option
@click.option("--update-id", default=None, help="A repeat with the same id gets the first answer.")
@click.option("--timeout", type=float, default=None, help="Seconds to wait for the result.")
@json_option
@run_async
async def update(
    instance_id: str,
    name: str,
    argument: str,
    url: str,
    update_id: str | None,
    timeout: float | None,
    as_json: bool,
) -> None:
    """Send an update to an instance and print its result as JSON."""
    untyped: Update[Any, Any] = Update(name, Any, Any)
    async with connect(url) as backend:
        handle = Client(backend).handle_by_id(instance_id)
        sent = await handle.send_update(untyped, json_argument(argument), id=update_id)
        result = await sent.result(timeout)
    click.echo(json.dumps({"id": sent.id, "result": result} if as_json else result))


@click.command()
@click.argument("queue")
@click.argument("per_second", type=float, required=False)
@click.option("--burst", type=int, default=None, help="How many may start at once.")
@click.option("--off", is_flag=True, help="Take the limit away.")
@backend_option
@json_option
@run_async
async def limit(
    queue: str,
    per_second: float | None,
    burst: int | None,
    off: bool,
    url: str,
    as_json: bool,
) -> None:
    """Limit how many activities of QUEUE start in a second, over all workers together."""
    if (per_second is None) is not off:
        raise click.UsageError("give either a number of starts in a second, or --off")
    async with connect(url) as backend:
        await Client(backend).limit_queue(queue, per_second, burst=burst)
    text = "no limit" if per_second is None else f"at most {per_second:g} a second"
    click.echo(json.dumps({"queue": queue, "per_second": per_second}) if as_json else text)
