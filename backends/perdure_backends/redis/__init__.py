"""The Redis store: Redis 6.2 or Valkey, or later ones of either.

PYTEST_DONT_REWRITE
"""

from __future__ import annotations

from ._backend import RedisBackend as RedisBackend
from ._backend import ShardedRedisBackend as ShardedRedisBackend
from ._backend import from_url as from_url

__all__ = ["RedisBackend", "ShardedRedisBackend", "from_url"]
