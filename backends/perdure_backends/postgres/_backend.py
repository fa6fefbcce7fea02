"""The store's face: from URL or pool to a store.

PYTEST_DONT_REWRITE
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from perdure import InvalidOptionError

from .._relational import RelationalBackend
from .._urls import Location, Options
from . import _migrations
from ._database import PostgresDatabase

if TYPE_CHECKING:
    import asyncpg

_SCHEMA = re.compile(r"[a-z_][a-z0-9_]{0,62}")


class PostgresBackend(RelationalBackend):
    """A store in a schema of a PostgreSQL database.

    Args:
        dsn: ``postgresql://user:password@host:5432/database``, with libpq's options.
        pool: instead of ``dsn``, an open pool of yours; it stays yours, and nothing is migrated
            unless asked for.
        schema: the schema that holds the tables; lower-case letters, digits and underscores.
        pool_size: connections at most, besides one that listens and one for each worker.
        timeout: seconds that one statement may take.
        migrate: create or update the schema when opened.
        transaction_pooler: PgBouncer (or the like) in transaction mode stands in between.
        clock: microseconds since the epoch, in place of the server's clock; for tests.

    Raises:
        InvalidOptionError: neither or both of ``dsn`` and ``pool``, or a malformed schema.
    """

    def __init__(
        self,
        dsn: str | None = None,
        *,
        pool: asyncpg.Pool[Any] | None = None,
        schema: str = "perdure",
        pool_size: int = 10,
        timeout: float = 30.0,
        migrate: bool | None = None,
        transaction_pooler: bool = False,
        clock: Callable[[], int] | None = None,
    ) -> None:
        if (dsn is None) == (pool is None):
            raise InvalidOptionError("postgresql: give either a DSN or a pool")
        if not _SCHEMA.fullmatch(schema):
            raise InvalidOptionError(
                "postgresql: a schema's name has lower-case letters, digits and underscores, "
                f"not {schema!r}"
            )
        shown = "postgresql (your pool)" if dsn is None else Location.parse(dsn).shown
        database = PostgresDatabase(
            dsn,
            shown=shown,
            schema=schema,
            pool_size=pool_size,
            timeout=timeout,
            transaction_pooler=transaction_pooler,
            pool=pool,
        )
        super().__init__(
            database,
            migrate=pool is None if migrate is None else migrate,
            version=_migrations.CODE_VERSION,
            clock=clock,
        )


def from_url(location: Location) -> PostgresBackend:
    """``postgresql://user:password@host/database?schema=perdure&pool_size=10``.

    Options that are not ours (``sslmode``, ``sslrootcert``, …) go to the driver.

    Raises:
        InvalidOptionError: a value is out of range.
    """
    options = Options("postgresql", location)
    schema = options.text("schema", "perdure")
    pool_size = options.integer("pool_size", 10, least=1)
    timeout = options.number("timeout", 30.0)
    migrate = options.flag("migrate", default=True)
    pooler = options.choice("pooler", "none", ("none", "transaction"))
    return PostgresBackend(
        options.rest(),
        schema=schema,
        pool_size=pool_size,
        timeout=timeout,
        migrate=migrate,
        transaction_pooler=pooler == "transaction",
    )
