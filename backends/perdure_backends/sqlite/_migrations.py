"""The schema and how it grows.

Numbered files, applied in order, each in one transaction with the version that it makes. Expand
and contract: ``oldest_reader`` is the oldest code that may still use the schema, so that versions
N and N−1 can run side by side.

PYTEST_DONT_REWRITE
"""

from __future__ import annotations

import secrets
import sqlite3
from typing import Final

from perdure import BackendFormatError, SchemaVersionError

from .._migrating import Script, scripts
from ._statements import SQL

CODE_VERSION: Final = 3
"""The schema that this code writes."""

OLDEST_READER: Final = 1
"""The oldest code version that can work with this code's schema."""


def missing(version: int) -> list[Script]:
    """The migrations that a schema of ``version`` lacks."""
    return [script for script in scripts(__package__ or "") if script.number > version]


def stored_version(connection: sqlite3.Connection) -> int:
    """The schema version in the file; 0 when it is empty.

    Raises:
        BackendFormatError: it is a database, but not one of ours.
    """
    tables = {
        row[0]
        for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
        if not str(row[0]).startswith("sqlite_")
    }
    if not tables:
        return 0
    if "meta" not in tables or "runs" not in tables:
        raise BackendFormatError(
            "the file is an SQLite database of another program (tables: "
            f"{', '.join(sorted(tables)[:5])}); choose another file"
        )
    return int(_meta(connection, "schema_version") or 0)


def _meta(connection: sqlite3.Connection, key: str) -> str | None:
    row = connection.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
    return None if row is None else str(row[0])


def check(connection: sqlite3.Connection) -> None:
    """Refuses a schema that this code can't work with.

    Raises:
        SchemaVersionError: it is too new, or was not migrated yet.
    """
    version = stored_version(connection)
    if version < CODE_VERSION:
        raise SchemaVersionError(
            f"the store has schema version {version}, this code needs {CODE_VERSION}; "
            "run `perdure migrate`"
        )
    if version > CODE_VERSION:
        oldest = int(_meta(connection, "oldest_reader") or version)
        if oldest > CODE_VERSION:
            raise SchemaVersionError(
                f"the store has schema version {version}, which needs code that knows version "
                f"{oldest} or later; this code knows {CODE_VERSION}: update perdure"
            )


def migrate(connection: sqlite3.Connection) -> list[str]:
    """Applies what is missing. The write lock keeps others who do the same waiting.

    Raises:
        SchemaVersionError: the stored schema is too new for this code.
        BackendFormatError: the file is not ours.
    """
    applied: list[str] = []
    if stored_version(connection) >= CODE_VERSION:
        check(connection)
        return applied
    connection.execute("BEGIN IMMEDIATE")
    try:
        version = stored_version(connection)
        for script in missing(version):
            for statement in _split(script.text):
                connection.execute(statement)
            applied.append(script.name)
        put = SQL["put_meta"]
        if applied:
            connection.execute(put, ("schema_version", str(CODE_VERSION)))
            connection.execute(put, ("oldest_reader", str(OLDEST_READER)))
        if _meta(connection, "incarnation") is None:
            connection.execute(put, ("incarnation", secrets.token_hex(8)))
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
    return applied


def _split(script: str) -> list[str]:
    """Statements of a script. ``executescript`` would commit the transaction that we are in."""
    statements: list[str] = []
    text = ""
    for line in script.splitlines():
        text += line + "\n"
        if sqlite3.complete_statement(text):
            statements.append(text)
            text = ""
    return statements
