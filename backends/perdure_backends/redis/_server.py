"""The driver's side of a store on Redis: clients, scripts, publish and subscribe, errors.

PYTEST_DONT_REWRITE
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import logging
import secrets
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Sequence
from importlib.resources import files
from typing import Any, Final, TypeVar

import hiredis
import redis.asyncio as driver
import redis.exceptions as errors
from perdure import (
    BackendError,
    BackendFullError,
    BackendUnavailableError,
    SchemaVersionError,
)
from redis.asyncio.connection import parse_url
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.crc import key_slot

from .._relational import LoopPools, Teller, end_tasks, opened
from .._wakeups import ACTIVITIES, ANSWERS, DUE, TURNS
from ._nodes import Cluster, Connect, Node, Nodes, Single

T = TypeVar("T")

Wake = Callable[[Sequence[str], Sequence[str] | None], None]
"""Told topics, and the runs that have ended (``None``: not known which)."""

_log: Final = logging.getLogger("perdure.backends")

_LEAST: Final = (6, 2)

_HALF_MADE: Final = 2.0
"""Seconds for which a connection that nobody waits for any more may still be made."""

_MOVES: Final = 5
"""How often in a row a slot may have moved."""

_LISTEN_PAUSE: Final = 0.5


def _load_scripts() -> dict[str, tuple[str, str]]:
    """The scripts and their hashes, by name."""
    found: dict[str, tuple[str, str]] = {}
    for item in files(__package__ or "").joinpath("scripts").iterdir():
        if item.name.endswith(".lua"):
            text = item.read_text(encoding="utf-8")
            digest = hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()
            found[item.name.removesuffix(".lua")] = (text, digest)
    return found


SCRIPTS: Final = _load_scripts()


class RedisServer:
    """A Redis server or cluster, as all shards of a store use it.

    Args:
        connect: a client on the running event loop.
        seeds: nodes of a cluster that are asked first; ``None`` for a single server.
        shown: where it is, without secrets.
        prefix: what our keys begin with.
        own: whether clients are ours to close.
        timeout: seconds that one round trip may take.
    """

    def __init__(
        self,
        connect: Connect,
        *,
        seeds: Sequence[Node] | None,
        shown: str,
        prefix: str,
        own: bool,
        timeout: float,
    ) -> None:
        self.shown = shown
        self.own = own
        self.prefix = prefix
        self.name = secrets.token_hex(8)
        self.clustered = seeds is not None
        self._seeds = seeds
        self._connect = connect
        self._timeout = timeout
        self._nodes = LoopPools(self._make, self._close, self._close, shown)
        self._channel = f"{prefix}:wakeups"
        self._connecting: set[asyncio.Future[Any]] = set()
        self._wakes: dict[int, Wake] = {}
        self._listener: asyncio.Task[None] | None = None
        self._teller = Teller(self.name, self._publish)

    # --- clients

    def make_nodes(self) -> Nodes:
        """Clients of their own, on the running event loop."""
        if self._seeds is None:
            return Single(self._connect(None))
        return Cluster(self._seeds, self._connect)

    async def _make(self) -> Nodes:
        return self.make_nodes()

    async def _close(self, nodes: Nodes) -> None:
        if self.own:
            await nodes.aclose()

    async def open(self) -> None:
        """Connects, and checks every server. Idempotent."""
        self._nodes.open()
        nodes = await self._nodes.get()
        async with self._mapped(nodes):
            for client in await nodes.clients():
                self._check(await client.info("server"), await client.info("memory"))

    def _check(self, server: dict[str, Any], memory: dict[str, Any]) -> None:
        version = str(server["redis_version"])
        if tuple(int(part) for part in version.split(".")[:2]) < _LEAST:
            raise BackendError(f"{self.shown} is Redis {version}; 6.2 or later is needed")
        if server.get("redis_mode") == "cluster" and not self.clustered:
            raise BackendError(
                f"{self.shown} is a node of a Redis Cluster; write redis+cluster:// for redis://"
            )
        policy = str(memory.get("maxmemory_policy", "noeviction"))
        if policy.startswith("allkeys"):
            raise BackendError(
                f"{self.shown} has maxmemory-policy {policy}: when memory runs short the server "
                "would throw parts of histories away; set it to noeviction"
            )

    async def aclose(self) -> None:
        """Closes all connections. Idempotent."""
        listener, self._listener = self._listener, None
        await end_tasks(listener, self._teller.task)
        # A connection that is being made now would be open behind the back of its closed pool.
        loop = asyncio.get_running_loop()
        until = loop.time() + _HALF_MADE
        while made := [one for one in self._connecting if one.get_loop() is loop]:
            if loop.time() >= until:
                break
            await asyncio.wait(made, timeout=until - loop.time())
        await self._nodes.aclose()

    # --- round trips

    @contextlib.asynccontextmanager
    async def _mapped(self, nodes: Nodes) -> AsyncGenerator[None]:
        try:
            async with asyncio.timeout(self._timeout):
                yield
        except (errors.RedisError, OSError, TimeoutError) as error:
            nodes.moved(error)
            raise map_error(error, self.shown) from error

    async def talk(
        self, slot: int, talk: Callable[[Any], Awaitable[T]], nodes: Nodes | None = None
    ) -> T:
        """Talks to the server that holds a slot, with clients of its own where they are given."""
        nodes = nodes or await self._nodes.get()
        async with self._mapped(nodes):
            for _ in range(_MOVES):
                try:
                    return await self._talk(await nodes.client(slot), talk)
                except errors.MovedError as error:
                    nodes.moved(error)
            return await self._talk(await nodes.client(slot), talk)

    async def _talk(self, client: Any, talk: Callable[[Any], Awaitable[T]]) -> T:
        """While a connection may have to be made, a cancellation waits:

        the driver would leave it open half-made.
        """
        if getattr(client.connection_pool, "_available_connections", None):
            return await talk(client)
        talking = asyncio.ensure_future(talk(client))
        self._connecting.add(talking)
        talking.add_done_callback(self._connecting.discard)
        try:
            return await asyncio.shield(talking)
        except asyncio.CancelledError:
            # A server that was stopped in the middle of it may never answer.
            await asyncio.wait([talking], timeout=_HALF_MADE)
            talking.cancel()
            await asyncio.wait([talking], timeout=_HALF_MADE)
            if talking.done() and not talking.cancelled():
                talking.exception()  # seen
            raise

    async def pipeline(self, slot: int, commands: Sequence[tuple[Any, ...]]) -> list[Any]:
        """Answers to reading commands, in one round trip; they may see different moments."""
        if not commands:
            return []

        async def talk(client: Any) -> list[Any]:
            if len(commands) == 1:
                return [await client.execute_command(*commands[0])]
            async with client.pipeline(transaction=False) as pipe:
                for command in commands:
                    pipe.execute_command(*command)
                answers: list[Any] = await pipe.execute()
                return answers

        return await self.talk(slot, talk)

    async def run_script(
        self,
        slot: int,
        name: str,
        keys: Sequence[str],
        args: Sequence[Any],
        nodes: Nodes | None = None,
    ) -> Any:
        """Runs a script by its hash; one that the server has forgotten is loaded again."""
        text, digest = SCRIPTS[name]

        async def talk(client: Any) -> Any:
            parts = (len(keys), *keys, *args)
            try:
                return await client.execute_command("EVALSHA", digest, *parts)
            except errors.NoScriptError:
                return await client.execute_command("EVAL", text, *parts)

        return await self.talk(slot, talk, nodes)

    # --- other processes

    def listen(self, shard: int, wake: Wake) -> None:
        """From now on calls ``wake`` with what other processes tell of a shard."""
        self._wakes[shard] = wake
        if self._listener is None:
            self._listener = asyncio.get_running_loop().create_task(self._listen())

    async def _listen(self) -> None:
        slot = slot_of(self._channel)  # all nodes of a cluster hear what one is told
        while True:
            nodes: Nodes | None = None
            try:
                nodes = await self._nodes.get()
                async with (await nodes.client(slot)).pubsub() as subscription:
                    # Not to be interrupted half-way: the connection would be left open.
                    await opened(subscription.subscribe(self._channel), _nothing)
                    for wake in self._wakes.values():
                        wake((TURNS, ACTIVITIES, DUE, ANSWERS), None)  # what was told meanwhile
                    async for message in subscription.listen():
                        if message["type"] == "message":
                            self._hear(*json.loads(message["data"]))
            except (BackendError, errors.RedisError, OSError) as error:
                if nodes is not None:
                    nodes.moved(error)
                _log.debug("no messages from %s for a moment: %s", self.shown, error)
            await asyncio.sleep(_LISTEN_PAUSE)

    def _hear(self, sender: str, told: list[tuple[int, str]], ended: list[str] | None) -> None:
        if sender == self.name:
            return
        topics: dict[int, list[str]] = {}
        for shard, topic in told:
            topics.setdefault(shard, []).append(topic)
        for shard, wake in self._wakes.items():
            if shard in topics:
                wake(topics[shard], ())
        if ended is None or ended:
            # Whose runs they were matters to nobody: who waits knows their ids.
            next(iter(self._wakes.values()))((), ended)

    def tell(self, shard: int, topics: Sequence[str], finished: Sequence[str]) -> None:
        """Tells other processes, soon; never fails."""
        self._teller.tell(((shard, topic) for topic in topics), finished)

    async def _publish(self, message: str) -> None:
        await self.pipeline(slot_of(self._channel), [("PUBLISH", self._channel, message)])


def slot_of(key: str) -> int:
    """The slot of a Redis Cluster in which a key lies."""
    return key_slot(key.encode())


def _nothing(_answer: Any) -> None:
    """A subscription that nobody waits for any more ends with its connection."""


def client_options(timeout: float) -> dict[str, Any]:
    """How our clients are made: nothing is tried again behind our back."""
    return {
        "decode_responses": False,
        "protocol": 2,
        "retry": Retry(NoBackoff(), 0),
        "socket_connect_timeout": timeout,
        # With a time-out of its own the driver sends by `asyncio.wait_for`, which on Python 3.11
        # swallows a cancellation that comes while the command is sent. We have time-outs around.
        "socket_timeout": None,
        "health_check_interval": 0,
    }


def _packing(kind: type[Any]) -> type[Any]:
    """A kind of connection that writes commands with hiredis.

    redis-py does so where it blocks, but not in its asyncio side; our scripts have some hundred
    arguments, and packing them in Python took a third of a workflow's time.
    """

    pack: Callable[[tuple[Any, ...]], bytes] = getattr(hiredis, "pack_command")  # noqa: B009
    words: Callable[..., list[bytes]] = kind.pack_command

    class Packing(kind):  # type: ignore[misc]
        def pack_command(self, *args: Any) -> list[bytes]:
            # A command of several words is split by the driver.
            return words(self, *args) if " " in args[0] else [pack(args)]

        def pack_commands(self, commands: Iterable[Sequence[Any]]) -> list[bytes]:
            return [part for command in commands for part in self.pack_command(*command)]

    return Packing


def make_client(url: str, pool_size: int, timeout: float) -> Any:
    """A client for a URL of redis-py, on the running event loop."""
    options: dict[str, Any] = {**client_options(timeout), **parse_url(url)}
    options["connection_class"] = _packing(options.get("connection_class", driver.Connection))
    pool: Any = driver.BlockingConnectionPool(
        max_connections=pool_size + 1, timeout=timeout, **options
    )
    return driver.Redis.from_pool(pool)


_BUSY: Final = (
    "LOADING",
    "MASTERDOWN",
    "CLUSTERDOWN",
    "TRYAGAIN",
    "READONLY",
    "BUSY",
    "NOREPLICAS",
)


_BUSY_ERRORS: Final = (errors.ReadOnlyError, errors.ClusterDownError, errors.BusyLoadingError)


def map_error(error: BaseException, where: str) -> BackendError:
    """The error that users see for one of the driver's."""
    text = str(error) or type(error).__name__
    if isinstance(error, errors.OutOfMemoryError) or text.startswith("OOM"):
        return BackendFullError(
            f"{where}: the server's memory is full; nothing acknowledged is lost, make room "
            "(maxmemory, `perdure prune`) and go on"
        )
    if isinstance(error, (errors.AuthenticationError, errors.AuthorizationError)):
        return BackendError(f"{where}: the server refuses the user or password: {text}")
    if isinstance(error, errors.NoPermissionError):
        return BackendError(f"{where}: the user lacks a permission: {text}")
    if isinstance(error, (errors.ConnectionError, errors.TimeoutError, OSError)):
        return BackendUnavailableError(f"{where} does not answer: {text}")
    if isinstance(error, _BUSY_ERRORS) or text.startswith(_BUSY):
        return BackendUnavailableError(f"{where} can't do it now: {text}")
    if isinstance(error, (errors.AskError, errors.TryAgainError)) or "non local key" in text:
        return BackendUnavailableError(
            f"{where} is moving a part of the store to another node; nothing was changed, and it "
            "goes on when the move is done"
        )
    if "unknown command" in text.lower():
        return SchemaVersionError(f"{where} lacks a command that is needed: {text}")
    return BackendError(f"{where}: {type(error).__name__}: {text}")
