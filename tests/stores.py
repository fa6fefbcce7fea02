"""Fresh, empty stores of each kind for tests; those on servers where a server is there."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import servers
from perdure_backends import Backend, Migrating, open_backend
from perdure_backends._urls import Location
from perdure_backends.memory import MemoryBackend
from perdure_backends.sqlite import SqliteBackend

if TYPE_CHECKING:
    from perdure_backends.mysql._database import MysqlDatabase

Clock = Callable[[], int]

STORES = ("memory", "sqlite", "sqlite-memory", "postgres", "mysql", "redis", "redis-cluster")
"""Names of all kinds."""

_made: set[str] = set()


def url_of(variable: str) -> str:
    """A server's URL; skips the test where there is none, and fails it in CI."""
    url = os.environ.get(variable)
    if url is None:
        message = f"no server: {variable} is not set (run the tests by `bash .ci/test`)"
        if os.environ.get("CI"):
            pytest.fail(message)
        pytest.skip(message)
    return url


def store_url(store: str, folder: Path) -> str:
    """The URL of a fresh, empty store.

    On a server it lies in a schema (or under a prefix) of this process's own, which is emptied.
    """
    if store == "memory":
        return "memory://"
    if store == "sqlite":
        return f"sqlite:///{folder / 'store.db'}?synchronous=NORMAL"
    if store == "sqlite-memory":
        return "sqlite:///:memory:"
    if store == "postgres":
        return _postgres()
    if store == "mysql":
        return _mysql()
    if store == "redis":
        return _redis()
    if store == "redis-cluster":
        return _redis_cluster()
    raise ValueError(store)


def make_store(store: str, folder: Path, clock: Clock) -> Backend:
    """A fresh, empty store with a clock of the test's."""
    if store == "memory":
        return MemoryBackend(clock=clock)
    if store in ("sqlite", "sqlite-memory"):
        path = ":memory:" if store == "sqlite-memory" else str(folder / "store.db")
        return SqliteBackend(path, clock=clock, synchronous="NORMAL")
    backend: Any = open_backend(store_url(store, folder))
    backend.use_clock(clock)
    made: Backend = backend
    return made


def _postgres() -> str:
    import asyncpg

    server = url_of(servers.POSTGRES)
    schema = f"test_{os.getpid()}"
    url = f"{server}?schema={schema}&pool_size=4"

    async def empty() -> None:
        connection = await asyncpg.connect(server)
        try:
            await connection.execute("SET synchronous_commit = off")
            if url not in _made:
                await connection.execute(f"DROP SCHEMA IF EXISTS {schema} CASCADE")
                return
            rows = await connection.fetch(
                "SELECT tablename FROM pg_tables WHERE schemaname = $1 AND tablename <> 'meta'",
                schema,
            )
            # One by one: TRUNCATE would write a new file for each table and index.
            for row in rows:
                await connection.execute(f"DELETE FROM {schema}.{row[0]}")
            await connection.execute(f"DELETE FROM {schema}.meta WHERE key = 'lost_sessions'")
        finally:
            await connection.close()

    _aside(empty())
    if url not in _made:
        _aside(_migrate(url))
        _made.add(url)
    return f"{url}&migrate=no"


def mysql_database(url: str) -> MysqlDatabase:
    """A server's database, to be asked."""
    from perdure_backends.mysql._database import MysqlDatabase

    location = Location.parse(url)
    ((host, port),) = location.nodes(3306)
    return MysqlDatabase(
        {"host": host, "port": port, "user": location.user, "db": location.path},
        shown=location.shown,
        prefix="",
        pool_size=1,
        timeout=30,
        transaction_pooler=False,
        pool=None,
    )


async def statements_at(store: str) -> int:
    """How many statements the server has got so far."""
    if store == "postgres":
        import asyncpg

        connection = await asyncpg.connect(url_of(servers.POSTGRES))
        try:
            # Its statistics are behind by up to a second or so.
            await asyncio.sleep(1.5)
            return int(
                await connection.fetchval(
                    "SELECT sum(xact_commit + xact_rollback) FROM pg_stat_database"
                )
            )
        finally:
            await connection.close()
    if store == "mysql":
        database = mysql_database(url_of(servers.MYSQL))
        await database.open()
        rows = await database.ask("SHOW GLOBAL STATUS LIKE 'Questions'")
        await database.aclose()
        return int(rows[0][1])
    import redis.asyncio

    make: Any = getattr(redis.asyncio.Redis, "from_url")  # noqa: B009  (partly untyped)
    async with make(url_of(servers.REDIS)) as client:
        return int(
            (await client.info("stats"))["total_reads_processed"]
        )  # scripts count each command


def _mysql() -> str:
    server = url_of(servers.MYSQL)
    prefix = f"test{os.getpid()}_"
    url = f"{server}?prefix={prefix}&pool_size=4"

    async def empty() -> None:
        database = mysql_database(server)
        await database.open()
        rows = await database.ask(
            "SELECT CAST(table_name AS CHAR) FROM information_schema.tables "
            f"WHERE table_schema = DATABASE() AND table_name LIKE '{prefix}%'"
        )
        if url not in _made:
            for (table,) in rows:
                await database.ask(f"DROP TABLE {table}")
        else:
            kept = {f"{prefix}{name}" for name in ("meta", "serials")}
            statements = [f"DELETE FROM {table}" for (table,) in rows if table not in kept]
            statements.append(f"DELETE FROM {prefix}meta WHERE `key` = 'lost_sessions'")
            await database.ask("; ".join(["BEGIN", *statements, "COMMIT"]))
        await database.aclose()

    _aside(empty())
    if url not in _made:
        _aside(_migrate(url))
        _made.add(url)
    return f"{url}&migrate=no"


def _redis() -> str:
    import redis

    server = url_of(servers.REDIS)
    prefix = f"test{os.getpid()}"
    make: Any = getattr(redis.Redis, "from_url")  # noqa: B009  (partly untyped)
    with make(server) as client:
        for keys in _chunks(list(client.scan_iter(f"{{{prefix}:*", count=1000))):
            client.unlink(*keys)
    return f"{server}?prefix={prefix}&pool_size=4"


def _redis_cluster() -> str:
    """Three shards on three masters."""
    import redis

    server = url_of(servers.CLUSTER)
    prefix = f"test{os.getpid()}"
    make: Any = getattr(redis.RedisCluster, "from_url")  # noqa: B009  (partly untyped)
    with make(server.replace("redis+cluster", "redis")) as client:
        for key in client.scan_iter(f"{{{prefix}:*", count=1000):
            client.unlink(key)
    return f"{server}?prefix={prefix}&pool_size=4&shards=3"


def _chunks(keys: list[bytes]) -> Iterator[list[bytes]]:
    for start in range(0, len(keys), 500):
        yield keys[start : start + 500]


async def _migrate(url: str) -> None:
    backend = open_backend(url)
    if isinstance(backend, Migrating):
        await backend.migrate()
    await backend.aclose()


def _aside(coroutine: Coroutine[Any, Any, None]) -> None:
    """Runs to the end, also where an event loop runs already."""
    failed: list[BaseException] = []

    def run() -> None:
        try:
            asyncio.run(coroutine)
        except BaseException as error:
            failed.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    if failed:
        raise failed[0]
