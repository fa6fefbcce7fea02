"""The MySQL store: MySQL 8 and MariaDB 10.6, or later ones of either.

PYTEST_DONT_REWRITE
"""

from __future__ import annotations

from ._backend import MysqlBackend as MysqlBackend
from ._backend import from_url as from_url
from ._driver import connection_options as connection_options

__all__ = ["MysqlBackend", "connection_options", "from_url"]
