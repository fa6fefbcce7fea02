"""The schema and how it grows: numbered files, applied in order under a user lock.

The server commits at each statement that changes the schema, so a migration can be cut off in the
middle: its statements can be run again, and the version is written last.

PYTEST_DONT_REWRITE
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final

from perdure import BackendFormatError, BackendUnavailableError

from .._migrating import Script, scripts
from ._statements import literal, with_prefix

CODE_VERSION: Final = 2
"""The schema that this code writes."""

OLDEST_READER: Final = 1
"""The oldest code version that can work with this code's schema."""

Ask = Callable[[str], Awaitable[list[Any]]]

_INDEX: Final = re.compile(r"CREATE INDEX (\w+) ON (\w+)")
_PATIENCE: Final = 120


def missing(version: int) -> Sequence[Script]:
    """The migrations that a schema of ``version`` lacks."""
    return [script for script in scripts(__package__ or "") if script.number > version]


def split(text: str) -> list[str]:
    """The statements of a script; a semicolon ends a line."""
    lines = [line for line in text.splitlines() if not line.startswith("--")]
    return [part.strip() for part in "\n".join(lines).split(";\n") if part.strip(" \n;")]


async def stored_version(ask: Ask, prefix: str) -> tuple[int, int]:
    """The schema's version (0 where there is none) and the oldest reader that it allows.

    Raises:
        BackendFormatError: the tables are somebody else's.
    """
    tables = {str(row[0]) for row in await ask(_tables_like(prefix))}
    if f"{prefix}meta" not in tables:
        if f"{prefix}runs" in tables:
            raise BackendFormatError(
                f"the database has a table {prefix}runs that is not ours; choose another "
                "prefix with ?prefix="
            )
        return 0, 0
    rows = await ask(f"SELECT `key`, value FROM {prefix}meta")
    values = {str(row[0]): str(row[1]) for row in rows}
    version = int(values.get("schema_version", 0))
    return version, int(values.get("oldest_reader", version))


def _tables_like(prefix: str) -> str:
    names = literal([f"{prefix}meta", f"{prefix}runs"])
    return (
        "SELECT CAST(table_name AS CHAR) FROM information_schema.tables "
        f"WHERE table_schema = DATABASE() AND table_name IN {names}"
    )


async def _is_there(ask: Ask, statement: str) -> bool:
    """Whether an index was made by a migration that was broken off: DDL is committed at once."""
    match = _INDEX.search(statement)
    if match is None:
        return False
    rows = await ask(
        "SELECT COUNT(*) FROM information_schema.statistics WHERE table_schema = DATABASE() "
        f"AND index_name = {literal(match[1])} AND table_name = {literal(match[2])}"
    )
    return bool(rows[0][0])


async def migrate(ask: Ask, prefix: str) -> list[str]:
    """Applies what is missing; others who do the same wait.

    Raises:
        BackendUnavailableError: somebody else has been at it for two minutes.
    """
    if (await stored_version(ask, prefix))[0] >= CODE_VERSION:
        return []
    database = (await ask("SELECT DATABASE()"))[0][0]
    name = literal(f"{prefix}migration {database}"[-64:])
    if (await ask(f"SELECT GET_LOCK({name}, {_PATIENCE})"))[0][0] != 1:
        raise BackendUnavailableError(
            f"another process has been migrating for {_PATIENCE} s; look whether it hangs"
        )
    try:
        version, _ = await stored_version(ask, prefix)
        applied = missing(version)
        for script in applied:
            for statement in split(with_prefix(script.text, prefix)):
                if not await _is_there(ask, statement):
                    await ask(statement)
        if version == 0:
            await ask(
                f"INSERT IGNORE INTO {prefix}meta (`key`, value) "
                f"VALUES ('incarnation', {literal(secrets.token_hex(8))})"
            )
        if applied:
            for key, value in (("oldest_reader", OLDEST_READER), ("schema_version", CODE_VERSION)):
                await ask(
                    f"INSERT INTO {prefix}meta (`key`, value) "
                    f"VALUES ({literal(key)}, {literal(str(value))}) "
                    "ON DUPLICATE KEY UPDATE value = VALUES(value)"
                )
    finally:
        await ask(f"SELECT RELEASE_LOCK({name})")
    return [script.name for script in applied]
