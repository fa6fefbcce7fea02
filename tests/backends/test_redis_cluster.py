"""A store in shards, on a Redis Cluster: what goes between shards, moving slots, wrong numbers."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import servers
from perdure import BackendError, BackendFormatError, BackendUnavailableError
from perdure_backends import open_backend
from perdure_backends.conformance import Harness, TestClock
from perdure_backends.history import Parent
from perdure_backends.records import ChildStart, Delivery, Message
from perdure_backends.redis import ShardedRedisBackend
from perdure_backends.redis._database import shard_of
from perdure_backends.redis._keys import Keys
from perdure_backends.redis._server import slot_of
from perdure_runtime import Client, Worker, connect
from perdure_runtime.conformance import _children as children
from stores import store_url, url_of

SHARDS = 3


def cluster_url(folder: Path) -> str:
    """A fresh store of three shards."""
    return store_url("redis-cluster", folder)


def sharded(url: str, clock: TestClock) -> ShardedRedisBackend:
    backend = open_backend(url)
    assert isinstance(backend, ShardedRedisBackend)
    backend.use_clock(clock)
    return backend


def name_in(shard: int, prefix: str) -> str:
    """An id that lies in a shard."""
    names = (f"{prefix}{n}" for n in range(1000))
    return next(name for name in names if shard_of(name, SHARDS) == shard)


def test_where_an_instance_lies_never_changes() -> None:
    assert [shard_of(name, 8) for name in ("a", "order-17", "ä")] == [2, 0, 4]
    assert {shard_of(f"{n}", 8) for n in range(100)} == set(range(8))


def test_what_was_not_relayed_is_relayed_by_the_next_sweep(tmp_path: Path) -> None:
    """The worker dies between the commit and the delivery: starts, messages, ends."""
    clock = TestClock()
    parent, child, other = name_in(0, "parent"), name_in(1, "child"), name_in(2, "other")

    async def main() -> None:
        backend = sharded(cluster_url(tmp_path), clock)
        await backend.open()
        relays = [shard.relay for shard in backend.shards]

        def dead(*, dead: bool) -> None:
            for shard, relay in zip(backend.shards, relays, strict=True):
                shard.relay = None if dead else relay

        t = Harness(backend, clock)
        await t.session()
        await t.start(parent, run_id="p")
        await t.start(other, run_id="o", queue="elsewhere")
        task = await t.claim_one()
        start = t.request(child, run_id="c", parent=Parent(parent, "p", 1), parent_close="cancel")
        message = Message(instance_id=other, message_id="m", entry=b"hello")
        lost = Message(instance_id=name_in(2, "nobody"), message_id="n", entry=b"hello")
        dead(dead=True)
        await t.applied(
            task,
            outbox=(
                ChildStart(request=start, refused=b"refused"),
                Delivery(message=message, accepted=b"yes", refused=b"no"),
                Delivery(message=lost, accepted=b"yes", refused=b"no"),
            ),
        )
        assert await backend.describe(child) is None
        dead(dead=False)
        await t.backend.sweep("s1", 10)
        assert await backend.describe(child) is None  # its worker may still be about to
        clock.advance(3)
        report = await t.backend.sweep("s1", 10)
        assert await backend.describe(child) is not None
        assert report.next_due is None or report.next_due > clock.time
        claimed = await t.claim(queues=("default", "elsewhere"))
        inboxes = {one.instance_id: [e.entry for e in one.inbox] for one in claimed.tasks}
        assert inboxes[parent] == [b"yes", b"no"]
        assert inboxes[other][-1] == b"hello"
        # The end of the parent: its child, in another shard, hears of it once.
        tasks = {one.instance_id: one for one in claimed.tasks}
        await t.applied(tasks[child])
        dead(dead=True)
        await t.applied(tasks[parent], finish=t.finish(tasks[parent]))
        await t.claim_none()
        dead(dead=False)
        clock.advance(3)
        await t.backend.sweep("s1", 10)
        await t.backend.sweep("s1", 10)
        told = await t.claim_one()
        assert told.instance_id == child
        assert len(told.inbox) == 1
        assert [await shard.posted() for shard in backend.shards] == [[], [], []]
        await backend.aclose()

    asyncio.run(main())


def test_relayed_twice_at_once_arrives_once_and_in_order(tmp_path: Path) -> None:
    clock = TestClock()
    sender, receiver = name_in(0, "sender"), name_in(1, "receiver")

    async def main() -> None:
        url = cluster_url(tmp_path)
        backend, other = sharded(url, clock), sharded(url, clock)
        await backend.open()
        await other.open()
        t = Harness(backend, clock)
        await t.session()
        await t.start(receiver, queue="elsewhere")
        await t.start(sender)
        task = await t.claim_one()
        relay = backend.shards[0].relay
        backend.shards[0].relay = None
        await t.applied(
            task,
            outbox=tuple(
                Delivery(
                    message=Message(instance_id=receiver, message_id=f"m{n}", entry=b"%d" % n),
                    accepted=b"accepted %d" % n,
                )
                for n in range(300)
            ),
        )
        others = other.shards[0].relay
        assert relay is not None
        assert others is not None
        await asyncio.gather(relay({sender}), others({sender}), relay({sender}))
        assert await backend.shards[0].posted() == []
        got = await t.claim_one(queues=("elsewhere",))
        assert [entry.entry for entry in got.inbox[1:]] == [b"%d" % n for n in range(300)]
        answers = await t.claim_one()
        assert [entry.entry for entry in answers.inbox] == [b"accepted %d" % n for n in range(300)]
        await backend.aclose()
        await other.aclose()

    asyncio.run(main())


DIES = """
import asyncio, sys
from perdure_backends import open_backend
from perdure_backends.records import SessionStart

async def main():
    backend = open_backend(sys.argv[1])
    await backend.open()
    await backend.open_session(SessionStart(id="dead", build="b", lease=3_600_000_000))
    print("open", flush=True)
    await asyncio.sleep(600)

asyncio.run(main())
"""


def test_shards_find_a_killed_process_dead_one_after_the_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever is first leaves the others their proof."""
    monkeypatch.setattr("perdure_backends._relational._glances._SEEN_FREE", 0.0)
    url = cluster_url(tmp_path)
    with subprocess.Popen([sys.executable, "-c", DIES, url], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"open\n"
        process.kill()

    async def main() -> None:
        backend = open_backend(url)
        assert isinstance(backend, ShardedRedisBackend)
        await backend.open()
        lost = [(await shard.sweep("survivor", 10)).sessions_lost for shard in backend.shards]
        assert lost == [("dead",)] * SHARDS
        await backend.aclose()

    asyncio.run(main())


def test_the_number_of_shards_is_fixed(tmp_path: Path) -> None:
    url = cluster_url(tmp_path)

    async def opened(url: str) -> None:
        async with connect(url):
            pass

    asyncio.run(opened(url))
    with pytest.raises(BackendFormatError, match=r"created with 3 shards, not 5.*\?shards=3"):
        asyncio.run(opened(url.replace("shards=3", "shards=5")))
    single = f"{url_of(servers.REDIS)}?prefix=fixed{os.getpid()}"
    asyncio.run(opened(single))
    with pytest.raises(BackendFormatError, match="created with 1 shards, not 2"):
        asyncio.run(opened(f"{single}&shards=2"))


def test_a_node_of_a_cluster_is_no_single_server() -> None:
    url = url_of(servers.CLUSTER).replace("redis+cluster", "redis")

    async def opened() -> None:
        async with connect(url):
            pass

    with pytest.raises(BackendError, match=r"node of a Redis Cluster; write redis\+cluster://"):
        asyncio.run(opened())


@pytest.fixture
def own_cluster() -> Iterator[tuple[list[servers.Server], str]]:
    """A cluster of the test's own, with a node that holds nothing."""
    url_of(servers.CLUSTER)
    with tempfile.TemporaryDirectory() as folder:
        made, url = servers.redis_cluster(Path(folder))
        try:
            yield made, url
        finally:
            for server in made:
                server.kill(signal.SIGKILL)


def cli(port: str, *command: str) -> str:
    done = subprocess.run(
        [servers.program("redis-cli"), "-p", port, *command],
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.strip()


def holder(ports: dict[str, str], slot: int) -> str:
    """The port of the node that holds a slot."""
    port = next(iter(ports))
    for line in cli(port, "cluster", "nodes").splitlines():
        node, *_ = fields = line.split()
        for span in fields[8:]:
            first, _, last = span.partition("-")
            if first.isdigit() and int(first) <= slot <= int(last or first):
                return next(p for p, name in ports.items() if name == node)
    raise AssertionError(slot)


@pytest.mark.slow
def test_a_shard_that_moves_to_another_node_under_load(
    own_cluster: tuple[list[servers.Server], str],
) -> None:
    made, url = own_cluster
    ports = {server.command[server.command.index("--port") + 1]: "" for server in made}
    for port in ports:
        ports[port] = cli(port, "cluster", "myid")
    slot = slot_of(Keys("perdure", 0).meta)
    source = holder(ports, slot)
    target = next(port for port in ports if port != source)

    def move() -> None:
        """As `redis-cli --cluster reshard` does it: key by key."""
        cli(target, "cluster", "setslot", str(slot), "importing", ports[source])
        cli(source, "cluster", "setslot", str(slot), "migrating", ports[target])
        while keys := cli(source, "cluster", "getkeysinslot", str(slot), "5").splitlines():
            cli(source, "migrate", "127.0.0.1", target, "", "0", "5000", "keys", *keys)
        for port in (target, source):
            cli(port, "cluster", "setslot", str(slot), "node", ports[target])

    async def main() -> None:
        async with (
            connect(f"{url}?shards=3") as backend,
            Worker(backend, workflows=[children.tree], activities=[]),
        ):
            client = Client(backend)
            stop = asyncio.Event()

            async def load() -> int:
                count = 0
                while not stop.is_set():
                    assert await client.run(children.tree, 3) == 15
                    count += 1
                return count

            loads = [asyncio.create_task(load()) for _ in range(4)]
            await asyncio.sleep(0.3)
            await asyncio.to_thread(move)
            assert holder(ports, slot) == target
            await asyncio.sleep(0.3)
            stop.set()
            async with asyncio.timeout(60):
                counts = await asyncio.gather(*loads)
            assert all(counts)
            records = [record async for record in client.list()]
            assert len(records) == 15 * sum(counts)
            assert {record.state for record in records} == {"completed"}

    asyncio.run(main())


def test_nothing_is_written_while_a_shard_is_between_two_nodes(
    own_cluster: tuple[list[servers.Server], str],
) -> None:
    made, url = own_cluster
    ports = {server.command[server.command.index("--port") + 1]: "" for server in made}
    for port in ports:
        ports[port] = cli(port, "cluster", "myid")

    async def main() -> None:
        clock = TestClock()
        backend = sharded(f"{url}?shards=3", clock)
        await backend.open()
        t = Harness(backend, clock)
        await t.session()
        name = name_in(0, "a")
        await t.start(name)
        task = await t.claim_one()
        slot = slot_of(Keys("perdure", 0).meta)
        source = holder(ports, slot)
        target = next(port for port in ports if port != source)
        before = cli(source, "cluster", "countkeysinslot", str(slot))
        cli(target, "cluster", "setslot", str(slot), "importing", ports[source])
        cli(source, "cluster", "setslot", str(slot), "migrating", ports[target])
        with pytest.raises(BackendUnavailableError, match="moving a part of the store"):
            await t.commit(task, published=b"x")
        with pytest.raises(BackendUnavailableError, match="moving a part of the store"):
            await t.start(name_in(0, "b"))
        assert cli(source, "cluster", "countkeysinslot", str(slot)) == before
        for port in (target, source):
            cli(port, "cluster", "setslot", str(slot), "stable")
        await t.applied(task, published=b"x")
        await backend.aclose()

    asyncio.run(main())


def test_a_cluster_whose_seed_is_gone(own_cluster: tuple[list[servers.Server], str]) -> None:
    """Any node will do, also of those that the URL does not name."""
    made, url = own_cluster
    ports = [server.command[server.command.index("--port") + 1] for server in made]
    there: Any = None

    async def main() -> None:
        nonlocal there
        gone = servers.free_port()
        hosts = f"127.0.0.1:{gone},127.0.0.1:{ports[1]}"
        async with connect(f"redis+cluster://{hosts}?shards=3") as backend:
            there = await backend.now()
        with pytest.raises(BackendUnavailableError, match="does not answer"):
            async with connect(f"redis+cluster://127.0.0.1:{gone}"):
                pass

    asyncio.run(main())
    assert there > 0
    assert url
