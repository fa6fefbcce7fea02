"""Trouble in a row: workers killed and frozen, a server killed, many instances and queues.

``python tests/crash/soak.py --store postgres [--workflows 2000] [--kills 100] [--restarts 5]
[--freezes 3] [--seed 1] [--crowd 10000] [--queues 100]`` starts a server of its own (Redis with
``appendfsync always``), four worker processes, and checks at the end that every result is right,
that each history replays and holds each outcome once, and that nothing is left behind. The seed
decides when what happens to whom.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parent))

import servers
from crash_flows import chain, fan, go, listens, tree
from perdure_backends.records import Pending
from perdure_runtime import Client, connect
from servers import Server
from test_crashes import HERE, check_histories

WORKERS = 4
AT_ONCE = 40
LEASE = 2.0


def durable_redis(folder: Path) -> tuple[list[Server], str]:
    server, url = servers.redis(folder, "--appendonly", "yes", "--appendfsync", "always")
    server.start()
    return [server], url


def durable_cluster(folder: Path) -> tuple[list[Server], str]:
    made, url = servers.redis_cluster(folder, "--appendonly", "yes", "--appendfsync", "always")
    return made, f"{url}?shards=8"


def postgres(folder: Path) -> tuple[list[Server], str]:
    server, url = servers.postgres(folder)
    server.start()
    return [server], url


def mysql(folder: Path) -> tuple[list[Server], str]:
    server, url = servers.mysql(folder)
    server.start()
    servers.create_database(server)
    return [server], url


STORES: dict[str, Callable[[Path], tuple[list[Server], str]]] = {
    "postgres": postgres,
    "mysql": mysql,
    "redis": durable_redis,
    "redis-cluster": durable_cluster,
}


class Soak:
    """One store under trouble."""

    def __init__(self, options: argparse.Namespace, made: list[Server], url: str) -> None:
        self.options = options
        self.servers = made
        self.url = url
        self.rng = random.Random(options.seed)
        self.workers = [self.start_worker() for _ in range(WORKERS)]
        self.did: dict[str, int] = dict.fromkeys(("kills", "freezes", "restarts"), 0)

    def start_worker(self) -> subprocess.Popen[bytes]:
        command = [
            *(sys.executable, "-m", "perdure_runtime.cli", "worker", "crash_flows"),
            *("--backend", self.url, "--log-level", "CRITICAL", "--lease", str(LEASE)),
            *(option for n in range(self.options.queues) for option in ("--queue", f"q{n}")),
        ]
        return subprocess.Popen(command, cwd=HERE, stderr=subprocess.DEVNULL)

    async def run_one(self, client: Client, number: int) -> None:
        """One workflow, on one of the queues, whatever happens meanwhile."""
        name, queue = f"soak-{number}", f"q{number % self.options.queues}"
        kind = number % 4
        if kind == 0:
            assert await client.run(chain.options(id=name, queue=queue), 8) == 8
        elif kind == 1:
            assert await client.run(fan.options(id=name, queue=queue), 12) == 78
        elif kind == 2:
            assert await client.run(tree.options(id=name, queue=queue), 2) == 4
        else:
            handle = await client.start(listens.options(id=name, queue=queue), 4)
            for value in range(4):
                await handle.signal(go, value)
            assert await handle.result() == list(range(4))

    async def kill(self) -> None:
        place = self.rng.randrange(WORKERS)
        self.workers[place].kill()
        self.workers[place].wait()
        self.workers[place] = self.start_worker()
        self.did["kills"] += 1

    async def freeze(self) -> None:
        """Past its lease; what it does afterwards must be refused, and harm nobody."""
        victim = self.workers[self.rng.randrange(WORKERS)]
        victim.send_signal(signal.SIGSTOP)
        await asyncio.sleep(LEASE + 1)
        victim.send_signal(signal.SIGCONT)
        self.did["freezes"] += 1

    async def restart(self) -> None:
        server = self.rng.choice(self.servers)
        how = self.rng.choice([signal.SIGKILL, server.stop_signal])
        await asyncio.to_thread(server.kill, how)
        await asyncio.sleep(self.rng.uniform(0.0, 0.5))
        await asyncio.to_thread(server.start)
        self.did["restarts"] += 1

    async def trouble(self) -> None:
        """Kills, freezes and restarts in an order that the seed decides."""
        plan = [self.kill] * self.options.kills
        plan += [self.freeze] * self.options.freezes + [self.restart] * self.options.restarts
        self.rng.shuffle(plan)
        for step in plan:
            await asyncio.sleep(self.rng.uniform(0.1, 0.5))
            await step()

    async def main(self) -> dict[str, Any]:
        """Runs all of it."""
        begun = time.monotonic()
        options = self.options
        async with connect(self.url) as backend:
            client = Client(backend, patience=120)
            numbers = iter(range(options.workflows))

            async def load() -> None:
                for number in numbers:
                    await self.run_one(client, number)

            troubles = asyncio.create_task(self.trouble())
            loads = [asyncio.create_task(load()) for _ in range(AT_ONCE)]
            await asyncio.gather(*loads)
            crowd = [
                chain.options(id=f"crowd-{n}", queue=f"q{n % options.queues}")
                for n in range(options.crowd)
            ]
            for start in range(0, len(crowd), 500):
                handles = await asyncio.gather(
                    *(client.start(flow, 1) for flow in crowd[start : start + 500])
                )
                assert len(handles) == len(crowd[start : start + 500])
            await troubles
            for flow in crowd:
                name = flow.default_options.id or ""
                assert await client.handle(name, chain).result(timeout=300) == 1
            records = [record async for record in client.list(page_size=1000)]
            states = {record.state for record in records}
            assert states == {"completed"}, states
            await check_histories(client)
            for record in records:
                assert await backend.pending(record.run_id) == Pending()
        return {**self.did, "instances": len(records), "seconds": round(time.monotonic() - begun)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--store", choices=list(STORES), required=True)
    parser.add_argument("--workflows", type=int, default=2000)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--restarts", type=int, default=5)
    parser.add_argument("--freezes", type=int, default=3)
    parser.add_argument("--crowd", type=int, default=10_000, help="instances that wait at once")
    parser.add_argument("--queues", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="perdure-soak-"))
    folder.chmod(0o755)
    made, url = STORES[options.store](folder / "server")
    soak = Soak(options, made, url)
    try:
        print(options.store, asyncio.run(soak.main()), "seed", options.seed)
    finally:
        for worker in soak.workers:
            worker.kill()
            worker.wait()
        for server in made:
            server.kill(signal.SIGKILL)
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
