"""The driver's side: a pool, units of work in one or two round trips, user locks, errors.

PYTEST_DONT_REWRITE
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import re
from collections.abc import AsyncGenerator, Callable, Generator, Iterable, Sequence
from typing import Any, Final

from perdure import (
    BackendError,
    BackendFullError,
    BackendReadOnlyError,
    BackendUnavailableError,
    PayloadTooLargeError,
    SchemaVersionError,
)
from pymysql import err

from .._relational import Asked, ConflictError, Look, LoopPools, PlainLink, Undivided, Write, opened
from .._relational._listing import listing
from ..contract import SessionKeeper
from ..records import ListFilter
from . import _migrations
from ._driver import Pool, changed, connect, connection_options, create_pool, execute
from ._statements import SQL, UNMET, bound, compared, statements_for, with_prefix

_LEAST_MYSQL: Final = (8, 0)
_LEAST_MARIADB: Final = (10, 6)
_SLACK: Final = 64 * 1024
"""Bytes of a packet that a row's other columns and the statement may need."""


class MysqlDatabase(Undivided):
    """Tables of a MySQL or MariaDB database.

    Args:
        access: host, user and so on, for the driver.
        shown: where it is, without secrets.
        prefix: what the names of our tables begin with.
        pool_size: connections at most, on each event loop.
        timeout: seconds that one round trip may take.
        transaction_pooler: no session locks.
        pool: a pool of the user's own, which stays theirs.
    """

    def __init__(
        self,
        access: dict[str, Any],
        *,
        shown: str,
        prefix: str,
        pool_size: int,
        timeout: float,
        transaction_pooler: bool,
        pool: Any,
    ) -> None:
        self._access = {**access, **connection_options(), "connect_timeout": timeout}
        self._shown = shown
        self.prefix = prefix
        self._pool_size = pool_size
        self._timeout = timeout
        self._locks_sessions = not transaction_pooler and pool is None
        self._given = None if pool is None else Pool(pool)
        self._pools = LoopPools(self._make_pool, Pool.close, Pool.terminate, shown)
        self._holders: dict[str, Any] = {}
        self._packet = 1024 * 1024
        self._uptime = ""
        self.booted = 0

    @property
    def url(self) -> str:
        """See :attr:`Database.url`."""
        return self._shown

    @property
    def pushes(self) -> bool:
        """See :attr:`Database.pushes`."""
        return False

    @property
    def largest(self) -> int:
        """See :attr:`Database.largest`; bytes are written as two digits each."""
        return (self._packet - _SLACK) // 2

    # --- connections

    @property
    def compares(self) -> bool:
        """See :attr:`Database.compares`."""
        return True

    async def write_compared(self, checks: Sequence[Write], writes: Sequence[Write]) -> None:
        """See :meth:`Database.write_compared`: one packet."""
        link = await self.link()
        try:
            await link.send(compared(checks, writes, self.prefix))
        except BaseException:
            await link.abandon()
            raise

    async def open(self) -> None:
        """See :meth:`Database.open`."""
        self._pools.open()
        text = "SELECT CAST(VERSION() AS CHAR), @@max_allowed_packet"
        ((version, packet),) = await self.ask(text)
        self._packet = packet
        self._check_version(version)
        rows = await self.ask(
            "SELECT CAST(UNIX_TIMESTAMP() AS SIGNED) - CAST(VARIABLE_VALUE AS SIGNED) "
            f"FROM {self._uptime} WHERE VARIABLE_NAME = 'UPTIME'"
        )
        self.booted = int(rows[0][0]) if rows else 0

    def _check_version(self, version: str) -> None:
        numbers = tuple(int(one) for one in re.findall(r"\d+", version)[:2])
        maria = "mariadb" in version.lower()
        schema = "information_schema" if maria else "performance_schema"
        self._uptime = f"{schema}.global_status"
        least = _LEAST_MARIADB if maria else _LEAST_MYSQL
        if numbers < least:
            name = "MariaDB" if maria else "MySQL"
            raise BackendError(
                f"{self._shown} is {name} {version}; {'.'.join(map(str, least))} or later is "
                "needed (SKIP LOCKED)"
            )

    async def _pool(self) -> Pool:
        return self._given if self._given is not None else await self._pools.get()

    async def _make_pool(self) -> Pool:
        with self._mapped():
            return await create_pool(self._access, self._pool_size)

    async def connect(self) -> Any:
        """A connection outside of the pool."""
        with self._mapped():
            return await opened(connect(self._access), _close)

    async def aclose(self) -> None:
        """See :meth:`Database.aclose`."""
        for session_id in list(self._holders):
            await self.let_go(session_id)
        await self._pools.aclose()

    @contextlib.contextmanager
    def _mapped(self) -> Generator[None]:
        try:
            yield
        except (err.Error, OSError, TimeoutError, asyncio.IncompleteReadError) as error:
            raise map_error(error, self._shown) from error

    async def run(self, raw: Any, text: str) -> list[Any]:
        """Sends statements in one packet; the rows of the last one that selects some."""
        answers = await self.run_each(raw, text)
        return answers[-1] if answers else []

    async def run_each(self, raw: Any, text: str) -> list[list[Any]]:
        """Sends statements in one packet; the rows of each one that selects some.

        Whatever goes wrong on the way leaves the connection in an unknown state: it is closed. What
        the server itself refuses (somebody is in the way) ends the packet in good order.
        """
        try:
            with self._mapped():
                async with asyncio.timeout(self._timeout):
                    return await execute(raw, text)
        except BaseException as error:
            cause = error.__cause__
            harmless = isinstance(cause, (err.IntegrityError, err.ProgrammingError))
            if not harmless and not isinstance(error, ConflictError):
                raw.close()
            raise

    @contextlib.asynccontextmanager
    async def _connection(self) -> AsyncGenerator[Any]:
        pool = await self._pool()
        with self._mapped():
            raw = await pool.acquire()
        try:
            yield raw
        finally:
            pool.release(raw)

    # --- statements

    async def ask(self, text: str) -> list[Any]:
        """Rows of finished SQL."""
        async with self._connection() as raw:
            return await self.run(raw, text)

    async def fetch(self, statement: str, **parameters: Any) -> list[Any]:
        """See :meth:`Database.fetch`."""
        return await self.query(SQL[statement], **parameters)

    async def list_runs(
        self, filter: ListFilter, after: tuple[int, int] | None, limit: int
    ) -> list[Any]:
        """See :meth:`Database.list_runs`."""
        text, values = listing(SQL["describe"], filter, after, limit)
        return await self.query(text, **values)

    async def query(self, text: str, **parameters: Any) -> list[Any]:
        """Rows of a statement that was put together, in a transaction of its own."""
        return await self.ask(self.bound(text, parameters))

    def bound(self, text: str, parameters: dict[str, Any]) -> str:
        """A statement about our tables with its parameters written in."""
        return bound(with_prefix(text, self.prefix), parameters)

    async def link(self) -> _Link:
        """See :meth:`Database.link`."""
        pool = await self._pool()
        with self._mapped():
            raw = await pool.acquire()
        return _Link(self, pool, raw)

    def packets(self, statements: Iterable[str]) -> list[str]:
        """Statements joined to packets that the server takes."""
        packets: list[str] = []
        parts: list[str] = []
        size = 0
        for statement in statements:
            # A character may take four bytes; nearly all take one.
            length = len(statement) if statement.isascii() else len(statement.encode())
            if parts and size + length > self._packet - _SLACK:
                packets.append(";\n".join(parts))
                parts, size = [], 0
            parts.append(statement)
            size += length + 2
        return [*packets, ";\n".join(parts)] if parts else packets

    async def look(self, now: int | None, since: int) -> Look:
        """See :meth:`Database.look`."""
        async with self._connection() as raw:
            parameters = {"now": now, "since": since, "booted": self.booted}
            rows = await self.run(raw, self.bound(SQL["look"], parameters))
        # The same glance stands in each row, beside one session; no session is a row of NULLs.
        shown, known = rows[0][:-4], [row[-4:] for row in rows if row[-4] is not None]
        sessions = tuple((one, build, expires) for one, build, expires, _ in known)
        unlocked = frozenset(one for one, _, _, free in known if free)
        times = [at for at in (*shown[9:], *(expires for _, _, expires in sessions)) if at]
        flags = map(bool, shown[1:9])
        next_due = min(times, default=None)
        return Look._make((int(shown[0]), *flags, next_due, sessions, unlocked, False))

    # --- the schema

    async def migrate(self) -> list[str]:
        """See :meth:`Database.migrate`."""
        async with self._connection() as raw:
            return await _migrations.migrate(lambda text: self.run(raw, text), self.prefix)

    def planned(self, version: int) -> list[tuple[str, str]]:
        """See :meth:`Database.planned`."""
        scripts = _migrations.missing(version)
        return [(script.name, with_prefix(script.text, self.prefix)) for script in scripts]

    async def stored_version(self) -> tuple[int, int]:
        """See :meth:`Database.stored_version`."""
        return await _migrations.stored_version(self.ask, self.prefix)

    # --- sessions

    async def keeper(self, session_id: str, clock: Callable[[], int] | None) -> SessionKeeper:
        """See :meth:`Database.keeper`."""
        return _Keeper(self, session_id, clock)

    async def hold(self, session_id: str) -> None:
        """See :meth:`Database.hold`: a user lock, on a connection of its own."""
        if not self._locks_sessions:
            return
        await self.let_go(session_id)
        name = self.lock_name(session_id)
        raw = self._holders[session_id] = await self.connect()
        ((taken,),) = await self.run(raw, self.bound(SQL["hold_lock"], {"lock": name}))
        if taken:
            noted = {"lock": name, "booted": self.booted, "id": session_id}
            await self.run(raw, self.bound(SQL["note_lock"], noted))

    async def let_go(self, session_id: str) -> None:
        """See :meth:`Database.let_go`."""
        raw = self._holders.pop(session_id, None)
        if raw is not None:
            raw.close()

    def lock_name(self, session_id: str) -> str:
        """The user lock of a session; 64 characters at most, for all databases of the server."""
        place = f"{self._access.get('db')} {self.prefix} {session_id}"
        return f"perdure:{hashlib.sha256(place.encode()).hexdigest()[:48]}"

    # --- other processes: they look for themselves

    def listen(self, wake: Callable[[Sequence[str], Sequence[str] | None], None]) -> None:
        """See :meth:`Database.listen`."""

    def tell(self, topics: Sequence[str], finished: Sequence[str]) -> None:
        """See :meth:`Database.tell`."""


def _close(raw: Any) -> None:
    raw.close()


class _Link(PlainLink):
    """A connection of the pool for one unit of work: one packet to lock and read, one to write."""

    def __init__(self, database: MysqlDatabase, pool: Pool, raw: Any) -> None:
        self._database = database
        self._pool = pool
        self._raw: Any = raw
        self._begun = False

    async def fetch(self, statement: str, **parameters: Any) -> list[Any]:
        """See :meth:`Link.fetch`."""
        text = self._database.bound(SQL[statement], parameters)
        if not self._begun:
            self._begun = True
            text = f"BEGIN;\n{text}"
        return await self._database.run(self._raw, text)

    async def fetch_each(self, *asked: Asked) -> list[list[Any]]:
        """See :meth:`Link.fetch_each`: one packet."""
        texts = [self._database.bound(SQL[name], parameters) for name, parameters in asked]
        if not self._begun:
            self._begun = True
            texts.insert(0, "BEGIN")
        return await self._database.run_each(self._raw, ";\n".join(texts))

    async def finish(self, writes: Sequence[Write], *, staged: bool) -> None:
        """See :meth:`Link.finish`. Statements run in order, so nothing need be staged."""
        prefix = self._database.prefix
        texts = [text for write in writes for text in statements_for(write, prefix)]
        if not self._begun and len(texts) > 1:
            texts.insert(0, "BEGIN")
            self._begun = True
        if self._begun:
            texts.append("COMMIT")
        await self.send(texts)

    async def send(self, texts: Iterable[str]) -> None:
        """Sends what ends the transaction."""
        self._begun = True
        for packet in self._database.packets(texts):
            await self._database.run(self._raw, packet)
        self._release()

    async def abandon(self) -> None:
        """See :meth:`Link.abandon`."""
        if self._raw is None:
            return
        if self._begun and not self._raw.closed:
            try:
                await self._database.run(self._raw, "ROLLBACK")
            except BackendError:
                self._raw.close()
        self._release()

    def _release(self) -> None:
        raw, self._raw = self._raw, None
        if raw is not None:
            self._pool.release(raw)


class _Keeper:
    """Renews a session over a connection of its own."""

    def __init__(
        self, database: MysqlDatabase, session_id: str, clock: Callable[[], int] | None
    ) -> None:
        self._database = database
        self._session_id = session_id
        self._clock = clock
        self._raw: Any = None

    async def renew(self) -> bool:
        """See :meth:`SessionKeeper.renew`."""
        if self._raw is None or self._raw.closed:
            self._raw = await self._database.connect()
        now = None if self._clock is None else self._clock()
        text = self._database.bound(SQL["renew_session"], {"now": now, "id": self._session_id})
        await self._database.run(self._raw, text)
        return changed(self._raw) == 1

    async def aclose(self) -> None:
        """See :meth:`SessionKeeper.aclose`."""
        raw, self._raw = self._raw, None
        if raw is not None:
            raw.close()


_CONFLICTS: Final = frozenset((UNMET, 1020, 1062, 1205, 1213, 3572))
"""A comparison, record changed, duplicate key, lock wait time-out, deadlock, lock not available."""

_UNAVAILABLE: Final = frozenset(
    (
        *(1040, 1043, 1053, 1077, 1078, 1079, 1080, 1129, 1152, 1158, 1159, 1160, 1161, 1184),
        *(1203, 1226, 1317, 1927, 2002, 2003, 2006, 2013, 2014, 2026, 2055, 3024, 4031),
    )
)
_FULL: Final = frozenset((1021, 1030, 1114))
_READ_ONLY: Final = frozenset((1036, 1290, 1792, 1836))
_REFUSED: Final = frozenset((1044, 1045, 1142, 1227, 1698))


def map_error(error: BaseException, where: str) -> Exception:
    """The error that users (or the retry) see for one of the driver's."""
    code = error.args[0] if isinstance(error, err.Error) and error.args else None
    text = str(error.args[1]) if isinstance(error, err.Error) and len(error.args) > 1 else ""
    if code in _CONFLICTS:
        return ConflictError(text)
    if code in _REFUSED:
        return BackendError(f"{where}: the server refuses the user: {text}")
    if code == 1049:
        return BackendError(f"{where}: {text}; create it with `CREATE DATABASE`")
    if code == 1146:
        return SchemaVersionError(f"{where}: our tables are not there; run `perdure migrate`")
    if code == 1153:
        return PayloadTooLargeError(f"{where}: a packet is too large for the server: {text}")
    if code in _FULL:
        return BackendFullError(
            f"{where}: the server's disk is full; nothing acknowledged is lost, make room and go on"
        )
    if code in _READ_ONLY:
        return BackendReadOnlyError(f"{where}: the server is read-only (a replica?): {text}")
    if code in _UNAVAILABLE or not isinstance(error, err.Error) or code == 0:
        reason = text or str(error) or type(error).__name__
        return BackendUnavailableError(f"{where} does not answer: {reason}")
    return BackendError(f"{where}: {type(error).__name__}: {error}")
