"""Running instances go to another store while their worker works and the mover is killed."""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from crash_flows import chain, go, listens, tree
from perdure_backends.records import Status
from perdure_runtime import Client, ListFilter, connect
from stores import store_url
from test_crashes import HERE, check_histories, start_worker

MOVERS = 12 if os.environ.get("CI") else 5


def perdure(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "perdure_runtime.cli", *arguments]


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(perdure(*arguments), capture_output=True, text=True, cwd=HERE)


def start(command: list[str]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(command, cwd=HERE, stdout=subprocess.PIPE)


async def runnable(client: Client) -> set[str]:
    """Instances that a worker of this store could run."""
    found = client.list(ListFilter(states=("running", "parked")))
    return {record.instance_id async for record in found}


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize(("source", "target"), [("sqlite", "postgres"), ("mysql", "redis-cluster")])
def test_one_copy_at_most_runs_whatever_breaks_off(
    source: str, target: str, tmp_path: Path
) -> None:
    url, other = (store_url(kind, tmp_path).partition("&migrate")[0] for kind in (source, target))
    rng = random.Random(11)

    async def main() -> None:
        async with connect(url) as one, connect(other) as two:
            here, there = Client(one), Client(two)
            names = [f"{kind}-{n}" for n in range(8) for kind in ("chain", "tree", "listens")]
            for name in names:
                if name.startswith("chain"):
                    await here.start(chain.options(id=name), 30)
                elif name.startswith("tree"):
                    await here.start(tree.options(id=name), 3)
                else:
                    handle = await here.start(listens.options(id=name), 3)
                    await handle.signal(go, 0)
            workers = [start_worker(url), start_worker(other)]
            try:
                await asyncio.sleep(1)
                for attempt in range(MOVERS):
                    command = perdure(
                        *("move", "--all", "--family", "--resume", "--to", other),
                        *("--backend", url, "--verify", "crash_flows", "--json"),
                    )
                    mover = start(command)
                    if attempt < MOVERS - 1:
                        await asyncio.sleep(rng.uniform(0.6, 1.8))
                        mover.send_signal(signal.SIGKILL)
                    await asyncio.to_thread(mover.communicate)
                    both = await runnable(here) & await runnable(there)
                    assert not both
                # What had left the source before it was resumed is named, to be found again.
                done = await asyncio.to_thread(
                    run,
                    *("move", *names, "--family", "--resume", "--to", other, "--backend", url),
                    "--json",
                )
                assert done.returncode == 0, done.stderr
                left = [r async for r in here.list()]
                assert left == []
                held = [r.instance_id async for r in there.list(ListFilter(states=("suspended",)))]
                for name in held:  # children are found by no name of ours
                    await there.handle_by_id(name).resume()
                for name in names:
                    if name.startswith("listens"):
                        for value in (1, 2):
                            await there.handle_by_id(name).signal(go, value)
                async with asyncio.timeout(90):
                    for name in names:
                        result = await there.handle_by_id(name).result()
                        expected: Any = 30 if name.startswith("chain") else 8
                        assert result == ([0, 1, 2] if name.startswith("listens") else expected)
                await check_histories(there)
            finally:
                for worker in workers:
                    worker.kill()
                    worker.wait()

    asyncio.run(main())


@pytest.mark.slow
def test_through_a_file(tmp_path: Path) -> None:
    url, other = f"sqlite:///{tmp_path}/one.db", f"sqlite:///{tmp_path}/two.db"
    file = tmp_path / "export.jsonl"

    async def main() -> None:
        async with connect(url) as one, connect(other) as two:
            here, there = Client(one), Client(two)
            worker = start_worker(url)
            try:
                assert await here.run(chain.options(id="done"), 3) == 3
                listener = await here.start(listens.options(id="open"), 2)
                await listener.signal(go, 1)
                async with asyncio.timeout(20):
                    while (await listener.describe()).turn < 1:  # noqa: ASYNC110
                        await asyncio.sleep(0.02)
                first = run("export", "--all", "-b", url, "-o", str(file))
                assert first.returncode == 1
                assert "open runs and was left out" in first.stderr
                second = run("export", "--all", "--suspend", "-b", url, "-o", str(file))
                assert second.returncode == 0, second.stderr
                assert await listener.state() == "suspended"
                checked = run(
                    "import", str(file), "-b", other, "--dry-run", "--verify", "crash_flows"
                )
                assert "2 instances can be taken in" in checked.stdout
                await listener.signal(go, 2)  # after the file was written, and not lost
                taken = run("import", str(file), "-b", other, "--json")
                assert json.loads(taken.stdout)["copied"] == ["open", "done"]
                assert (await there.handle_by_id("done").describe()).status is Status.COMPLETED
                assert await there.handle_by_id("open").state() == "suspended"
                again = run("import", str(file), "-b", other, "--source", url)
                assert again.returncode == 0, again.stderr
                assert again.stdout == "2 instances moved\n"
                assert [r async for r in here.list()] == []
            finally:
                worker.kill()
                worker.wait()
            worker = start_worker(other)
            try:
                assert await there.handle_by_id("open").result(timeout=30) == [1, 2]
            finally:
                worker.kill()
                worker.wait()

    asyncio.run(main())
