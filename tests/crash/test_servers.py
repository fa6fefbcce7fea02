"""The database server itself is killed and started again while workers and clients use it."""

from __future__ import annotations

import asyncio
import random
import shutil
import signal
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import servers
from crash_flows import chain, fan, listens
from crash_flows import go as go_on
from perdure_backends.records import Pending
from perdure_runtime import Client, connect
from servers import Server
from test_crashes import check_histories, start_worker

ROUNDS = 5

Make = Callable[[Path], tuple[Server, str]]


@pytest.fixture
def public_folder() -> Iterator[Path]:
    """An empty folder that everybody can enter; pytest's own are the user's alone."""
    folder = Path(tempfile.mkdtemp(prefix="perdure-test-"))
    folder.chmod(0o755)
    yield folder / "server"
    shutil.rmtree(folder, ignore_errors=True)


def made(make: Make, folder: Path) -> tuple[Server, str]:
    """A server of the test's own."""
    try:
        server, url = make(folder)
    except servers.MissingError as error:
        pytest.skip(str(error))
    server.start()
    if make is servers.mysql:
        servers.create_database(server)
    return server, url


def durable_redis(folder: Path) -> tuple[Server, str]:
    """A Redis that keeps what it has acknowledged."""
    return servers.redis(folder, "--appendonly", "yes", "--appendfsync", "always")


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    "make", [servers.postgres, servers.mysql, durable_redis], ids=["postgres", "mysql", "redis"]
)
@pytest.mark.parametrize("killed", [True, False], ids=["killed", "stopped"])
def test_a_server_that_goes_away_and_comes_back(
    make: Make, killed: bool, public_folder: Path
) -> None:
    server, url = made(make, public_folder)
    how = signal.SIGKILL if killed else server.stop_signal
    rng = random.Random(7)

    async def main() -> None:
        stop = asyncio.Event()

        async with connect(url) as backend:
            client = Client(backend)

            async def load(number: int) -> int:
                """One workflow after the other; an outage is a delay, and nothing else."""
                count = 0
                while not stop.is_set():
                    name = f"{number}-{count}"
                    if count % 3 == 0:
                        assert await client.run(chain.options(id=name), 6) == 6
                    elif count % 3 == 1:
                        assert await client.run(fan.options(id=name), 10) == 55
                    else:
                        listener = await client.start(listens.options(id=name), 3)
                        for value in range(3):
                            await listener.signal(go_on, value)
                        assert await listener.result() == [0, 1, 2]
                    count += 1
                return count

            # One that finds no server when it begins says so and ends; these shall be at work.
            async with asyncio.timeout(60):
                while len(await client.workers()) < 2:  # noqa: ASYNC110
                    await asyncio.sleep(0.05)
            loads = [asyncio.create_task(load(i)) for i in range(8)]
            for _ in range(ROUNDS):
                await asyncio.sleep(rng.uniform(0.5, 1.5))
                await asyncio.to_thread(server.kill, how)
                await asyncio.sleep(rng.uniform(0.0, 0.5))
                await asyncio.to_thread(server.start)
            await asyncio.sleep(1)
            stop.set()
            async with asyncio.timeout(90):
                counts = await asyncio.gather(*loads)
            assert sum(counts) > 8 * ROUNDS / 2
            finished = [record async for record in client.list()]
            assert len(finished) == sum(counts)
            assert {record.state for record in finished} == {"completed"}
            await check_histories(client)
            for record in finished:
                assert await backend.pending(record.run_id) == Pending()

    workers = [start_worker(url) for _ in range(2)]
    try:
        asyncio.run(main())
        for worker in workers:
            worker.terminate()
            assert worker.wait(40) == 0
    finally:
        for worker in workers:
            worker.kill()
            worker.wait()
        server.kill(signal.SIGKILL)
