"""The SQLite store: one file, shared by the processes of one machine.

PYTEST_DONT_REWRITE
"""

from __future__ import annotations

from perdure import InvalidOptionError

from .._urls import Location, Options
from ._backend import SqliteBackend as SqliteBackend
from ._connection import Synchronous as Synchronous

__all__ = ["SqliteBackend", "from_url"]

_LEVELS: dict[str, Synchronous] = {"FULL": "FULL", "NORMAL": "NORMAL", "EXTRA": "EXTRA"}


def from_url(location: Location) -> SqliteBackend:
    """``sqlite:///file.db?synchronous=NORMAL&migrate=no&timeout=5``.

    Raises:
        InvalidOptionError: no path, an unknown option, or a value out of range.
    """
    options = Options("sqlite", location)
    if not location.path:
        raise InvalidOptionError(
            "sqlite: the URL names no file; write sqlite:///relative.db, sqlite:////absolute.db "
            "or sqlite:///:memory:"
        )
    synchronous = options.choice("synchronous", "FULL", tuple(_LEVELS))
    migrate = options.flag("migrate", default=True)
    timeout = options.number("timeout", 5.0)
    options.done()
    return SqliteBackend(
        location.path,
        synchronous=_LEVELS[synchronous],
        migrate=migrate,
        timeout=timeout,
    )
