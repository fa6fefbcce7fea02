"""The schema and how it grows: numbered files, applied in order under an advisory lock.

PYTEST_DONT_REWRITE
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from typing import Any, Final

import asyncpg
from perdure import BackendFormatError

from .._migrating import Script, scripts
from ._statements import in_schema, lock_key

CODE_VERSION: Final = 2
"""The schema that this code writes."""

OLDEST_READER: Final = 1
"""The oldest code version that can work with this code's schema."""

_PUT: Final = """INSERT INTO perdure.meta (key, value) VALUES ($1, $2)
ON CONFLICT (key) DO UPDATE SET value = excluded.value"""


def missing(version: int) -> Sequence[Script]:
    """The migrations that a schema of ``version`` lacks."""
    return [script for script in scripts(__package__ or "") if script.number > version]


async def stored_version(connection: Any, schema: str) -> tuple[int, int]:
    """The schema's version (0 where there is none) and the oldest reader that it allows.

    Raises:
        BackendFormatError: the schema is somebody else's.
    """
    rows = await connection.fetch(
        "SELECT tablename FROM pg_tables WHERE schemaname = $1 ORDER BY tablename", schema
    )
    tables = [row[0] for row in rows]
    if not tables:
        return 0, 0
    if "meta" not in tables or "runs" not in tables:
        raise BackendFormatError(
            f"the schema {schema} holds tables of another program ({', '.join(tables[:5])}); "
            "choose another one with ?schema="
        )
    text = in_schema("SELECT key, value FROM perdure.meta", schema)
    values = {row[0]: row[1] for row in await connection.fetch(text)}
    version = int(values.get("schema_version", 0))
    return version, int(values.get("oldest_reader", version))


async def migrate(connection: asyncpg.Connection[Any], schema: str) -> list[str]:
    """Applies what is missing, in one transaction; others who do the same wait."""
    if (await stored_version(connection, schema))[0] >= CODE_VERSION:
        return []
    async with connection.transaction():
        key = lock_key(schema, "migration")
        await connection.execute("SELECT pg_advisory_xact_lock($1)", key)
        await connection.execute(in_schema("CREATE SCHEMA IF NOT EXISTS perdure", schema))
        version, _ = await stored_version(connection, schema)
        applied = missing(version)
        for script in applied:
            await connection.execute(in_schema(script.text, schema))
        put = in_schema(_PUT, schema)
        if applied:
            await connection.execute(put, "schema_version", str(CODE_VERSION))
            await connection.execute(put, "oldest_reader", str(OLDEST_READER))
        if version == 0:
            await connection.execute(put, "incarnation", secrets.token_hex(8))
    return [script.name for script in applied]
