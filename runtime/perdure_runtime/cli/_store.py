"""``perdure migrate`` and ``perdure prune``.

PYTEST_DONT_REWRITE
"""

from __future__ import annotations

import json
import re
from datetime import timedelta
from typing import Any, Final

import click
from perdure_backends import Migrating, open_backend

from .._client import FINISHED_STATES, Client
from .._connect import connect
from ._app import backend_option, json_option, run_async


def add_to(group: click.Group) -> None:
    """Adds the commands."""
    group.add_command(migrate)
    group.add_command(prune)


@click.command()
@backend_option
@click.option("--check", is_flag=True, help="Only say what is there; exit 1 if it needs migrating.")
@click.option("--sql", is_flag=True, help="Only print the SQL that would be run.")
@json_option
@run_async
async def migrate(url: str, check: bool, sql: bool, as_json: bool) -> int:
    """Bring the store's schema up to date. Safe beside running workers and other migrations."""
    backend = open_backend(url)
    try:
        if not isinstance(backend, Migrating):
            click.echo(json.dumps({"applied": []}) if as_json else "this store has no schema")
            return 0
        stored, wanted = await backend.schema_version()
        planned = await backend.planned()
        applied = [] if check or sql else await backend.migrate()
    finally:
        await backend.aclose()
    if as_json:
        shown: dict[str, Any] = {"stored": stored, "wanted": wanted, "applied": applied}
        if sql:
            shown["planned"] = [{"name": name, "sql": text} for name, text in planned]
        click.echo(json.dumps(shown))
    elif sql:
        for name, text in planned:
            click.echo(f"-- {name}\n{text}")
    elif check:
        click.echo(f"the store has schema version {stored}, this code wants {wanted}")
    elif applied:
        for name in applied:
            click.echo(f"applied {name}")
    else:
        click.echo(f"nothing to do: the store has schema version {stored}")
    return 1 if check and stored < wanted else 0


_UNITS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}


class Age(click.ParamType):  # type: ignore[type-arg]  # generic in newer versions of click only
    """A whole number with a unit: ``90s``, ``30m``, ``12h``, ``30d``, ``8w``."""

    name = "age"

    def convert(self, value: Any, param: Any, ctx: Any) -> timedelta:
        """See click."""
        match = re.fullmatch(r"(\d+)([smhdw])", str(value))
        if match is None:
            self.fail(f"{value!r} is no age; write 90s, 30m, 12h, 30d or 8w", param, ctx)
        return timedelta(seconds=int(match[1]) * _UNITS[match[2]])


@click.command()
@backend_option
@click.option("--older-than", required=True, type=Age(), help="Finished so long ago: 12h, 30d, 8w.")
@click.option("--state", "states", multiple=True, type=click.Choice(FINISHED_STATES))
@click.option("--workflow", default=None, help="Only this workflow.")
@click.option("--batch", default=100, show_default=True, help="So many are looked up at a time.")
@click.option("--dry-run", is_flag=True, help="Remove nothing, only say what would be removed.")
@json_option
@run_async
async def prune(
    url: str,
    older_than: timedelta,
    states: tuple[str, ...],
    workflow: str | None,
    batch: int,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Remove instances that finished long ago, with their histories.

    One after the other: workers and clients are not held up. Ctrl-C stops it where it is.
    """
    count = 0
    async with connect(url) as backend:
        removed = Client(backend).prune(
            older_than,
            states=states or FINISHED_STATES,
            workflow=workflow,
            page_size=batch,
            dry_run=dry_run,
        )
        async for instance_id in removed:
            count += 1
            if dry_run and not as_json:
                click.echo(instance_id)
    if as_json:
        click.echo(json.dumps({"removed": 0 if dry_run else count, "found": count}))
    else:
        verb = "would be removed" if dry_run else "removed"
        click.echo(f"{count} instance{'' if count == 1 else 's'} {verb}")
