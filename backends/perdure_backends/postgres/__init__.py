"""The PostgreSQL store (13 and later): a schema of its own in any database.

PYTEST_DONT_REWRITE
"""

from __future__ import annotations

from ._backend import PostgresBackend as PostgresBackend
from ._backend import from_url as from_url

__all__ = ["PostgresBackend", "from_url"]
