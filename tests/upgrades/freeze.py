"""Writes what a store of each kind holds in the middle of its work, for the versions to come.

``python tests/servers.py python tests/upgrades/freeze.py`` writes ``released/KIND-VERSION.json``
for the schema that the code has now, once it is released; a file that is there stays as it is.
"""

from __future__ import annotations

import asyncio
import base64
import json
import sqlite3
import sys
import tempfile
from pathlib import Path
from typing import Any, cast

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parent))

from perdure_backends import Migrating
from perdure_runtime import Client, Worker, connect
from released_flows import (
    continues,
    double,
    finished,
    go,
    has_a_child,
    lift,
    listens,
    sleeps,
    waits_for_an_activity,
)
from stores import mysql_database, store_url

FOLDER = Path(__file__).parent / "released"
KINDS = ("sqlite", "postgres", "mysql", "redis")
FLOWS: list[Any] = [finished, listens, sleeps, waits_for_an_activity, has_a_child, continues]


def plain(value: Any) -> Any:
    """A value of a row as JSON."""
    return {"b": base64.b64encode(value).decode()} if isinstance(value, bytes) else value


def stored(value: Any) -> Any:
    """A value as it was in its row."""
    if isinstance(value, dict):
        text: str = cast("dict[str, str]", value)["b"]
        return base64.b64decode(text)
    return value


async def fill(url: str) -> int:
    """Instances in many states; gives the version of the schema."""
    async with connect(url) as backend:
        client = Client(backend)
        async with Worker(backend, workflows=FLOWS, activities=[double]):
            await client.run(finished.options(id="finished"), 21)
            handle = await client.start(listens.options(id="listens"))
            await handle.update(lift, 5)
            await handle.signal(go, 1)
            await client.start(sleeps.options(id="sleeps"), 2.0)
            await client.start(has_a_child.options(id="parent"), 3)
            await client.start(continues.options(id="continues"), 2)
            async with asyncio.timeout(20):
                while not await quiet(client):  # noqa: ASYNC110
                    await asyncio.sleep(0.05)
        await handle.signal(go, 2)  # unread
        await client.handle_by_id("continues").suspend()
        if isinstance(backend, Migrating):
            return (await backend.schema_version())[0]
        raise TypeError(url)


async def quiet(client: Client) -> bool:
    """All of them have come as far as they can."""
    child = await client.backend.describe("child")
    found = await client.backend.describe("continues")
    return child is not None and child.turn >= 2 and found is not None and found.turn >= 2


# --- the rows of each kind ------------------------------------------------------------------


def read_sqlite(url: str) -> dict[str, Any]:
    with sqlite3.connect(url.removeprefix("sqlite:///").partition("?")[0]) as connection:
        tables = [
            row[0]
            for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
            if not row[0].startswith("sqlite_")
        ]
        found: dict[str, Any] = {}
        for table in tables:
            cursor = connection.execute(f"SELECT * FROM {table}")
            names = [column[0] for column in cursor.description]
            found[table] = [dict(zip(names, map(plain, row), strict=True)) for row in cursor]
    connection.close()
    return found


async def read_postgres(url: str) -> dict[str, Any]:
    import asyncpg

    schema = url.partition("schema=")[2].partition("&")[0]
    connection = await asyncpg.connect(url.partition("?")[0])
    tables = await connection.fetch(
        "SELECT tablename FROM pg_tables WHERE schemaname = $1 ORDER BY tablename", schema
    )
    found: dict[str, Any] = {}
    for (table,) in tables:
        rows = await connection.fetch(f"SELECT * FROM {schema}.{table}")
        found[table] = [{name: plain(value) for name, value in row.items()} for row in rows]
    await connection.close()
    return found


async def read_mysql(url: str) -> dict[str, Any]:
    prefix = url.partition("prefix=")[2].partition("&")[0]
    database = mysql_database(url.partition("?")[0])
    await database.open()
    tables = await database.ask(
        "SELECT CAST(table_name AS CHAR) FROM information_schema.tables "
        f"WHERE table_schema = DATABASE() AND table_name LIKE '{prefix}%'"
    )
    found: dict[str, Any] = {}
    for (table,) in tables:
        columns = await database.ask(f"SHOW COLUMNS FROM {table}")
        texts = [[c.decode() if isinstance(c, bytes) else c for c in row] for row in columns]
        names = [str(row[0]) for row in texts if "GENERATED" not in str(row[5])]
        into = ", ".join(f"`{name}`" for name in names)
        rows = await database.ask(f"SELECT {into} FROM {table}")
        found[table.removeprefix(prefix)] = [
            dict(zip(names, map(plain, row), strict=True)) for row in rows
        ]
    await database.aclose()
    return found


def read_redis(url: str) -> dict[str, Any]:
    import redis

    prefix = url.partition("prefix=")[2].partition("&")[0]
    make: Any = getattr(redis.Redis, "from_url")  # noqa: B009  (partly untyped)
    found: dict[str, Any] = {}
    with make(url.partition("?")[0]) as client:
        for key in sorted(client.scan_iter(f"{{{prefix}:*", count=1000)):
            kind = client.type(key).decode()
            name = key.decode().replace(f"{{{prefix}:", "{PREFIX:")
            if kind == "hash":
                value: Any = [[plain(k), plain(v)] for k, v in client.hgetall(key).items()]
            elif kind == "set":
                value = [plain(one) for one in sorted(client.smembers(key))]
            elif kind == "zset":
                value = [
                    [plain(k), score] for k, score in client.zrange(key, 0, -1, withscores=True)
                ]
            elif kind == "list":
                value = [plain(one) for one in client.lrange(key, 0, -1)]
            else:
                value = plain(client.get(key))
            found[name] = [kind, value]
    return found


async def freeze(kind: str, folder: Path) -> None:
    url = store_url(kind, folder)
    version = await fill(url)
    path = FOLDER / f"{kind}-{version}.json"
    if path.exists():
        print(f"{path.name} is there already")
        return
    if kind == "sqlite":
        rows = read_sqlite(url)
    elif kind == "redis":
        rows = read_redis(url)
    else:
        rows = await (read_postgres(url) if kind == "postgres" else read_mysql(url))
    path.write_text(json.dumps(rows, indent=1, sort_keys=True) + "\n")
    print(f"wrote {path.name}")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as place:
        for one in KINDS:
            asyncio.run(freeze(one, Path(place)))
