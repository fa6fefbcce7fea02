"""What is too large for a server, connections that break at any byte, and the quiet of idleness."""

from __future__ import annotations

import asyncio
import random
import tempfile
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
import servers
from perdure import PayloadTooLargeError, activity, workflow
from perdure_backends import Backend
from perdure_backends._urls import Location
from perdure_backends.history import ActivityCompleted
from perdure_runtime import Client, ListFilter, Worker, connect
from stores import store_url, url_of

SERVERS = ["postgres", "mysql", "redis"]
VARIABLES = {"postgres": servers.POSTGRES, "mysql": servers.MYSQL, "redis": servers.REDIS}
PORTS = {"postgres": 5432, "mysql": 3306, "redis": 6379}


@activity
async def echo(value: str) -> str:
    return value


@workflow
async def echoes(value: str) -> int:
    return len(await echo(value))


@workflow
async def chain(value: int, length: int) -> str:
    text = str(value)
    for _ in range(length):
        text = await echo(text)
    return text


@workflow
async def grows(size: int, count: int) -> int:
    texts = await asyncio.gather(*(echo("x" * size) for _ in range(count)))
    return sum(map(len, texts))


FLOWS: list[Any] = [echoes, chain, grows]


@pytest.mark.parametrize("store", [*SERVERS, "redis-cluster"])
def test_many_large_payloads_at_once(store: str, tmp_path: Path) -> None:
    """Together they are more than a packet of MariaDB's default size."""
    size = 1_900_000

    async def main() -> None:
        async with (
            connect(store_url(store, tmp_path)) as backend,
            Worker(backend, workflows=FLOWS, activities=[echo]),
        ):
            client = Client(backend)
            runs = (client.run(echoes, "é" * (size // 2)) for _ in range(12))
            assert await asyncio.gather(*runs) == [size // 2] * 12

    asyncio.run(main())


def narrow(backend: Backend, store: str, size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The server takes no more in one row."""
    database: Any = getattr(backend, "_database")  # noqa: B009  (not a part of the contract)
    if store == "mysql":
        database._packet = 2 * size + 65_536
    else:
        kind: Any = database.__class__
        monkeypatch.setattr(kind, "largest", property(lambda _: size))


@pytest.mark.parametrize("store", SERVERS)
def test_what_the_server_would_not_take(
    store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def main() -> None:
        async with (
            connect(store_url(store, tmp_path)) as backend,
            Worker(backend, workflows=FLOWS, activities=[echo]),
        ):
            client = Client(backend)
            narrow(backend, store, 400_000, monkeypatch)
            with pytest.raises(
                PayloadTooLargeError, match=r"500,\d+ bytes; the server of .* takes"
            ):
                await client.start(echoes, "x" * 500_000)
            assert await client.run(echoes, "x" * 150_000) == 150_000
            # A turn that can't be written parks: it would be refused again and again.
            handle = await client.start(grows, 100_000, 10)
            async with asyncio.timeout(20):
                while await handle.state() != "parked":  # noqa: ASYNC110
                    await asyncio.sleep(0.02)
            park = (await handle.describe()).park
            assert park is not None
            assert park.reason == "payload"
            assert "a turn has 1,0" in park.message
            assert await client.run(grows, 100_000, 2) == 200_000

    asyncio.run(main())


class Cutting:
    """A proxy that breaks connections after so many bytes, in the middle of whatever is said."""

    def __init__(self, host: str, port: int, seed: int) -> None:
        self.target = (host, port)
        self.rng = random.Random(seed)
        self.cutting = False
        self.cuts = 0
        self._tasks: set[asyncio.Task[None]] = set()

    async def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            there, back = await asyncio.open_connection(*self.target)
        except OSError:
            writer.close()
            return
        left = [200 + int(self.rng.expovariate(1 / 60_000))]

        async def pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
            with suppress(OSError):
                while data := await source.read(65_536):
                    if self.cutting:
                        if len(data) >= left[0]:
                            sink.write(data[: left[0]])  # the rest is lost
                            self.cuts += 1
                            break
                        left[0] -= len(data)
                    sink.write(data)
                    await sink.drain()
            for one in (writer, back):
                one.close()

        pumps = [asyncio.create_task(pump(reader, back)), asyncio.create_task(pump(there, writer))]
        self._tasks.update(pumps)
        try:
            await asyncio.wait(pumps)
        finally:
            for one in pumps:
                one.cancel()
            self._tasks.difference_update(pumps)


@asynccontextmanager
async def cutting_proxy(store: str, url: str) -> AsyncGenerator[tuple[Cutting, str]]:
    """A proxy before a store's server, and the store's URL through it."""
    target = Location.parse(url_of(VARIABLES[store]))
    ((host, port),) = target.nodes(PORTS[store])
    cutting = Cutting(host, port, seed=17)
    server = await asyncio.start_server(cutting.accept, "127.0.0.1", 0)
    own = server.sockets[0].getsockname()[1]
    try:
        yield cutting, url.replace(f":{port}", f":{own}")
    finally:
        server.close()


@pytest.mark.slow
@pytest.mark.parametrize("store", SERVERS)
def test_connections_that_break_at_any_byte(store: str, tmp_path: Path) -> None:
    """Whether a commit was done is found out; none is done twice, and nothing is lost."""
    count, length = 60, 8

    async def main() -> None:
        url = store_url(store, tmp_path)
        async with cutting_proxy(store, url) as (proxy, cut), connect(cut) as backend:
            async with Worker(backend, workflows=FLOWS, activities=[echo], lease=5.0):
                client = Client(backend)
                proxy.cutting = True
                async with asyncio.timeout(60):
                    runs = (client.run(chain.options(id=f"{n}"), n, length) for n in range(count))
                    assert await asyncio.gather(*runs) == [str(n) for n in range(count)]
                proxy.cutting = False
            assert proxy.cuts > 10
        async with connect(url) as backend:
            found = [record async for record in Client(backend).list(ListFilter(all_runs=True))]
            assert len(found) == count
            for record in found:
                handle = Client(backend).handle_by_id(record.instance_id)
                done = [
                    event.number
                    async for turn in handle.history()
                    for event in turn.events
                    if isinstance(event, ActivityCompleted)
                ]
                assert len(done) == len(set(done)) == length

    asyncio.run(main())


@contextmanager
def counted(store: str) -> Generator[tuple[str, Callable[[], int]]]:
    """A server of the test's own, and how many statements it has got so far."""
    url_of(VARIABLES[store])
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder)
        path.chmod(0o755)
        log = path / "server" / "general.log"
        if store == "postgres":
            server, url = servers.postgres(path / "server")
            server.command += ["-c", "log_statement=all"]
        elif store == "mysql":
            server, url = servers.mysql(path / "server")
            server.command += ["--general-log", f"--general-log-file={log}"]
        else:
            server, url = servers.redis(path / "server")
        server.start()
        try:
            if store == "mysql":
                servers.create_database(server)
                yield url, lambda: log.read_text(errors="replace").count(" Query\t")
            elif store == "postgres":
                yield url, lambda: server.log.read_text().count("LOG:  ")
            else:
                yield url, lambda: reads(url)
        finally:
            server.kill(9)


def reads(url: str) -> int:
    """What a Redis has read from its clients; its scripts count each command within."""
    import redis

    make: Any = getattr(redis.Redis, "from_url")  # noqa: B009  (partly untyped)
    with make(url) as client:
        return int(client.info("stats")["total_reads_processed"])


@pytest.mark.slow
@pytest.mark.parametrize("store", SERVERS)
def test_two_idle_workers_leave_the_server_in_peace(store: str) -> None:
    seconds = 16 if store == "mysql" else 8  # its looks are near to the limit: count them longer

    async def main(url: str, count: Callable[[], int]) -> None:
        async with (
            connect(url) as one,
            connect(url) as two,
            Worker(one, workflows=FLOWS, activities=[echo]),
            Worker(two, workflows=FLOWS, activities=[echo]),
        ):
            # Until nothing is likely to happen any more, and sessions have been renewed once, for
            # which they open a connection.
            await asyncio.sleep(6.5)
            before = count()
            await asyncio.sleep(seconds)
            assert count() - before < 5 * seconds

    with counted(store) as (url, count):
        asyncio.run(main(url, count))
