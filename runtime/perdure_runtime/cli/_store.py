"""``perdure migrate``.

PYTEST_DONT_REWRITE
"""

from __future__ import annotations

import json

import click
from perdure_backends import Migrating, open_backend

from ._app import backend_option, json_option, run_async


def add_to(group: click.Group) -> None:
    """Adds the commands."""
    group.add_command(migrate)


@click.command()
@backend_option
@click.option("--check", is_flag=True, help="Only say what is there; exit 1 if it needs migrating.")
@json_option
@run_async
async def migrate(url: str, check: bool, as_json: bool) -> int:
    """Bring the store's schema up to date. Safe beside running workers and other migrations."""
    backend = open_backend(url)
    try:
        if not isinstance(backend, Migrating):
            click.echo(json.dumps({"applied": []}) if as_json else "this store has no schema")
            return 0
        stored, wanted = await backend.schema_version()
        applied = [] if check else await backend.migrate()
    finally:
        await backend.aclose()
    if as_json:
        click.echo(json.dumps({"stored": stored, "wanted": wanted, "applied": applied}))
    elif check:
        click.echo(f"the store has schema version {stored}, this code wants {wanted}")
    elif applied:
        for name in applied:
            click.echo(f"applied {name}")
    else:
        click.echo(f"nothing to do: the store has schema version {stored}")
    return 1 if check and stored < wanted else 0
