"""The driver's side: a pool, units of work in few round trips, NOTIFY, advisory locks, errors.

PYTEST_DONT_REWRITE
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import logging
import secrets
from collections.abc import AsyncGenerator, Callable, Generator, Sequence
from typing import Any, Final

import asyncpg
from asyncpg import exceptions as pg
from perdure import (
    BackendError,
    BackendFullError,
    BackendReadOnlyError,
    BackendUnavailableError,
    SchemaVersionError,
)

from .._ids import new_token
from .._relational import (
    RUN_COLUMNS,
    Claimed,
    ConflictError,
    Link,
    Look,
    LoopPools,
    PlainLink,
    Teller,
    Undivided,
    Write,
    end_tasks,
    opened,
)
from .._relational._listing import listing
from .._wakeups import ACTIVITIES, ANSWERS, DUE, TURNS
from ..contract import SessionKeeper
from ..records import ListFilter
from . import _migrations
from ._statements import SQL, compared, compile_text, composed, in_schema, lock_key

_log: Final = logging.getLogger("perdure.backends")

_LARGEST: Final = 256 * 1024 * 1024
"""Bytes of one message of the protocol that the server certainly takes (its limit is 1 GiB)."""

_DRIVER: Final = (
    pg.PostgresError,
    pg.InterfaceError,
    pg.InternalClientError,
    OSError,
    TimeoutError,
)
"""What the driver raises; where a connection breaks in the middle, internal errors too."""

_LISTEN_PAUSE: Final = 0.5

_CLAIMED: Final = len(RUN_COLUMNS) + 3
"""Columns of a claimed run, when it became ready, and what else there is to do."""

_INDEXED: Final = {
    # Our tables are empty when the first plans are made, and plans are kept: reading all of a
    # table is never what a statement of ours wants.
    "enable_seqscan": "off",
    "enable_hashjoin": "off",
    "enable_mergejoin": "off",
    "jit": "off",
    "plan_cache_mode": "force_generic_plan",
}


class PostgresDatabase(Undivided):
    """A schema of a PostgreSQL database.

    Args:
        dsn: where it is; ``None`` with a pool of the user's own.
        shown: the same without secrets.
        schema: the schema that holds our tables.
        pool_size: connections at most.
        timeout: seconds that one statement may take.
        transaction_pooler: a pooler in between hands out another connection for each
            transaction: no LISTEN, session locks or prepared statements.
        pool: a pool of the user's own, which stays theirs.
    """

    def __init__(
        self,
        dsn: str | None,
        *,
        shown: str,
        schema: str,
        pool_size: int = 10,
        timeout: float = 30.0,
        transaction_pooler: bool = False,
        pool: asyncpg.Pool[Any] | None = None,
    ) -> None:
        self._dsn = dsn
        self._shown = shown
        self._schema = schema
        self._pool_size = pool_size
        self._timeout = timeout
        self._pooler = transaction_pooler
        self._given = pool
        self._pools = LoopPools(self._make_pool, _close_pool, _terminate_pool, shown)
        self._holders: dict[str, asyncpg.Connection[Any]] = {}
        self._me = secrets.token_hex(4)
        self._channel = f"perdure_{schema}"
        self._listener: asyncio.Task[None] | None = None
        self._teller = Teller(self._me, self._notify)

    @property
    def url(self) -> str:
        """See :attr:`Database.url`."""
        return self._shown

    @property
    def pushes(self) -> bool:
        """See :attr:`Database.pushes`."""
        return not self._pooler and self._dsn is not None

    @property
    def largest(self) -> int:
        """See :attr:`Database.largest`."""
        return _LARGEST

    # --- connections

    @property
    def compares(self) -> bool:
        """See :attr:`Database.compares`."""
        return True

    async def write_compared(self, checks: Sequence[Write], writes: Sequence[Write]) -> None:
        """See :meth:`Database.write_compared`: one statement, which is its own transaction."""
        text, arguments = compared(checks, writes, self._schema)
        async with self._connection() as connection:
            await connection.fetchval(text, *arguments)

    async def open(self) -> None:
        """See :meth:`Database.open`."""
        self._pools.open()
        await self._pool()

    async def _pool(self) -> asyncpg.Pool[Any]:
        return self._given if self._given is not None else await self._pools.get()

    async def _make_pool(self) -> asyncpg.Pool[Any]:
        pool = asyncpg.create_pool(
            self._dsn,
            min_size=0,  # with a floor the driver logs each outage, with its traceback
            max_size=self._pool_size,
            max_inactive_connection_lifetime=60.0,
            reset=_no_reset,
            **self._settings(),
        )
        with self._mapped():
            await pool
        return pool

    def _settings(self) -> dict[str, Any]:
        settings: dict[str, Any] = {"command_timeout": self._timeout, "timeout": self._timeout}
        if self._pooler:
            settings["statement_cache_size"] = 0
        else:
            settings["statement_cache_size"] = 1000
            settings["server_settings"] = {**_INDEXED, "application_name": "perdure"}
        return settings

    async def connect(self) -> asyncpg.Connection[Any]:
        """A connection outside of the pool."""
        if self._dsn is None:
            raise BackendError("a store around a pool of yours opens no connections of its own")
        with self._mapped():
            return await opened(asyncpg.connect(self._dsn, **self._settings()), _drop)

    async def aclose(self) -> None:
        """See :meth:`Database.aclose`."""
        listener, self._listener = self._listener, None
        await end_tasks(listener, self._teller.task)
        for session_id in list(self._holders):
            await self.let_go(session_id)
        await self._pools.aclose()

    @contextlib.contextmanager
    def _mapped(self) -> Generator[None]:
        try:
            yield
        except _DRIVER as error:
            raise map_error(error, self._shown) from error

    @contextlib.asynccontextmanager
    async def _connection(self) -> AsyncGenerator[asyncpg.Connection[Any]]:
        """A connection of the pool."""
        pool = await self._pool()
        with self._mapped():
            connection: Any = await pool.acquire(timeout=self._timeout)
            try:
                yield connection
            except pg.PostgresError:
                raise
            except BaseException:  # nobody knows what is on its way still
                _drop(connection)
                raise
            finally:
                await pool.release(connection)

    # --- statements

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
        compiled = compile_text(text, self._schema)
        async with self._connection() as connection:
            return await connection.fetch(compiled.text, *compiled.arguments(parameters))

    async def link(self) -> Link:
        """See :meth:`Database.link`."""
        pool = await self._pool()
        with self._mapped():
            connection = await pool.acquire(timeout=self._timeout)
        return _Link(self, pool, connection)

    async def look(self, now: int | None, since: int) -> Look:
        """See :meth:`Database.look`."""
        (row,) = await self.fetch("look", now=now, since=since)
        *shown, ids, builds, expiries, unlocked = row
        sessions = tuple(zip(ids, builds, expiries, strict=True))
        return Look._make((*shown, sessions, frozenset(unlocked), False))

    # --- the schema

    async def migrate(self) -> list[str]:
        """See :meth:`Database.migrate`."""
        async with self._connection() as connection:
            return await _migrations.migrate(connection, self._schema)

    def planned(self, version: int) -> list[tuple[str, str]]:
        """See :meth:`Database.planned`."""
        scripts = _migrations.missing(version)
        return [(script.name, in_schema(script.text, self._schema)) for script in scripts]

    async def stored_version(self) -> tuple[int, int]:
        """See :meth:`Database.stored_version`."""
        async with self._connection() as connection:
            return await _migrations.stored_version(connection, self._schema)

    # --- sessions

    async def keeper(self, session_id: str, clock: Callable[[], int] | None) -> SessionKeeper:
        """See :meth:`Database.keeper`."""
        return _Keeper(self, session_id, clock)

    async def hold(self, session_id: str) -> None:
        """See :meth:`Database.hold`: an advisory lock, on a connection of its own."""
        if self._pooler or self._dsn is None:
            return
        await self.let_go(session_id)
        key = lock_key(self._schema, session_id)
        connection = await self.connect()
        self._holders[session_id] = connection
        ((taken,),) = await self.ask(connection, "hold_lock", key=key)
        if taken:
            await self.ask(connection, "note_lock", key=key, id=session_id)

    async def let_go(self, session_id: str) -> None:
        """See :meth:`Database.let_go`."""
        connection = self._holders.pop(session_id, None)
        if connection is not None:
            _drop(connection)

    async def ask(
        self, connection: asyncpg.Connection[Any], statement: str, **parameters: Any
    ) -> list[Any]:
        """Rows of a statement on a connection outside of the pool."""
        compiled = compile_text(SQL[statement], self._schema)
        with self._mapped():
            return await connection.fetch(compiled.text, *compiled.arguments(parameters))

    @property
    def schema(self) -> str:
        """The schema that holds our tables."""
        return self._schema

    # --- other processes

    def listen(self, wake: Callable[[Sequence[str], Sequence[str] | None], None]) -> None:
        """See :meth:`Database.listen`."""
        if self.pushes:
            self._listener = asyncio.get_running_loop().create_task(self._listen(wake))

    async def _listen(self, wake: Callable[[Sequence[str], Sequence[str] | None], None]) -> None:
        def heard(_connection: Any, _pid: int, _channel: str, payload: Any) -> None:
            sender, topics, ended = json.loads(payload)
            if sender != self._me:
                wake(topics, ended)

        while True:
            try:
                connection = await self.connect()
                lost = asyncio.Event()
                connection.add_termination_listener(lambda _connection, lost=lost: lost.set())
                try:
                    await connection.add_listener(self._channel, heard)
                    wake((TURNS, ACTIVITIES, DUE, ANSWERS), None)  # what was told meanwhile
                    await lost.wait()
                finally:
                    connection.terminate()
            except (BackendError, *_DRIVER) as error:
                _log.debug("no notifications from %s for a moment: %s", self._shown, error)
            await asyncio.sleep(_LISTEN_PAUSE)

    def tell(self, topics: Sequence[str], finished: Sequence[str]) -> None:
        """See :meth:`Database.tell`."""
        if not self.pushes:
            return
        self._teller.tell(topics, finished)

    async def _notify(self, message: str) -> None:
        async with self._connection() as connection:
            await connection.execute("SELECT pg_notify($1, $2)", self._channel, message)


async def _close_pool(pool: asyncpg.Pool[Any]) -> None:
    await pool.close()


async def _terminate_pool(pool: asyncpg.Pool[Any]) -> None:
    pool.terminate()


def _drop(connection: Any) -> None:
    """Closes a connection whose state nobody knows."""
    try:
        connection.terminate()
    except pg.InterfaceError:
        pass  # it was closed by the other side, and is out of the pool already


async def _no_reset(_connection: Any) -> None:
    """Our units leave nothing behind that a connection must be cleaned of."""


class _Link(PlainLink):
    """A connection of the pool for one unit of work."""

    def __init__(self, database: PostgresDatabase, pool: asyncpg.Pool[Any], raw: Any) -> None:
        self._database = database
        self._pool = pool
        self._raw: Any = raw
        self._begun = False
        self._broken = False

    async def fetch(self, statement: str, **parameters: Any) -> list[Any]:
        """See :meth:`Link.fetch`."""
        compiled = compile_text(SQL[statement], self._database.schema)
        return await self._ask(compiled.text, compiled.arguments(parameters))

    async def claim_at_once(self, **parameters: Any) -> Claimed | None:
        """See :meth:`Link.claim_at_once`."""
        compiled = compile_text(SQL["claim_at_once"], self._database.schema)
        tokens = [new_token() for _ in range(parameters["limit"])]
        arguments = compiled.arguments({**parameters, "tokens": tokens})
        rows = await self._ask(compiled.text, arguments, begin=False)
        entries: list[Any] = []
        outdated: list[int] = []
        for row in rows:
            numbers = row["numbers"]
            if not row["unread"]:
                continue
            if len(numbers) == row["unread"] and numbers[-1] == row["last_seq"]:
                entries += zip(itertools.repeat(row["serial"]), numbers, row["entries"])
            else:  # some came or went while the statement waited
                outdated.append(row["serial"])
        if outdated:
            compiled = compile_text(SQL["read_inboxes"], self._database.schema)
            arguments = compiled.arguments({"runs": outdated})
            entries += await self._ask(compiled.text, arguments, begin=False)
        return [row[:_CLAIMED] for row in rows], entries

    async def _ask(self, text: str, arguments: Sequence[Any], *, begin: bool = True) -> list[Any]:
        try:
            if begin and not self._begun:
                await self._raw.execute("BEGIN")
                self._begun = True
            rows: list[Any] = await self._raw.fetch(text, *arguments)
            return rows
        except pg.PostgresError as error:
            raise map_error(error, self._database.url) from error
        except _DRIVER as error:
            self._broken = True
            raise map_error(error, self._database.url) from error
        except BaseException:
            self._broken = True
            raise

    async def finish(self, writes: Sequence[Write], *, staged: bool) -> None:
        """See :meth:`Link.finish`."""
        schema = self._database.schema
        if staged and len(writes) > 1:
            await self._ask(*composed(writes[:1], schema))
            writes = writes[1:]
        if writes:
            # A single statement of a unit that has read nothing needs no transaction around it.
            await self._ask(*composed(writes, schema), begin=False)
        if self._begun:
            await self._ask("COMMIT", ())
        await self._release()

    async def abandon(self) -> None:
        """See :meth:`Link.abandon`."""
        if self._raw is None:
            return
        if self._begun and not self._broken:
            try:
                await self._raw.execute("ROLLBACK", timeout=5)
            except _DRIVER:
                self._broken = True
        if self._broken:
            _drop(self._raw)
        await self._release()

    async def _release(self) -> None:
        raw, self._raw = self._raw, None
        if raw is not None:
            await self._pool.release(raw)


class _Keeper:
    """Renews a session over a connection of its own."""

    def __init__(
        self, database: PostgresDatabase, session_id: str, clock: Callable[[], int] | None
    ) -> None:
        self._database = database
        self._session_id = session_id
        self._clock = clock
        self._raw: asyncpg.Connection[Any] | None = None

    async def renew(self) -> bool:
        """See :meth:`SessionKeeper.renew`."""
        if self._raw is None or self._raw.is_closed():
            self._raw = await self._database.connect()
        now = None if self._clock is None else self._clock()
        ask = self._database.ask
        return bool(await ask(self._raw, "renew_session", now=now, id=self._session_id))

    async def aclose(self) -> None:
        """See :meth:`SessionKeeper.aclose`."""
        raw, self._raw = self._raw, None
        if raw is not None:
            _drop(raw)


_CONFLICTS: Final = (
    pg.DeadlockDetectedError,
    pg.SerializationError,
    pg.LockNotAvailableError,
    pg.UniqueViolationError,
    pg.DivisionByZeroError,  # a comparison of `write_compared`
)
_UNAVAILABLE: Final = (
    pg.PostgresConnectionError,
    pg.InterfaceError,
    pg.InternalClientError,
    pg.OperatorInterventionError,
    pg.TooManyConnectionsError,
    pg.CannotConnectNowError,
    OSError,
    TimeoutError,
)


def map_error(error: Exception, where: str) -> Exception:
    """The error that users (or the retry) see for one of the driver's."""
    if isinstance(error, _CONFLICTS):
        return ConflictError(str(error))
    if isinstance(error, pg.QueryCanceledError):
        return BackendUnavailableError(f"{where}: a statement took too long: {error}")
    if isinstance(error, (pg.InvalidPasswordError, pg.InvalidAuthorizationSpecificationError)):
        return BackendError(f"{where}: the server refuses the user or password: {error}")
    if isinstance(error, pg.InvalidCatalogNameError):
        return BackendError(f"{where}: {error}; create it with `createdb`")
    if isinstance(error, pg.DiskFullError):
        return BackendFullError(
            f"{where}: the server's disk is full; nothing acknowledged is lost, make room and go on"
        )
    if isinstance(error, pg.ReadOnlySQLTransactionError):
        return BackendReadOnlyError(f"{where}: the server is read-only (a standby?): {error}")
    if isinstance(error, pg.InsufficientPrivilegeError):
        return BackendError(f"{where}: the user lacks a privilege: {error}")
    if isinstance(error, (pg.UndefinedTableError, pg.InvalidSchemaNameError)):
        return SchemaVersionError(f"{where}: our tables are not there; run `perdure migrate`")
    if isinstance(error, _UNAVAILABLE):
        reason = str(error) or type(error).__name__
        return BackendUnavailableError(f"{where} does not answer: {reason}")
    return BackendError(f"{where}: {type(error).__name__}: {error}")
