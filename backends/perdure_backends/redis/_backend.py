"""The store's face: from URL or client to a store.

PYTEST_DONT_REWRITE
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

from perdure import InvalidOptionError

from .._relational import RelationalBackend
from .._urls import Location, Options
from .._wakeups import Wakeups
from ._database import CODE_VERSION, RedisDatabase
from ._nodes import Node
from ._server import RedisServer, make_client
from ._sharded import ShardedBackend

_SHARDS: Final = 8
"""Shards of a new store on a cluster, unless the URL says otherwise."""

_MOST_SHARDS: Final = 256


class RedisBackend(RelationalBackend):
    """A store on a Redis or Valkey server.

    Args:
        url: ``redis://user:password@host:6379/0``, ``rediss://`` for TLS, ``unix://`` for a
            socket; with redis-py's options.
        client: instead of ``url``, an asyncio client of yours, made with
            ``decode_responses=False``; it stays yours, for its own event loop only, and nothing
            is written at opening unless asked for.
        prefix: what our keys begin with.
        pool_size: connections at most, on each event loop, besides one that listens.
        timeout: seconds that one round trip may take.
        migrate: set the keys up when opened.
        clock: microseconds since the epoch, in place of the server's clock; for tests.

    Raises:
        InvalidOptionError: neither or both of ``url`` and ``client``, or a malformed prefix.
    """

    def __init__(
        self,
        url: str | None = None,
        *,
        client: Any = None,
        prefix: str = "perdure",
        pool_size: int = 10,
        timeout: float = 30.0,
        migrate: bool | None = None,
        clock: Callable[[], int] | None = None,
    ) -> None:
        if (url is None) == (client is None):
            raise InvalidOptionError("redis: give either a URL or a client")
        server = _server(
            url or "", client=client, prefix=prefix, pool_size=pool_size, timeout=timeout
        )
        super().__init__(
            RedisDatabase(server),
            migrate=client is None if migrate is None else migrate,
            version=CODE_VERSION,
            clock=clock,
        )


class ShardedRedisBackend(ShardedBackend):
    """A store on a Redis Cluster, or in several shards of one server.

    Args:
        url: ``redis+cluster://user:password@host:6379,other:6379`` with some of the nodes,
            ``rediss+cluster://`` for TLS; a URL of one server otherwise.
        shards: into how many parts the store is divided, each on one node of the cluster; fixed
            when it is created.
        prefix: what our keys begin with.
        pool_size: connections at most, to each node and on each event loop, besides one that
            listens.
        timeout: seconds that one round trip may take.
        migrate: set the keys up when opened.

    Raises:
        InvalidOptionError: a malformed prefix, or number of shards.
    """

    def __init__(
        self,
        url: str,
        *,
        shards: int = _SHARDS,
        prefix: str = "perdure",
        pool_size: int = 10,
        timeout: float = 30.0,
        migrate: bool = True,
    ) -> None:
        if not 1 <= shards <= _MOST_SHARDS:
            raise InvalidOptionError(f"redis: shards is a number from 1 to {_MOST_SHARDS}")
        server = _server(url, client=None, prefix=prefix, pool_size=pool_size, timeout=timeout)
        wakeups = Wakeups()
        super().__init__(
            [
                RelationalBackend(
                    RedisDatabase(server, shard=number, shards=shards),
                    migrate=migrate,
                    version=CODE_VERSION,
                    wakeups=wakeups,
                )
                for number in range(shards)
            ],
            wakeups,
        )


def _server(url: str, *, client: Any, prefix: str, pool_size: int, timeout: float) -> RedisServer:
    if not prefix or set(prefix) & set("{}:"):
        raise InvalidOptionError(f"redis: a prefix has no braces and colons, not {prefix!r}")
    location = Location.parse(url)
    scheme, cluster, _ = location.scheme.partition("+cluster")
    seeds: Sequence[Node] | None = location.nodes(6379) if cluster else None

    def connect(node: Node | None) -> Any:
        if client is not None:
            return client
        there = url if node is None else location.at(scheme, *node)
        return make_client(there, pool_size, timeout)

    return RedisServer(
        connect,
        seeds=seeds,
        shown="redis (your client)" if client is not None else location.shown,
        prefix=prefix,
        own=client is None,
        timeout=timeout,
    )


def from_url(location: Location) -> RedisBackend | ShardedRedisBackend:
    """``redis://user:password@host:6379/0?prefix=perdure&pool_size=10``.

    Options that are not ours go to the driver.

    Raises:
        InvalidOptionError: a value is out of range.
    """
    options = Options("redis", location)
    clustered = location.scheme.endswith("+cluster")
    prefix = options.text("prefix", "perdure")
    pool_size = options.integer("pool_size", 10, least=1)
    timeout = options.number("timeout", 30.0)
    migrate = options.flag("migrate", default=True)
    shards = options.integer("shards", _SHARDS if clustered else 1, least=1, most=_MOST_SHARDS)
    if clustered and location.path not in ("", "0"):
        raise InvalidOptionError("redis: a cluster has no numbered databases")
    rest = options.rest()
    if not clustered and shards == 1:
        return RedisBackend(
            rest, prefix=prefix, pool_size=pool_size, timeout=timeout, migrate=migrate
        )
    return ShardedRedisBackend(
        rest,
        shards=shards,
        prefix=prefix,
        pool_size=pool_size,
        timeout=timeout,
        migrate=migrate,
    )
