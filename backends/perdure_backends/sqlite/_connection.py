"""The connection: whole transactions in one hop to aiosqlite's thread, and its errors mapped.

PYTEST_DONT_REWRITE
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias, TypeVar, cast

import aiosqlite
from perdure import (
    BackendError,
    BackendFormatError,
    BackendFullError,
    BackendReadOnlyError,
    BackendUnavailableError,
)

T = TypeVar("T")

Synchronous: TypeAlias = Literal["FULL", "NORMAL", "EXTRA"]

_NETWORK_SYSTEMS: Final = frozenset(
    (
        *("nfs", "nfs4", "cifs", "smb3", "smbfs", "fuse.sshfs"),
        *("ceph", "lustre", "glusterfs", "fuse.glusterfs", "afs", "9p"),
    )
)
_PAUSES: Final = (0.01, 0.05, 0.2, 0.5, 1.0, 2.0)


class Connection:
    """One connection with a thread of its own.

    Args:
        path: the file, or ``:memory:``.
        timeout: seconds that SQLite waits for another process's lock, before we wait longer.
    """

    def __init__(self, path: str, synchronous: Synchronous, timeout: float) -> None:
        self._path = path
        self._synchronous = synchronous
        self._timeout = timeout
        self._inner: aiosqlite.Connection | None = None
        self._pid = os.getpid()

    async def open(self) -> None:
        """Opens the file and sets it up.

        Raises:
            BackendError: it can't be opened, is no database, lies on a network file system …
        """
        # Not to be interrupted half-way: the driver's thread would answer to a loop that may be
        # closed by then.
        opening = asyncio.ensure_future(self._open())
        try:
            await asyncio.shield(opening)
        except asyncio.CancelledError:
            await asyncio.wait([opening])
            await self.aclose()
            raise

    async def _open(self) -> None:
        _refuse_network(self._path)
        self._pid = os.getpid()
        inner = aiosqlite.connect(
            self._path, timeout=self._timeout, isolation_level=None, cached_statements=256
        )
        try:
            self._inner = await inner
        except sqlite3.Error as error:
            _join(inner)
            raise map_error(error, self._path) from error
        try:
            await self.run(self._set_up)
        except BaseException:
            await self.aclose()
            raise

    def _set_up(self, connection: sqlite3.Connection) -> None:
        execute = connection.execute
        execute(f"PRAGMA busy_timeout = {round(self._timeout * 1000)}")
        if self._path != ":memory:":
            mode = execute("PRAGMA journal_mode = WAL").fetchone()[0]
            if mode != "wal":
                raise BackendError(
                    f"{self._path}: write-ahead logging can't be switched on (mode {mode!r})"
                )
        execute(f"PRAGMA synchronous = {self._synchronous}")
        execute("PRAGMA temp_store = MEMORY")
        execute("PRAGMA cache_size = -2000")

    async def aclose(self) -> None:
        """Closes it. Idempotent."""
        inner, self._inner = self._inner, None
        if inner is not None:
            await inner.close()

    async def run(self, function: Callable[[sqlite3.Connection], T]) -> T:
        """Calls ``function`` in the connection's thread; waits and repeats while it is locked.

        Raises:
            BackendError: what SQLite said.
        """
        for pause in (*_PAUSES, None):
            inner = self._inner
            if inner is None:
                raise BackendError(f"the store {self._path} is closed")
            if self._pid != os.getpid():
                raise BackendError(
                    f"the store {self._path} was opened before this process was forked; open it "
                    "anew in the child"
                )
            try:
                return await _hop(inner, function)
            except sqlite3.Error as error:
                mapped = map_error(error, self._path)
                if pause is None or not isinstance(mapped, BackendUnavailableError):
                    raise mapped from error
                await asyncio.sleep(pause)
            except ValueError as error:
                raise BackendError(f"the store {self._path} is closed") from error
        raise BackendError("unreachable")

    async def transaction(
        self,
        function: Callable[[sqlite3.Connection], T],
        *,
        peek: Callable[[sqlite3.Connection], T | None] | None = None,
    ) -> T:
        """Calls ``function`` inside one write transaction, in one hop. Raises as :meth:`run`.

        Args:
            peek: looks first, without the write lock; what it answers, if not ``None``, is the
                result, and there is no transaction. For polls that mostly find nothing.
        """

        def transact(connection: sqlite3.Connection) -> T:
            if peek is not None and (found := peek(connection)) is not None:
                return found
            connection.execute("BEGIN IMMEDIATE")
            try:
                result = function(connection)
                connection.execute("COMMIT")
            except BaseException:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise
            return result

        return await self.run(transact)


def _join(inner: aiosqlite.Connection) -> None:
    """Waits for the thread of a connection that could not be opened.

    aiosqlite tells it to stop and does not wait: it would answer to a loop that may be closed.
    """
    thread: Any = getattr(inner, "_thread", None)
    if thread is not None:
        thread.join(5)


async def _hop(inner: aiosqlite.Connection, function: Callable[[sqlite3.Connection], T]) -> T:
    """Runs a function in aiosqlite's thread.

    aiosqlite's public methods are one statement each, and a hop costs ten times a statement; its
    ``_execute`` takes any callable. This is the only place that knows.
    """
    raw: Any = inner._conn  # pyright: ignore[reportPrivateUsage]
    private = cast("Any", inner)
    result: T = await private._execute(function, raw)
    return result


def map_error(error: sqlite3.Error, path: str) -> BackendError:
    """The error that users see for one of SQLite's."""
    name = str(getattr(error, "sqlite_errorname", ""))
    if name.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
        return BackendUnavailableError(f"{path} is locked by another process: {error}")
    if name.startswith("SQLITE_FULL"):
        return BackendFullError(
            f"{path}: the disk (or its quota) is full; nothing acknowledged is lost, make room "
            "and go on"
        )
    if name.startswith("SQLITE_READONLY") or "readonly" in str(error):
        return BackendReadOnlyError(f"{path} can't be written to; check its owner and permissions")
    if name.startswith("SQLITE_CANTOPEN"):
        return BackendError(f"{path} can't be opened: {_why_not(path)}")
    if name.startswith(("SQLITE_NOTADB", "SQLITE_CORRUPT")):
        return BackendFormatError(
            f"{path} is no SQLite database, or is damaged ({error}); nothing was written to it"
        )
    return BackendError(f"{path}: {type(error).__name__}: {error}")


def _why_not(path: str) -> str:
    folder = Path(path).resolve().parent
    if not folder.is_dir():
        return f"the folder {folder} does not exist"
    if Path(path).is_dir():
        return "it is a folder"
    if not os.access(folder, os.W_OK):
        return f"the folder {folder} can't be written to (SQLite keeps its log beside the file)"
    return "check its permissions"


def _refuse_network(path: str) -> None:
    """SQLite's locks can't be trusted on network file systems."""
    if path == ":memory:":
        return
    try:
        lines = Path("/proc/self/mountinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return  # not Linux: nothing to look at
    target = str(Path(path).resolve())
    longest, kind = "", ""
    for line in lines:
        head, _, tail = line.partition(" - ")
        mount = head.split(" ")[4].replace("\\040", " ")
        inside = target == mount or target.startswith(mount.rstrip("/") + "/")
        if inside and len(mount) >= len(longest):
            longest, kind = mount, tail.split(" ")[0]
    if kind in _NETWORK_SYSTEMS:
        raise BackendError(
            f"{path} lies on a network file system ({kind} at {longest}), where SQLite's locks "
            "can't be trusted; use a local disk, or a server store"
        )
