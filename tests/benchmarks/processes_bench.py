"""Between processes: how soon the other one knows, and what a second worker adds.

``python tests/servers.py python tests/benchmarks/processes_bench.py --store postgres|mysql|redis``

- *start*: from a client's call in one process to the first turn in another, idle and busy.
- *activity*: from the end of an activity in one process to the workflow's next turn in another.
- *idle*: statements a second that two idle workers send together.
- *two workers*: W1 by one and by two worker processes beside a client, CPU for each workflow, and
  what the cores leave: cores / (Python CPU + server CPU for each workflow).
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import statistics
import subprocess
import sys
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parent))

import servers
from perdure import activity, side_effect, workflow
from perdure_runtime import Client, Worker, connect
from stores import statements_at

HERE = Path(__file__).parent
VARIABLES = {"postgres": servers.POSTGRES, "mysql": servers.MYSQL, "redis": servers.REDIS}
NAMES = {"postgres": "postgres", "mysql": "mariadbd", "redis": "redis-server"}
TICK = os.sysconf("SC_CLK_TCK")


@activity
async def ended() -> float:
    return time.time()


@activity
async def same(value: int) -> int:
    return value


@workflow
async def first_turn() -> float:
    return side_effect(time.time, float)


@workflow
async def after_activity() -> float:
    before = await ended.options(queue="activities")()
    return side_effect(time.time, float) - before


@workflow
async def one(value: int) -> int:
    return await same(value)


async def work(url: str, kind: str) -> None:
    """A worker process."""
    workflows: list[Any] = [] if kind == "activities" else [first_turn, after_activity, one]
    activities: list[Any] = [] if kind == "workflows" else [ended, same]
    queues = ["activities"] if kind == "activities" else ["default"]
    async with connect(url) as backend:
        await Worker(backend, workflows=workflows, activities=activities, queues=queues).run()


@asynccontextmanager
async def workers(
    client: Client, url: str, kinds: Sequence[str]
) -> AsyncGenerator[list[subprocess.Popen[bytes]]]:
    """Worker processes, ready."""
    before = len(await client.workers())
    command = [sys.executable, str(Path(__file__)), "--worker", url]
    made = [subprocess.Popen([*command, kind]) for kind in kinds]  # noqa: ASYNC220
    try:
        while len(await client.workers()) < before + len(kinds):  # noqa: ASYNC110
            await asyncio.sleep(0.05)
        yield made
    finally:
        for process in made:
            process.terminate()
        for process in made:
            await asyncio.to_thread(process.wait)


def percentiles(values: list[float]) -> str:
    values = sorted(1000 * value for value in values)
    return f"p50 {statistics.median(values):.1f} ms, p95 {values[int(len(values) * 0.95)]:.1f} ms"


async def latencies(client: Client, url: str) -> None:
    async with workers(client, url, ["workflows", "activities"]):
        await client.run(after_activity)

        async def start() -> float:
            begun = time.time()
            return await client.run(first_turn) - begun

        idle: list[float] = []
        for part in range(30):
            # Evenly spread over more than two of their looks, and in step with none.
            await asyncio.sleep(3.5 + (part + random.random()) / 30)
            idle.append(await start())
        print(f"  start, idle: {percentiles(idle)}")
        busy = [await start() for _ in range(300)]
        print(f"  start, busy: {percentiles(busy)}")
        print(f"  activity: {percentiles([await client.run(after_activity) for _ in range(300)])}")


async def idle(url: str, store: str) -> None:
    async with AsyncExitStack() as stack:
        async with connect(url) as backend:
            await stack.enter_async_context(workers(Client(backend), url, ["both", "both"]))
        # This process looks no more.
        await asyncio.sleep(12)  # statistics are behind, and looks become seldom
        first = await statements_at(store)
        before, begun = await statements_at(store), time.monotonic()
        await asyncio.sleep(15)
        after, seconds = await statements_at(store), time.monotonic() - begun
        counting = before - first
        print(f"  idle: {(after - before - counting) / seconds:.1f} statements/s of two workers")


def cpu(pids: Sequence[int]) -> float:
    """CPU seconds of processes so far."""
    total = 0
    for pid in pids:
        if not Path(f"/proc/{pid}").exists():
            continue
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        total += int(fields[11]) + int(fields[12])
    return total / TICK


def server_pids(name: str) -> list[int]:
    found: list[int] = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if (folder / "comm").read_text().strip() == name:
                found.append(int(folder.name))
        except OSError:
            continue
    return found


async def scaling(client: Client, url: str, store: str) -> None:
    cores = len(os.sched_getaffinity(0))
    count = 2000
    rates: list[float] = []
    for number in (1, 2):
        async with workers(client, url, ["both"] * number) as made:
            best = (0.0, 0.0, 0.0)
            for _ in range(3):
                pids = [os.getpid(), *(process.pid for process in made)]
                server = server_pids(NAMES[store])
                python_before, server_before = cpu(pids), cpu(server)
                begun = time.perf_counter()
                handles = await asyncio.gather(*(client.start(one, 1) for _ in range(count)))
                await asyncio.gather(*(handle.result() for handle in handles))
                rate = count / (time.perf_counter() - begun)
                python = (cpu(pids) - python_before) / count
                there = cpu(server) - server_before
                best = max(best, (rate, python, there / count))
            rate, python, there = best
            rates.append(rate)
            bound = cores / (python + there)
            print(
                f"  {number} worker{'s' * (number - 1)}: {rate:,.0f} workflows/s; for each "
                f"{1e6 * python:.0f} us Python, {1e6 * there:.0f} us server; {cores} cores leave "
                f"{bound:,.0f}/s: {rate / bound:.0%}"
            )
    print(f"  two workers to one: {rates[1] / rates[0]:.2f} x")


async def main(store: str, only: set[str]) -> None:
    server = os.environ[VARIABLES[store]]
    name = f"proc{os.getpid()}"
    option = {"postgres": f"schema={name}", "mysql": f"prefix={name}_", "redis": f"prefix={name}"}
    url = f"{server}?{option[store]}"
    print(store)
    if not only or "idle" in only:
        await idle(url, store)
    async with connect(url) as backend:
        client = Client(backend)
        if not only or "latencies" in only:
            await latencies(client, url)
        if not only or "scaling" in only:
            await scaling(client, url, store)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--worker"]:
        asyncio.run(work(sys.argv[2], sys.argv[3]))
        sys.exit()
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--store", required=True, choices=list(VARIABLES))
    parser.add_argument("--only", default="", help="latencies, idle, scaling")
    given = parser.parse_args()
    asyncio.run(main(given.store, {word for word in given.only.split(",") if word}))
