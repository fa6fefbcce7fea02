"""What a Redis loses that is killed: starts that were acknowledged and are not there afterwards.

``python tests/benchmarks/redis_loss.py [--seconds 5] [--rounds 3]``

A client starts instances one batch after the other, the server is killed with SIGKILL and started
again. A process that is killed leaves what it has written to the system's cache, so `everysec`
loses next to nothing here; when the machine itself goes down, it loses what was not synchronized,
about a second. Stock settings write snapshots only.
"""

from __future__ import annotations

import argparse
import asyncio
import shutil
import signal
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parent))

import servers
from bench_flows import one
from perdure import BackendError
from perdure_runtime import Client, connect

SETTINGS = {
    "stock (snapshots)": ("--save", "3600 1 300 100 60 10000"),
    "appendfsync everysec": ("--appendonly", "yes", "--appendfsync", "everysec"),
    "appendfsync always": ("--appendonly", "yes", "--appendfsync", "always"),
}


async def measure(options: tuple[str, ...], folder: Path, seconds: float) -> tuple[int, int]:
    """How many starts were acknowledged, and how many of them were lost."""
    server, url = servers.redis(folder, *options)
    server.start()
    accepted: list[str] = []
    async with connect(url) as backend:
        client = Client(backend, patience=0.1)

        async def load() -> None:
            while True:
                try:
                    handles = await asyncio.gather(*(client.start(one, 1) for _ in range(20)))
                except BackendError:
                    return
                accepted.extend(handle.id for handle in handles)

        loading = asyncio.create_task(load())
        await asyncio.sleep(seconds)
        await asyncio.to_thread(server.kill, signal.SIGKILL)
        await loading
        await asyncio.to_thread(server.start)
        try:
            there = await listed(client)
        finally:
            server.kill(signal.SIGKILL)
    return len(accepted), len(set(accepted) - there)


async def listed(client: Client) -> set[str]:
    """Ids of what is there, once the server has read its files."""
    async with asyncio.timeout(60):
        while True:
            try:
                return {record.instance_id async for record in client.list(page_size=1000)}
            except BackendError:
                await asyncio.sleep(0.1)


async def main(seconds: float, rounds: int) -> None:
    for name, options in SETTINGS.items():
        for _ in range(rounds):
            folder = Path(tempfile.mkdtemp(prefix="perdure-loss-"))
            count, lost = await measure(options, folder, seconds)
            print(f"{name}: {lost:,} of {count:,} acknowledged starts lost")
            shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    asyncio.run(main(given.seconds, given.rounds))
