"""Does a claim cost more as work piles up? W1 beside a million finished, 100,000 sleeping.

``python tests/servers.py python tests/benchmarks/crowd_bench.py --store postgres``

One instance of each kind is run for real; the store's own language then multiplies its rows.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sqlite3
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parent))

import servers
from bench_flows import echo, one, sleeps
from perdure_backends import Backend
from perdure_runtime import Client, Worker, connect

FINISHED, SLEEPING = 1_000_000, 100_000
APART = {"finished": 1_000_000_000, "sleeping": 2_000_000_000}
"""Serials of copies begin there."""


def copy_statements(
    columns: dict[str, list[str]], source: int, base: int, numbers: str, table: str, text: str
) -> list[str]:
    """Statements that copy all rows of a run; ``numbers`` is a row source with a column ``g``.

    Args:
        columns: of each table, in order.
        text: how two texts are joined, with places for both.
    """
    found: list[str] = []
    for name, names in columns.items():
        key = "serial" if name == "runs" else "run"
        chosen = {key: f"{base} + g", "lineage": f"{base} + g"}
        for column in ("run_id", "instance_id", "current_of"):
            chosen[column] = text.format(column, "g")
        parts = ", ".join(chosen.get(column, f"t.{column}") for column in names)
        into = ", ".join(names)
        place = table.format(name)
        found.append(
            f"INSERT INTO {place} ({into}) SELECT {parts} FROM {place} AS t, {numbers} "
            f"WHERE t.{key} = {source}"
        )
    return found


TABLES = ("runs", "starts", "history", "outcomes", "timers")


async def fill_sqlite(url: str, source: int, kind: str, count: int) -> None:
    path = url.removeprefix("sqlite:///")
    with sqlite3.connect(path) as connection:
        columns = {
            name: [row[1] for row in connection.execute(f"PRAGMA table_info({name})")]
            for name in TABLES
        }
        numbers = (
            f"(WITH RECURSIVE n(g) AS (SELECT 1 UNION ALL SELECT g + 1 FROM n WHERE g < {count}) "
            "SELECT g FROM n)"
        )
        there = {name: names for name, names in columns.items() if names}
        for statement in copy_statements(
            there, source, APART[kind], numbers, "{}", "{} || '-' || {}"
        ):
            connection.execute(statement)
    connection.close()


async def fill_postgres(url: str, source: int, kind: str, count: int) -> None:
    import asyncpg

    schema = url.partition("schema=")[2]
    connection = await asyncpg.connect(url.partition("?")[0])
    columns: dict[str, list[str]] = {name: [] for name in TABLES}
    for row in await connection.fetch(
        "SELECT table_name, column_name FROM information_schema.columns WHERE table_schema = $1 "
        "ORDER BY ordinal_position",
        schema,
    ):
        if row[0] in columns:
            columns[row[0]].append(row[1])
    numbers = f"generate_series(1, {count}) AS n(g)"
    for statement in copy_statements(
        columns, source, APART[kind], numbers, f"{schema}.{{}}", "{} || '-' || {}"
    ):
        await connection.execute(statement, timeout=600)
    for name in TABLES:
        await connection.execute(f"ANALYZE {schema}.{name}", timeout=600)
    await connection.close()


async def fill_mysql(url: str, source: int, kind: str, count: int) -> None:
    from stores import mysql_database

    prefix = url.partition("prefix=")[2]
    database: Any = mysql_database(url.partition("?")[0])
    database._timeout = 900
    await database.open()
    columns: dict[str, list[str]] = {}
    for name in TABLES:
        rows = await database.ask(f"SHOW COLUMNS FROM {prefix}{name}")
        columns[name] = [row[0] if isinstance(row[0], str) else row[0].decode() for row in rows]
    numbers = f"(SELECT seq AS g FROM seq_1_to_{count}) AS n"
    for statement in copy_statements(
        columns, source, APART[kind], numbers, f"{prefix}{{}}", "CONCAT({}, '-', {})"
    ):
        await database.ask(statement.replace("t.key", "t.`key`"))
    await database.aclose()


REDIS_COPY = """
local base, source, apart = ARGV[1], ARGV[2], ARGV[5]
local first, last = tonumber(ARGV[3]), tonumber(ARGV[4])
local row = cmsgpack.unpack(redis.call("HGET", base .. "run:" .. source, "row"))
local start = redis.call("GET", base .. "start:" .. source)
local outcome = redis.call("HGETALL", base .. "outcome:" .. source)
local history = redis.call("LRANGE", base .. "history:" .. source, 0, -1)
local timers = redis.call("HGETALL", base .. "timers:" .. source)
local run_id, instance_id = row[2], row[3]
for g = first, last do
  local serial = tonumber(apart) + g
  local name = string.format("%.0f", serial)
  row[1], row[2], row[3], row[4] = serial, run_id .. "-" .. g, instance_id .. "-" .. g, serial
  row[14] = row[3]
  redis.call("HSET", base .. "run:" .. name, "row", cmsgpack.pack(row), "rev", 0)
  redis.call("HSET", base .. "ids", row[2], name)
  redis.call("HSET", base .. "current", row[3], name)
  redis.call("SADD", base .. "lineage:" .. name, name)
  redis.call("ZADD", base .. "started", row[9], string.format("%016.0f", serial))
  redis.call("SET", base .. "start:" .. name, start)
  if #outcome > 0 then redis.call("HSET", base .. "outcome:" .. name, unpack(outcome)) end
  if #history > 0 then redis.call("RPUSH", base .. "history:" .. name, unpack(history)) end
  for n = 1, #timers, 2 do
    redis.call("HSET", base .. "timers:" .. name, timers[n], timers[n + 1])
    redis.call("ZADD", base .. "due", timers[n + 1], "t:" .. name .. ":" .. timers[n])
  end
end
"""


async def fill_redis(url: str, source: int, kind: str, count: int) -> None:
    from perdure_backends.redis._keys import Keys
    from perdure_backends.redis._server import make_client

    keys = Keys(url.partition("prefix=")[2], 0)
    client = make_client(url.partition("?")[0], 1, 60)
    step = 5000
    for first in range(1, count + 1, step):
        arguments = (keys.base, source, first, min(first + step - 1, count), APART[kind])
        await client.execute_command("EVAL", REDIS_COPY, 1, keys.meta, *arguments)
    await client.aclose()


FILL = {
    "sqlite": fill_sqlite,
    "postgres": fill_postgres,
    "mysql": fill_mysql,
    "redis": fill_redis,
}


async def serial_of(store: str, backend: Backend, run_id: str) -> int:
    if store == "sqlite":
        path = backend.url.removeprefix("sqlite:///")
        with sqlite3.connect(path) as connection:
            found = connection.execute("SELECT serial FROM runs WHERE run_id = ?", (run_id,))
            serial: int = found.fetchone()[0]
        connection.close()
        return serial
    database: Any = getattr(backend, "_database")  # noqa: B009  (not a part of the contract)
    if store == "redis":
        (found,) = await database.pipeline([("HGET", database.keys.ids, run_id)])
        return int(found)
    rows = await database.fetch("serials_of_runs", ids=[run_id])
    return int(rows[0][1])


async def size_of(store: str, url: str) -> int:
    """Bytes that the store takes."""
    if store == "sqlite":
        path = Path(url.removeprefix("sqlite:///"))
        return sum(p.stat().st_size for p in path.parent.glob(f"{path.name}*"))
    if store == "postgres":
        import asyncpg

        connection = await asyncpg.connect(url.partition("?")[0])
        found = await connection.fetchval(
            "SELECT sum(pg_total_relation_size(c.oid)) FROM pg_class AS c "
            "JOIN pg_namespace AS n ON n.oid = c.relnamespace "
            "WHERE n.nspname = $1 AND c.relkind = 'r'",
            url.partition("schema=")[2],
        )
        await connection.close()
        return int(found)
    if store == "mysql":
        from stores import mysql_database

        database = mysql_database(url.partition("?")[0])
        await database.open()
        prefix = url.partition("prefix=")[2]
        for name in TABLES:
            await database.ask(f"ANALYZE TABLE {prefix}{name}")
        rows = await database.ask(
            "SELECT SUM(data_length + index_length) FROM information_schema.tables "
            f"WHERE table_name LIKE '{prefix}%'"
        )
        await database.aclose()
        return int(rows[0][0])
    from perdure_backends.redis._server import make_client

    client = make_client(url.partition("?")[0], 1, 60)
    used = int((await client.info("memory"))["used_memory"])
    await client.aclose()
    return used


async def w1(client: Client) -> float:
    """Workflows a second, the median of five times 1,000."""
    rates: list[float] = []
    for _ in range(5):
        begun = time.perf_counter()
        handles = await asyncio.gather(*(client.start(one, 1) for _ in range(1000)))
        await asyncio.gather(*(handle.result() for handle in handles))
        rates.append(1000 / (time.perf_counter() - begun))
    return statistics.median(rates)


async def main(store: str, finished: int, sleeping: int, folder: Path) -> None:
    name = f"crowd{os.getpid()}"
    urls = {
        "sqlite": f"sqlite:///{folder / 'crowd.db'}",
        "postgres": f"{os.environ.get(servers.POSTGRES)}?schema={name}",
        "mysql": f"{os.environ.get(servers.MYSQL)}?prefix={name}_",
        "redis": f"{os.environ.get(servers.REDIS)}?prefix={name}",
    }
    url = urls[store]
    async with connect(url) as backend:
        client = Client(backend)
        async with Worker(backend, workflows=[one, sleeps], activities=[echo]):
            asleep = await client.start(sleeps, 1e6)
            done = await client.start(one, 1)
            await done.result()
            while (await asleep.describe()).turn < 1:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
            alone = await w1(client)
        begun, before = time.perf_counter(), await size_of(store, url)
        each: dict[str, float] = {}
        for handle, kind, count in ((done, "finished", finished), (asleep, "sleeping", sleeping)):
            record = await handle.describe()
            serial = await serial_of(store, backend, record.run_id)
            await FILL[store](url, serial, kind, count)
            now = await size_of(store, url)
            each[kind], before = (now - before) / count, now
        filled = time.perf_counter() - begun
        async with Worker(backend, workflows=[one, sleeps], activities=[echo]):
            crowded = await w1(client)
            begun = time.perf_counter()
            async for _ in client.list(page_size=50):
                break
            listed = time.perf_counter() - begun
    print(
        f"{store}: W1 {alone:,.0f}/s empty, {crowded:,.0f}/s beside {finished:,} finished and "
        f"{sleeping:,} sleeping: {crowded / alone:.2f} x; a page of 50 in {1000 * listed:.0f} ms "
        f"(filled in {filled:.0f} s)\n  bytes for each: {each['finished']:,.0f} finished, "
        f"{each['sleeping']:,.0f} sleeping"
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--store", required=True, choices=list(FILL))
    parser.add_argument("--finished", type=int, default=FINISHED)
    parser.add_argument("--sleeping", type=int, default=SLEEPING)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=os.environ.get("BENCH_DIR")) as place:
        asyncio.run(main(given.store, given.finished, given.sleeping, Path(place)))
