"""The workloads W1 to W6, lone, tree, idle, replay, imports, ask, near and guard.

Throughput is shown as a ratio to a bare yardstick too.

Run: ``python tests/benchmarks/bench.py [--store sqlite|memory|postgres|mysql|redis] [--only W1]
[--json]``; servers are started by ``python tests/servers.py python tests/benchmarks/bench.py …``.

The yardstick for SQLite is one-row commits a second through one aiosqlite connection (WAL, FULL),
for memory one turn of an asyncio loop plus a msgspec round trip, for servers their drivers'
durable one-row commits a second, on 16 connections (throughput) and on one (a lone step); all are
measured in the same run, and the ratios are what counts. Each workload runs three times, the median
is shown. W1, W2 and lone run once before the clock starts, in the same worker: connections and
statements are ready then, as they are for the yardsticks.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import gc
import itertools
import json
import os
import resource
import signal
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import aiosqlite

sys.path.insert(0, str(Path(__file__).parents[1]))

import bench_flows
import msgspec
import servers
from bench_flows import (
    add,
    calls,
    echo,
    fan,
    listens,
    near,
    near_row,
    one,
    row,
    seen,
    sleeps,
    starts,
    stop,
    tree,
)
from perdure import DataConverter
from perdure_backends import history as h
from perdure_runtime import Client, Worker, connect
from perdure_runtime._core import Execution

HERE = Path(__file__).parent
WORKFLOWS: list[Any] = [one, row, fan, sleeps, tree, listens, near_row]


async def yardstick_sqlite(folder: Path) -> float:
    """One-row commits a second, one hop each."""
    async with aiosqlite.connect(folder / "yardstick.db", isolation_level=None) as connection:
        await connection.execute("PRAGMA journal_mode = WAL")
        await connection.execute("PRAGMA synchronous = FULL")
        await connection.execute("CREATE TABLE t (a INTEGER PRIMARY KEY, b TEXT)")
        count = 3000
        begun = time.perf_counter()
        for i in range(count):
            # In autocommit mode the statement is the whole transaction: one hop, one commit.
            await connection.execute("INSERT INTO t (b) VALUES (?)", (f"row {i}",))
        return count / (time.perf_counter() - begun)


async def yardstick_memory(folder: Path) -> float:
    """Turns of an asyncio loop, each with a msgspec round trip of a small event."""
    encode, decode = msgspec.msgpack.Encoder().encode, msgspec.msgpack.Decoder().decode
    event = {"type": "activity_completed", "number": 5, "result": b"5", "time": 1_700_000_000}
    count = 20_000
    begun = time.perf_counter()
    for _ in range(count):
        await asyncio.sleep(0)
        decode(encode(event))
    return count / (time.perf_counter() - begun)


async def rate(connections: Sequence[Callable[[], Awaitable[Any]]], count: int) -> float:
    """Calls a second, each connection one after the other."""

    async def use(call: Callable[[], Awaitable[Any]]) -> None:
        for _ in range(count):
            await call()

    begun = time.perf_counter()
    await asyncio.gather(*(use(call) for call in connections))
    return count * len(connections) / (time.perf_counter() - begun)


async def yardsticks_postgres() -> tuple[float, float]:
    """Durable one-row commits a second, on one connection and on 16."""
    import asyncpg

    url = os.environ[servers.POSTGRES]
    made = [await asyncpg.connect(url) for _ in range(16)]
    await made[0].execute("DROP TABLE IF EXISTS yard; CREATE TABLE yard (a serial, b text)")
    calls = [lambda c=c: c.execute("INSERT INTO yard (b) VALUES ($1)", "row") for c in made]
    lone, all_of_them = await rate(calls[:1], 1000), await rate(calls, 300)
    for connection in made:
        await connection.close()
    return lone, all_of_them


async def yardsticks_mysql() -> tuple[float, float]:
    """Durable one-row commits a second, on one connection and on 16."""
    from perdure_backends._urls import Location
    from perdure_backends.mysql._driver import connect, connection_options, execute

    location = Location.parse(os.environ[servers.MYSQL])
    ((host, port),) = location.nodes(3306)
    access = {"host": host, "port": port, "user": location.user, "db": location.path}
    made = [await connect({**access, **connection_options()}) for _ in range(16)]
    await execute(made[0], "DROP TABLE IF EXISTS yard")
    await execute(made[0], "CREATE TABLE yard (a INT AUTO_INCREMENT PRIMARY KEY, b TEXT)")
    calls = [lambda c=c: execute(c, "INSERT INTO yard (b) VALUES ('row')") for c in made]
    lone, all_of_them = await rate(calls[:1], 1000), await rate(calls, 300)
    for connection in made:
        connection.close()
    return lone, all_of_them


async def yardsticks_redis() -> tuple[float, float]:
    """Scripts that write one key a second, on one connection and on 16."""
    from perdure_backends.redis._server import make_client

    made = [make_client(os.environ[servers.REDIS], 1, 30) for _ in range(16)]
    script = "return redis.call('SET', KEYS[1], ARGV[1])"
    digest = await made[0].script_load(script)
    calls = [lambda c=c: c.execute_command("EVALSHA", digest, 1, "yard", "row") for c in made]
    lone, all_of_them = await rate(calls[:1], 2000), await rate(calls, 300)
    for client in made:
        await client.aclose()
    return lone, all_of_them


SERVERS = {
    "postgres": yardsticks_postgres,
    "mysql": yardsticks_mysql,
    "redis": yardsticks_redis,
}


class Bench:
    """One store, one folder."""

    def __init__(self, store: str, folder: Path) -> None:
        self.store = store
        self.folder = folder
        self._count = 0

    def url(self) -> str:
        """A fresh store."""
        self._count += 1
        if self.store == "memory":
            return "memory://"
        if self.store == "postgres":
            return f"{os.environ[servers.POSTGRES]}?schema=bench_{os.getpid()}_{self._count}"
        if self.store == "mysql":
            return f"{os.environ[servers.MYSQL]}?prefix=bench{os.getpid()}_{self._count}_"
        if self.store == "redis":
            return f"{os.environ[servers.REDIS]}?prefix=bench{os.getpid()}_{self._count}"
        return f"sqlite:///{self.folder / f'store{self._count}.db'}"

    async def with_worker(self, body: Callable[[Client], Awaitable[Any]]) -> Any:
        """Runs ``body`` beside a worker in this process."""
        async with (
            connect(self.url()) as backend,
            Worker(backend, workflows=WORKFLOWS, activities=[echo, near]),
        ):
            return await body(Client(backend))

    async def many(self, flow: Any, count: int, argument: Any, *, warm: bool = False) -> float:
        """Seconds from the first start to the last result."""

        async def once(client: Client) -> float:
            begun = time.perf_counter()
            handles = await asyncio.gather(*(client.start(flow, argument) for _ in range(count)))
            await asyncio.gather(*(handle.result() for handle in handles))
            return time.perf_counter() - begun

        async def body(client: Client) -> float:
            if warm:
                await once(client)
                starts.clear()
            return await once(client)

        seconds: float = await self.with_worker(body)
        return seconds

    async def w1(self) -> dict[str, float]:
        """1,000 workflows of one activity."""
        return {"workflows/s": 1000 / await self.many(one, 1000, 1, warm=True)}

    async def w2(self) -> dict[str, float]:
        """100 workflows of 10 activities in a row."""
        return {"activities/s": 1000 / await self.many(row, 100, 10, warm=True)}

    async def w3(self) -> dict[str, float]:
        """One workflow of 1,000 activities at once."""
        seconds = await self.many(fan, 1, 1000)
        return {"seconds": seconds, "activities/s": 1000 / seconds}

    async def w4(self) -> dict[str, float]:
        """One workflow of 5,000 activities in a row."""
        starts.clear()
        seconds = await self.many(row, 1, 5000)
        steps = [b - a for a, b in itertools.pairwise(starts)]
        first, last = statistics.mean(steps[:500]), statistics.mean(steps[-500:])
        return {"seconds": seconds, "steps/s": 5000 / seconds, "last/first": last / first}

    async def lone(self) -> dict[str, float]:
        """One workflow of 200 activities in a row: milliseconds a step."""
        starts.clear()
        await self.many(row, 1, 200, warm=True)
        steps = sorted(1000 * (b - a) for a, b in itertools.pairwise(starts))
        return {"p50 ms": steps[len(steps) // 2], "p99 ms": steps[int(len(steps) * 0.99)]}

    async def w5(self) -> dict[str, float]:
        """SIGKILL at about step 4,000 of W4: seconds from the new worker's start to a new step."""
        if self.store == "memory":
            return {}
        url = self.url()
        async with connect(url) as backend:
            handle = await Client(backend).start(row, 5000)
            command = [sys.executable, str(HERE / "bench_worker.py"), url]
            first = subprocess.Popen(command)  # noqa: ASYNC220
            while (await handle.describe()).turn < 4000:  # noqa: ASYNC110
                await asyncio.sleep(0.002)
            first.send_signal(signal.SIGKILL)
            first.wait()
            stood = (await handle.describe()).turn
            begun = time.perf_counter()
            second = subprocess.Popen(command)  # noqa: ASYNC220
            while (await handle.describe()).turn <= stood + 1:  # noqa: ASYNC110
                await asyncio.sleep(0.002)
            seconds = time.perf_counter() - begun
            await handle.result()
            second.terminate()
            second.wait()
        return {"seconds": seconds}

    async def w6(self) -> dict[str, float]:
        """10,000 workflows that sleep an hour: seconds until all are parked, KiB for each."""

        async def body(client: Client) -> dict[str, float]:
            # A first thousand warms up what is there once (threads, caches, the heap's peak).
            await asyncio.gather(*(client.start(sleeps, 3600) for _ in range(1000)))
            while await self._not_run(client):  # noqa: ASYNC110
                await asyncio.sleep(0.02)
            gc.collect()
            before = _resident()
            begun = time.perf_counter()
            for _ in range(10):
                await asyncio.gather(*(client.start(sleeps, 3600) for _ in range(1000)))
            while await self._not_run(client):  # noqa: ASYNC110
                await asyncio.sleep(0.02)
            seconds = time.perf_counter() - begun
            gc.collect()
            result = {"seconds": seconds}
            if self.store != "memory":
                result["KiB each"] = max(0.0, (_resident() - before) / 10_000)
            return result

        found: dict[str, float] = await self.with_worker(body)
        return found

    async def _not_run(self, client: Client) -> int:
        """Instances without a turn. Counted from outside where possible: a listing of ten
        thousand records would weigh more than what is to be measured."""
        if self.store in SERVERS:
            backend: Any = client.backend
            return int((await backend.glance()).ready)
        if self.store == "memory":
            return sum([r.turn == 0 async for r in client.list(page_size=5000)])
        path = client.backend.url.removeprefix("sqlite:///")
        with contextlib.closing(sqlite3.connect(path)) as connection:
            count: int = connection.execute("SELECT count(*) FROM runs WHERE turn = 0").fetchone()[
                0
            ]
            return count

    async def tree(self) -> dict[str, float]:
        """go-workflows' bench: 15 workflows, 16 activities."""
        return {"seconds": await self.many(tree, 1, 3)}

    async def idle(self) -> dict[str, float]:
        """A worker with nothing to do for 20 s: share of one CPU."""

        async def body(client: Client) -> float:
            await asyncio.sleep(1)
            before = _cpu()
            await asyncio.sleep(20)
            return (_cpu() - before) / 20

        return {"CPU %": 100 * await self.with_worker(body)}

    async def replay(self) -> dict[str, float]:
        """Replay of 5,000 activities in the core, and with loading."""

        async def body(client: Client) -> dict[str, float]:
            handle = await client.start(row, 5000)
            await handle.result()
            begun = time.perf_counter()
            run_id = (await handle.describe()).run_id
            records: list[bytes] = []
            while True:
                page = await client.backend.read_history(run_id, len(records), 500)
                if not page:
                    break
                records.extend(page)
            turns = [h.decode_turn(record) for record in records]
            loaded = time.perf_counter()
            execution = Execution(
                bench_flows.row,
                instance_id="x",
                run_id=run_id,
                started_at=0,
                converter=DataConverter(),
            )
            for turn in turns:
                execution.replay(turn)
            done = time.perf_counter()
            return {"core s": done - loaded, "with loading s": done - begun}

        found: dict[str, float] = await self.with_worker(body)
        return found

    async def ask(self) -> dict[str, float]:
        """Milliseconds of an update, a query and a signal with its reaction, medians of 200."""

        async def body(client: Client) -> dict[str, float]:
            handle = await client.start(listens)
            await handle.update(add, 0)
            times: dict[str, list[float]] = {"update ms": [], "query ms": []}
            for _ in range(200):
                begun = time.perf_counter()
                await handle.update(add, 1)
                done = time.perf_counter()
                await handle.query(seen)
                times["query ms"].append(1000 * (time.perf_counter() - done))
                times["update ms"].append(1000 * (done - begun))
            begun = time.perf_counter()
            await handle.signal(stop, None)
            await handle.result()
            last = 1000 * (time.perf_counter() - begun)
            return {name: statistics.median(all) for name, all in times.items()} | {
                "signal ms": last
            }

        found: dict[str, float] = await self.with_worker(body)
        return found

    async def near(self) -> dict[str, float]:
        """Milliseconds for each of 1,000 local activities in a row, 20 to a turn."""

        async def body(client: Client) -> float:
            begun = time.perf_counter()
            await client.run(near_row, 1000)
            return time.perf_counter() - begun

        return {"ms each": await self.with_worker(body)}

    async def guard(self) -> dict[str, float]:
        """Nanoseconds that the guard adds to a call outside of workflows, and within."""
        count = 300_000

        async def cost(guard: bool) -> tuple[float, float]:
            async with connect("memory://") as backend:
                options: dict[str, Any] = {"workflows": [calls], "guard": guard}
                async with Worker(backend, deadlock_timeout=None, **options):
                    outside = min(bench_flows.plain(count) for _ in range(5))
                    inside: list[float] = []
                    for _ in range(5):
                        begun = time.perf_counter()
                        await Client(backend).run(calls, count)
                        inside.append(time.perf_counter() - begun)
            return outside / count, min(inside) / count

        without, with_guard = await cost(False), await cost(True)
        return {
            "outside ns": 1e9 * (with_guard[0] - without[0]),
            "inside ns": 1e9 * (with_guard[1] - without[1]),
        }

    async def imports(self) -> dict[str, float]:
        """Milliseconds that imports take over ``import asyncio``, medians of 15."""

        def measure(code: str) -> float:
            program = (
                f"import time; t = time.perf_counter(); {code}; print(time.perf_counter() - t)"
            )
            runs = [
                float(subprocess.run([sys.executable, "-c", program], capture_output=True).stdout)
                for _ in range(15)
            ]
            return 1000 * statistics.median(runs)

        base = measure("import asyncio")
        return {
            "perdure ms": measure("import asyncio, perdure") - base,
            "perdure_runtime ms": measure("import asyncio, perdure_runtime") - base,
        }


def _resident() -> float:
    """KiB of this process's memory."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1024


def _cpu() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


# What is asked for: workload → figure → (bound, whether higher is better); ratios to the yardstick.
_SERVER: dict[str, dict[str, float]] = {"w1": {"workflows/s": 0.16}, "w2": {"activities/s": 0.4}}
RATIOS: dict[str, dict[str, dict[str, float]]] = {
    "sqlite": {
        "w1": {"workflows/s": 0.8},
        "w2": {"activities/s": 1.9},
        "w3": {"activities/s": 1.5},
        "w4": {"steps/s": 0.4},
    },
    "postgres": _SERVER,
    "mysql": _SERVER,
    "redis": {"w1": {"workflows/s": 0.25}, "w2": {"activities/s": 0.4}},
}
ONCE = {"w5", "w6", "idle", "imports", "replay", "guard"}


async def main(store: str, only: set[str], as_json: bool) -> None:
    """Measures and prints."""
    names = [
        *("w1", "w2", "lone", "w3", "w4", "w5", "w6", "tree", "replay", "idle", "imports"),
        *("ask", "near", "guard"),
    ]
    report: dict[str, Any] = {}
    with tempfile.TemporaryDirectory(dir=os.environ.get("BENCH_DIR")) as name:
        folder = Path(name)
        single = 0.0
        if store in SERVERS:
            single, bare = await SERVERS[store]()
            report["one connection/s"] = round(single)
        else:
            bare = await (yardstick_sqlite if store == "sqlite" else yardstick_memory)(folder)
        report["yardstick/s"] = round(bare)
        if not as_json:
            alone = f", {single:,.0f} on one connection" if single else ""
            print(f"{store}: yardstick {bare:,.0f} a second{alone}")
        bench = Bench(store, folder)
        for workload in names:
            if only and workload not in only:
                continue
            runs = [await getattr(bench, workload)() for _ in range(1 if workload in ONCE else 3)]
            figures = {key: statistics.median(r[key] for r in runs) for key in runs[0]}
            report[workload] = figures
            if as_json:
                continue
            shown = "  ".join(f"{value:,.3f} {key}" for key, value in figures.items())
            ratios = "".join(
                f"  = {figures[key] / bare:.2f} x yardstick (asked: {bound})"
                for key, bound in RATIOS.get(store, {}).get(workload, {}).items()
            )
            if single and workload == "lone":
                step = figures["p50 ms"] * single / 1000
                ratios = f"  = {step:.2f} bare commits (asked: at most 4.5)"
            print(f"  {workload:8} {shown}{ratios}", flush=True)
    if as_json:
        print(json.dumps(report))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--store", default="sqlite", choices=["sqlite", "memory", *SERVERS])
    parser.add_argument("--only", default="", help="workloads, separated by commas")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    chosen = {name.strip().lower() for name in options.only.split(",") if name.strip()}
    asyncio.run(main(options.store, chosen, options.json))
