"""Stores as released versions have left them, in the middle of their work, go on with this code.

``freeze.py`` writes the files; they and the migrations of released schemas never change.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from freeze import FLOWS, FOLDER, stored
from perdure_backends import Listing, Overseeing
from perdure_backends._migrating import Script, scripts
from perdure_backends.records import ListFilter
from perdure_runtime import Client, Worker, connect
from released_flows import double, go, later
from stores import mysql_database, store_url

FILES = sorted(FOLDER.glob("*.json"))

RELEASED = {
    "mysql/0001_initial.sql": "465dffd83ad4bbe1",
    "mysql/0002_overview.sql": "0d801622b38c6dfe",
    "postgres/0001_initial.sql": "43cc83f1b136a1fa",
    "postgres/0002_overview.sql": "b88e8bacbe6e3a28",
    "sqlite/0001_initial.sql": "1ee599af493e392e",
    "sqlite/0002_messages.sql": "2e374d93728b34da",
    "sqlite/0003_overview.sql": "7eac20cfe7511c21",
}
"""Digests of migrations: stores out there have been made by them. New ones are added below."""


def missing(kind: str, version: int) -> list[Script]:
    """Migrations that lead to a version."""
    return [s for s in scripts(f"perdure_backends.{kind}") if s.number <= version]


def test_released_migrations_never_change() -> None:
    found = {
        f"{kind}/{script.name}": hashlib.sha256(script.text.encode()).hexdigest()[:16]
        for kind in ("mysql", "postgres", "sqlite")
        for script in scripts(f"perdure_backends.{kind}")
    }
    assert found == RELEASED


def load_sqlite(url: str, rows: dict[str, Any], version: int) -> None:
    with sqlite3.connect(url.removeprefix("sqlite:///").partition("?")[0]) as connection:
        for script in missing("sqlite", version):
            connection.executescript(script.text)
        for table, items in rows.items():
            connection.execute(f"DELETE FROM {table}")
            for item in items:
                marks = ", ".join("?" * len(item))
                into = ", ".join(item)
                values = [stored(value) for value in item.values()]
                connection.execute(f"INSERT INTO {table} ({into}) VALUES ({marks})", values)
    connection.close()


async def load_postgres(url: str, rows: dict[str, Any], version: int) -> None:
    import asyncpg
    from perdure_backends.postgres._statements import in_schema

    schema = url.partition("schema=")[2].partition("&")[0]
    connection = await asyncpg.connect(url.partition("?")[0])
    await connection.execute(f"DROP SCHEMA IF EXISTS {schema} CASCADE")
    for script in missing("postgres", version):
        await connection.execute(in_schema(script.text, schema))
    for table, items in rows.items():
        await connection.execute(f"DELETE FROM {schema}.{table}")
        for item in items:
            marks = ", ".join(f"${n}" for n in range(1, len(item) + 1))
            values = [stored(value) for value in item.values()]
            await connection.execute(
                f"INSERT INTO {schema}.{table} ({', '.join(item)}) VALUES ({marks})", *values
            )
    await connection.execute(f"SELECT setval('{schema}.serials', 1000001)")
    await connection.close()


async def load_mysql(url: str, rows: dict[str, Any], version: int) -> None:
    from perdure_backends.mysql._migrations import split
    from perdure_backends.mysql._statements import literal, with_prefix

    prefix = url.partition("prefix=")[2].partition("&")[0]
    database = mysql_database(url.partition("?")[0])
    await database.open()
    tables = await database.ask(
        "SELECT CAST(table_name AS CHAR) FROM information_schema.tables "
        f"WHERE table_schema = DATABASE() AND table_name LIKE '{prefix}%'"
    )
    for (table,) in tables:
        await database.ask(f"DROP TABLE {table}")
    for script in missing("mysql", version):
        for statement in split(with_prefix(script.text, prefix)):
            await database.ask(statement)
    for table, items in rows.items():
        await database.ask(f"DELETE FROM {prefix}{table}")
        for item in items:
            into = ", ".join(f"`{name}`" for name in item)
            values = ", ".join(literal(stored(value)) for value in item.values())
            await database.ask(f"INSERT INTO {prefix}{table} ({into}) VALUES ({values})")
    await database.aclose()


def load_redis(url: str, keys: dict[str, Any]) -> None:
    import redis

    prefix = url.partition("prefix=")[2].partition("&")[0]
    make: Any = getattr(redis.Redis, "from_url")  # noqa: B009  (partly untyped)
    with make(url.partition("?")[0]) as client:
        for name, (kind, value) in keys.items():
            key = name.replace("{PREFIX:", f"{{{prefix}:")
            if kind == "hash":
                client.hset(key, mapping={stored(k): stored(v) for k, v in value})
            elif kind == "set":
                client.sadd(key, *map(stored, value))
            elif kind == "zset":
                client.zadd(key, {stored(k): score for k, score in value})
            elif kind == "list":
                client.rpush(key, *map(stored, value))
            else:
                client.set(key, stored(value))


@pytest.mark.parametrize("file", FILES, ids=lambda path: path.stem)
def test_a_released_store_goes_on(file: Path, tmp_path: Path) -> None:
    kind, _, number = file.stem.partition("-")
    version = int(number)
    rows: dict[str, Any] = json.loads(file.read_text())
    url = store_url(kind, tmp_path).replace("&migrate=no", "")

    async def main() -> None:
        if kind == "sqlite":
            load_sqlite(url, rows, version)
        elif kind == "redis":
            load_redis(url, rows)
        else:
            await (load_postgres if kind == "postgres" else load_mysql)(url, rows, version)
        async with connect(url) as backend:
            assert isinstance(backend, Overseeing)
            assert isinstance(backend, Listing)
            before = await backend.overview(100)
            for state, count in before.states.items():
                chosen = ListFilter(states=(state,), all_runs=True)
                page = await backend.list_instances(chosen, None, 100)
                assert len(page.instances) == count, state
            assert before.states["suspended"] == 1
        async with (
            connect(url) as backend,
            Worker(backend, workflows=FLOWS, activities=[double, later]),
        ):
            client = Client(backend)
            assert await client.handle_by_id("finished").result() == 42
            async with asyncio.timeout(30):
                assert await client.handle_by_id("listens").result() == [1, 2, 5]
                assert await client.handle_by_id("sleeps").result() == "awake"
                assert await client.handle_by_id("parent").result() == 8
                continued = client.handle_by_id("continues")
                assert await continued.state() == "suspended"
                await continued.resume()
                await continued.signal(go, 4)
                assert await continued.result() == 4

    asyncio.run(main())


def test_there_is_a_file_for_each_kind() -> None:
    assert {path.stem.partition("-")[0] for path in FILES} == {
        "sqlite",
        "postgres",
        "mysql",
        "redis",
    }


def test_a_migration_that_was_broken_off_goes_on(tmp_path: Path) -> None:
    """MySQL commits each statement of a schema at once."""
    rows = json.loads((FOLDER / "mysql-1.json").read_text())
    url = store_url("mysql", tmp_path).replace("&migrate=no", "")
    prefix = url.partition("prefix=")[2].partition("&")[0]

    async def main() -> None:
        await load_mysql(url, rows, 1)
        database = mysql_database(url.partition("?")[0])
        await database.open()
        columns = "(status, started_at, serial)"
        await database.ask(f"CREATE INDEX runs_by_state ON {prefix}runs {columns}")
        await database.aclose()
        async with connect(url) as backend:
            assert isinstance(backend, Overseeing)
            assert (await backend.overview(10)).states["suspended"] == 1

    asyncio.run(main())
