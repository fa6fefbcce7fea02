"""Real worker processes, killed with SIGKILL, on each store that processes can share."""

from __future__ import annotations

import asyncio
import collections
import os
import random
import signal
import sqlite3
import subprocess
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from crash_flows import chain, fan, go, hires_a_killer, is_a_killer, listens, tree, two_slow
from perdure import DataConverter
from perdure_backends import history as h
from perdure_backends.records import Pending
from perdure_runtime import Client, ListFilter, connect
from perdure_runtime._core import Execution
from stores import store_url

HERE = Path(__file__).parent
KILLS = 100 if os.environ.get("CI") else 30


SHARED = ["sqlite", "postgres", "mysql", "redis", "redis-cluster"]
"""Stores that several processes can use."""


@pytest.fixture(params=SHARED)
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A fresh store with its stock durable settings."""
    return store_url(request.param, tmp_path).replace("?synchronous=NORMAL", "")


def start_worker(url: str, *options: str) -> subprocess.Popen[bytes]:
    """A worker process for the flows of this folder."""
    command = [
        *(sys.executable, "-m", "perdure_runtime.cli", "worker", "crash_flows"),
        *("--backend", url, "--log-level", "CRITICAL", *options),
    ]
    return subprocess.Popen(command, cwd=HERE, stderr=subprocess.DEVNULL)


@asynccontextmanager
async def keep_running(url: str, *options: str) -> AsyncGenerator[list[int]]:
    """A worker that is started again whenever it dies; gives the list of its exit codes."""
    codes: list[int] = []
    worker = start_worker(url, *options)

    async def watch() -> None:
        nonlocal worker
        while True:
            code = worker.poll()
            if code is not None:
                codes.append(code)
                worker = start_worker(url, *options)
            await asyncio.sleep(0.02)

    watcher = asyncio.create_task(watch())
    try:
        yield codes
    finally:
        watcher.cancel()
        worker.kill()
        worker.wait()


async def check_histories(client: Client) -> None:
    """Each history can be replayed, and no outcome was applied twice."""
    flows: dict[str, Any] = {flow.name: flow for flow in (chain, fan, tree, listens)}
    async for record in client.list(ListFilter(all_runs=True)):
        execution = Execution(
            flows[record.workflow],
            instance_id=record.instance_id,
            run_id=record.run_id,
            started_at=record.started_at,
            converter=DataConverter(),
            strict=True,
        )
        seen: collections.Counter[int] = collections.Counter()
        async for turn in client.handle_by_id(record.instance_id).history():
            fault = execution.replay(turn)
            assert fault is None, fault
            for event in turn.events:
                if isinstance(event, (h.ActivityCompleted, h.TimerFired, h.ChildCompleted)):
                    seen[event.number] += 1
        assert max(seen.values(), default=1) == 1
        execution.close()


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_random_kills_lose_and_double_nothing(url: str) -> None:
    rng = random.Random(5)

    async def main() -> None:
        async with connect(url) as backend:
            client = Client(backend)
            stop = asyncio.Event()

            async def load(number: int) -> None:
                """Starts one workflow after the other while workers are being killed."""
                count = 0
                while not stop.is_set():
                    name = f"{number}-{count}"
                    count += 1
                    kind = rng.choice(["chain", "fan", "tree", "listens"])
                    if kind == "chain":
                        length = rng.randint(3, 12)
                        assert await client.run(chain.options(id=name), length) == length
                    elif kind == "fan":
                        width = rng.randint(5, 40)
                        expected = width * (width + 1) // 2
                        assert await client.run(fan.options(id=name), width) == expected
                    elif kind == "tree":
                        assert await client.run(tree.options(id=name), 3) == 8
                    else:
                        handle = await client.start(listens.options(id=name), 5)
                        for value in range(5):
                            await handle.signal(go, value)
                        assert await handle.result() == list(range(5))

            loads = [asyncio.create_task(load(i)) for i in range(12)]
            workers = [start_worker(url) for _ in range(2)]
            for kill in range(KILLS):
                await asyncio.sleep(rng.uniform(0.1, 0.6))
                victim = workers[kill % 2]
                victim.send_signal(signal.SIGKILL)
                victim.wait()
                workers[kill % 2] = start_worker(url)
            stop.set()
            await asyncio.wait_for(asyncio.gather(*loads), 60)
            for worker in workers:
                worker.terminate()
                # One that was just started may not have come to handling signals yet.
                assert worker.wait(30) in (0, -signal.SIGTERM)
            finished = [record async for record in client.list()]
            assert len(finished) > KILLS / 2
            assert {record.state for record in finished} == {"completed"}
            await check_histories(client)
            for record in finished:
                assert await backend.pending(record.run_id) == Pending()

    asyncio.run(main())
    if not url.startswith("sqlite:"):
        return
    with sqlite3.connect(url.removeprefix("sqlite:///")) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        for table in ("activities", "timers", "inbox"):
            assert connection.execute(f"SELECT count(*) FROM {table}").fetchone() == (0,)
    connection.close()


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["exit", "fault"])
def test_an_activity_that_kills_its_worker_fails_and_other_work_goes_on(
    url: str, tmp_path: Path, kind: str
) -> None:
    note = tmp_path / "note"

    async def main() -> None:
        async with connect(url) as backend, keep_running(url) as codes:
            client = Client(backend)
            killer = await client.start(hires_a_killer, kind, str(note))
            assert await killer.result(timeout=60) == "WorkerCrashed"
            assert await client.run(chain, 5) == 5
            assert len(codes) == len(note.read_text()) == 3

    asyncio.run(main())


@pytest.mark.slow
def test_a_workflow_that_kills_its_worker_is_parked(url: str, tmp_path: Path) -> None:

    async def main() -> None:
        async with connect(url) as backend, keep_running(url, "--no-guard"):
            client = Client(backend)
            killer = await client.start(is_a_killer, str(tmp_path / "note"))
            async with asyncio.timeout(60):
                while await killer.state() != "parked":  # noqa: ASYNC110
                    await asyncio.sleep(0.05)
            park = (await killer.describe()).park
            assert park is not None
            assert park.reason == "crashes"
            assert await client.run(chain, 5) == 5

    asyncio.run(main())


@pytest.mark.slow
def test_a_killed_workers_work_is_taken_over_long_before_its_lease_ends(url: str) -> None:
    async def main() -> None:
        async with connect(url) as backend:
            client = Client(backend)
            first = start_worker(url, "--lease", "3600")
            handle = await client.start(two_slow, 0.3)
            async with asyncio.timeout(30):
                while not (await handle.pending()).activities:  # noqa: ASYNC110
                    await asyncio.sleep(0.01)
            second = start_worker(url, "--lease", "3600")
            first.kill()
            first.wait()
            assert await handle.result(timeout=60) == [second.pid, second.pid]
            second.terminate()
            assert second.wait(30) == 0

    asyncio.run(main())


@pytest.mark.slow
def test_a_frozen_worker_comes_back_to_find_its_work_taken(url: str) -> None:

    async def main() -> None:
        async with connect(url) as backend:
            client = Client(backend)
            first = start_worker(url, "--lease", "1")
            handle = await client.start(two_slow, 0.5)
            async with asyncio.timeout(30):
                while not (await handle.pending()).activities:  # noqa: ASYNC110
                    await asyncio.sleep(0.01)
            first.send_signal(signal.SIGSTOP)
            second = start_worker(url, "--lease", "1")
            result = await handle.result(timeout=60)
            assert result == [second.pid, second.pid]
            first.send_signal(signal.SIGCONT)
            assert await client.run(chain, 3) == 3
            for worker in (first, second):
                worker.terminate()
                assert worker.wait(30) == 0

    asyncio.run(main())
