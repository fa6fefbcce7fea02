"""An empty store for a test, and nothing left of it afterwards.

PYTEST_DONT_REWRITE
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Generator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit


@contextmanager
def fresh_store(url: str, folder: Path) -> Generator[str]:
    """The URL of an empty store beside the one that was named.

    A new file for SQLite, a schema of its own on PostgreSQL, a prefix of its own on MySQL and
    Redis; removed at the end.
    """
    kind = urlsplit(url).scheme.partition("+")[0]
    name = f"perdure_test_{secrets.token_hex(6)}"
    if kind == "sqlite":
        yield f"sqlite:///{folder / 'perdure.db'}" if ":memory:" not in url else url
        return
    if kind in ("postgresql", "postgres"):
        yield _with(url, schema=name)
        asyncio.run(_drop_schema(url, name))
    elif kind == "redis":
        yield _with(url, prefix=name)
        asyncio.run(_delete_keys(url, name))
    elif kind == "mysql":
        yield _with(url, prefix=f"{name}_")
        asyncio.run(_drop_tables(url, f"{name}_"))
    else:
        yield url


def _with(url: str, **options: str) -> str:
    parts = urlsplit(url)
    query = {**dict(parse_qsl(parts.query)), **options}
    return urlunsplit(parts._replace(query=urlencode(query)))


def _bare(url: str) -> str:
    return urlunsplit(urlsplit(url)._replace(query=""))


async def _drop_schema(url: str, schema: str) -> None:
    import asyncpg

    connection = await asyncpg.connect(_bare(url))
    try:
        await connection.execute(f'DROP SCHEMA IF EXISTS "{schema}" CASCADE')
    finally:
        await connection.close()


async def _delete_keys(url: str, prefix: str) -> None:
    redis: Any = import_module("redis.asyncio")
    client = redis.Redis.from_url(_bare(url))
    try:
        async for key in client.scan_iter(match=f"*{prefix}*", count=1000):
            await client.unlink(key)
    finally:
        await client.aclose()


async def _drop_tables(url: str, prefix: str) -> None:
    aiomysql: Any = import_module("aiomysql")
    parts = urlsplit(url)
    connection = await aiomysql.connect(
        host=parts.hostname or "127.0.0.1",
        port=parts.port or 3306,
        user=parts.username,
        password=parts.password or "",
        db=parts.path.lstrip("/"),
        autocommit=True,
    )
    try:
        async with connection.cursor() as cursor:
            await cursor.execute(
                "SELECT table_name FROM information_schema.tables "
                "WHERE table_schema = DATABASE() AND LEFT(table_name, %s) = %s",
                (len(prefix), prefix),
            )
            for (table,) in await cursor.fetchall():
                await cursor.execute(f"DROP TABLE IF EXISTS `{table}`")
    finally:
        connection.close()
