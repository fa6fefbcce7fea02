"""The store's face: from URL or client to a store.

PYTEST_DONT_REWRITE
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from perdure import InvalidOptionError

from .._relational import RelationalBackend
from .._urls import Location, Options
from ._database import CODE_VERSION, RedisDatabase, make_client


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
        if not prefix or set(prefix) & set("{}:"):
            raise InvalidOptionError(f"redis: a prefix has no braces and colons, not {prefix!r}")

        def make() -> Any:
            return client if url is None else make_client(url, pool_size, timeout)

        super().__init__(
            RedisDatabase(
                make,
                shown="redis (your client)" if url is None else Location.parse(url).shown,
                prefix=prefix,
                own=client is None,
                timeout=timeout,
            ),
            migrate=client is None if migrate is None else migrate,
            version=CODE_VERSION,
            clock=clock,
        )


def from_url(location: Location) -> RedisBackend:
    """``redis://user:password@host:6379/0?prefix=perdure&pool_size=10``.

    Options that are not ours go to the driver.

    Raises:
        InvalidOptionError: a value is out of range.
    """
    options = Options("redis", location)
    prefix = options.text("prefix", "perdure")
    pool_size = options.integer("pool_size", 10, least=1)
    timeout = options.number("timeout", 30.0)
    migrate = options.flag("migrate", default=True)
    return RedisBackend(
        options.rest(), prefix=prefix, pool_size=pool_size, timeout=timeout, migrate=migrate
    )
