"""``query``, ``update`` and ``limit``: asking instances, and steering queues.

PYTEST_DONT_REWRITE
"""

from __future__ import annotations

import json

import click

from ._app import json_option, run_async
from ._instances import json_argument
from ._remote import Place, place_options


def add_to(group: click.Group) -> None:
    """Adds the commands."""
    for command in (query, update, limit):
        group.add_command(command)


@click.command()
@click.argument("instance_id", metavar="ID")
@click.argument("name")
@click.argument("argument", default=None, required=False, metavar="[JSON]")
@place_options
@click.option("--timeout", default=10.0, show_default=True, help="Seconds to wait for an answer.")
@json_option
@run_async
async def query(
    instance_id: str, name: str, argument: str | None, place: Place, timeout: float, as_json: bool
) -> None:
    """Ask an instance; a worker that has its workflow answers. Prints the answer as JSON."""
    given = [] if argument is None else [json_argument(argument)]
    async with place.desk() as desk:
        done = await desk.query(instance_id, name, given, timeout)
    click.echo(json.dumps(done if as_json else done["answer"]))


@click.command()
@click.argument("instance_id", metavar="ID")
@click.argument("name")
@click.argument("argument", default="null", metavar="[JSON]")
@place_options
@click.option("--update-id", default=None, help="A repeat with the same id gets the first answer.")
@click.option("--timeout", type=float, default=None, help="Seconds to wait for the result.")
@json_option
@run_async
async def update(
    instance_id: str,
    name: str,
    argument: str,
    place: Place,
    update_id: str | None,
    timeout: float | None,
    as_json: bool,
) -> None:
    """Send an update to an instance and print its result as JSON."""
    async with place.desk() as desk:
        done = await desk.update(
            instance_id, name, json_argument(argument), update_id=update_id, timeout=timeout
        )
    click.echo(json.dumps(done if as_json else done["result"]))


@click.command()
@click.argument("queue")
@click.argument("per_second", type=float, required=False)
@click.option("--burst", type=int, default=None, help="How many may start at once.")
@click.option("--off", is_flag=True, help="Take the limit away.")
@place_options
@json_option
@run_async
async def limit(
    queue: str,
    per_second: float | None,
    burst: int | None,
    off: bool,
    place: Place,
    as_json: bool,
) -> None:
    """Limit how many activities of QUEUE start in a second, over all workers together."""
    if (per_second is None) is not off:
        raise click.UsageError("give either a number of starts in a second, or --off")
    async with place.desk() as desk:
        done = await desk.limit(queue, per_second, burst)
    text = "no limit" if per_second is None else f"at most {per_second:g} a second"
    click.echo(json.dumps(done) if as_json else text)
