"""The SQLite store: one file, shared by the processes of one machine.

PYTEST_DONT_REWRITE
"""

from __future__ import annotations

from perdure import InvalidOptionError

from .._urls import option_error
from ._backend import SqliteBackend as SqliteBackend
from ._connection import Synchronous as Synchronous

__all__ = ["SqliteBackend", "from_url"]

_LEVELS: dict[str, Synchronous] = {"FULL": "FULL", "NORMAL": "NORMAL", "EXTRA": "EXTRA"}
_OPTIONS = ("synchronous", "migrate", "timeout")


def from_url(location: str, options: dict[str, str]) -> SqliteBackend:
    """``sqlite:///file.db?synchronous=NORMAL&migrate=no&timeout=5``.

    Raises:
        InvalidOptionError: no path, an unknown option, or a value out of range.
    """
    if unknown := set(options) - set(_OPTIONS):
        raise option_error("sqlite", unknown, _OPTIONS)
    if not location:
        raise InvalidOptionError(
            "sqlite: the URL names no file; write sqlite:///relative.db, sqlite:////absolute.db "
            "or sqlite:///:memory:"
        )
    level = options.get("synchronous", "FULL")
    synchronous = _LEVELS.get(level.upper())
    if synchronous is None:
        raise InvalidOptionError(f"sqlite: synchronous is FULL, NORMAL or EXTRA, not {level!r}")
    migrate = options.get("migrate", "yes")
    if migrate not in ("yes", "no"):
        raise InvalidOptionError(f"sqlite: migrate is yes or no, not {migrate!r}")
    try:
        timeout = float(options.get("timeout", "5"))
    except ValueError:
        raise InvalidOptionError("sqlite: timeout is a number of seconds") from None
    return SqliteBackend(
        location,
        synchronous=synchronous,
        migrate=migrate == "yes",
        timeout=timeout,
    )
