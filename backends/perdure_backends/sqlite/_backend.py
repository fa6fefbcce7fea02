"""The SQLite store's face: the contract's methods, each one transaction in one thread hop.

PYTEST_DONT_REWRITE
"""

from __future__ import annotations

import asyncio
import math
import sqlite3
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, TypeVar

from .. import _liveness
from .._images import InstanceImage
from .._wakeups import ACTIVITIES, ANSWERS, DUE, TURNS, Wakeups
from ..contract import SessionKeeper
from ..records import (
    Action,
    ActivityClaim,
    ActivityResult,
    ActivityTask,
    ClaimedTurns,
    CommitOutcome,
    ControlResult,
    Document,
    Heartbeat,
    HeartbeatResult,
    InstanceRecord,
    Lease,
    ListFilter,
    ListPage,
    Message,
    Overview,
    Pending,
    QueryAnswer,
    QueryClaim,
    QueryRequest,
    QueryTask,
    QueueLimit,
    RemoveResult,
    RestoreResult,
    RunEnd,
    SendResult,
    SessionRecord,
    SessionStart,
    StartOutcome,
    StartRequest,
    SweepReport,
    TurnClaim,
    TurnCommit,
    UpdateAnswer,
)
from . import (
    _activities,
    _control,
    _looking,
    _migrations,
    _moving,
    _overview,
    _queries,
    _turns,
)
from ._connection import Connection, Synchronous
from ._statements import SQL
from ._steps import Tx

T = TypeVar("T")

_FAST_LOOK: Final = 0.02
_SLOW_LOOK: Final = 0.25


def wall_clock() -> int:
    """Microseconds since the epoch by this machine's clock, which all users of the file share."""
    return time.time_ns() // 1000


class SqliteBackend:
    """A store in one SQLite file.

    Args:
        path: the file, or ``:memory:``.
        synchronous: SQLite's durability: ``FULL`` (default: what was acknowledged survives a power
            cut), ``NORMAL`` (survives a killed process), ``EXTRA``.
        migrate: create or update the schema when opened.
        timeout: seconds to wait for another process's lock before trying again.
        clock: microseconds since the epoch; replaced by tests.
    """

    def __init__(
        self,
        path: str,
        *,
        synchronous: Synchronous = "FULL",
        migrate: bool = True,
        timeout: float = 5.0,
        clock: Callable[[], int] = wall_clock,
    ) -> None:
        self._path = path
        self._synchronous: Synchronous = synchronous
        self._migrate = migrate
        self._timeout = timeout
        self._clock = clock
        self._connection = Connection(path, synchronous, timeout)
        self._wakeups = Wakeups()
        self._swept = 0
        self._planned: float = math.inf
        self._watcher: asyncio.Task[None] | None = None
        self._opened = False

    @property
    def wakeups(self) -> Wakeups:
        """See :attr:`Backend.wakeups`."""
        return self._wakeups

    @property
    def url(self) -> str:
        """``sqlite:///`` and the path."""
        return f"sqlite:///{self._path}"

    # --- life

    async def open(self) -> None:
        """See :meth:`Backend.open`."""
        if self._opened:
            return
        await self._connection.open()
        try:
            if self._migrate:
                await self._connection.run(_migrations.migrate)
            await self._connection.run(_migrations.check)
        except BaseException:
            await self._connection.aclose()
            raise
        self._opened = True
        if self._path != ":memory:":
            self._watcher = asyncio.get_running_loop().create_task(self._watch())

    async def aclose(self) -> None:
        """See :meth:`Backend.aclose`."""
        watcher, self._watcher = self._watcher, None
        if watcher is not None:
            watcher.cancel()
            if watcher.get_loop() is asyncio.get_running_loop():
                await asyncio.wait([watcher])
        self._opened = False
        await self._connection.aclose()

    async def _watch(self) -> None:
        """Tells this process when another one has written: often while it does, else seldom."""
        seen = -1
        pause = _FAST_LOOK
        # On this thread: it reads one counter in shared memory, a hop would cost twenty times that.
        looking = sqlite3.connect(self._path, isolation_level=None)
        try:
            await self._look(looking, seen, pause)
        finally:
            looking.close()

    async def _look(self, looking: sqlite3.Connection, seen: int, pause: float) -> None:
        while True:
            try:
                version = _data_version(looking)
            except sqlite3.Error:
                version = seen
            if version != seen and seen != -1:
                pause = _FAST_LOOK
                self._wakeups.notify(TURNS, ACTIVITIES, DUE, ANSWERS)
                self._wakeups.notify_finished(None)
            else:
                pause = min(pause * 1.5, _SLOW_LOOK)
            seen = version
            await asyncio.sleep(pause)

    async def _change(
        self,
        function: Callable[[Tx], T],
        *,
        peek: Callable[[sqlite3.Connection], T | None] | None = None,
    ) -> T:
        """One write transaction; wakes whom it concerns once it is committed."""
        tx: Tx | None = None

        def step(connection: sqlite3.Connection) -> T:
            nonlocal tx
            tx = Tx(connection, self._clock())
            return function(tx)

        result = await self._connection.transaction(step, peek=peek)
        if tx is not None:
            if tx.topics:
                self._wakeups.notify(*tx.topics)
            if tx.earliest is not None and tx.earliest < self._planned:
                self._planned = tx.earliest
                self._wakeups.notify(DUE)
            if tx.finished:
                self._wakeups.notify_finished(tx.finished)
        return result

    # --- schema (optional protocol Migrating)

    async def schema_version(self) -> tuple[int, int]:
        """See :meth:`Migrating.schema_version`."""
        await self._connection.open() if not self._opened else None
        self._opened = True
        stored = await self._connection.run(_migrations.stored_version)
        return stored, _migrations.CODE_VERSION

    async def planned(self) -> list[tuple[str, str]]:
        """See :meth:`Migrating.planned`."""
        stored, _ = await self.schema_version()
        return [(script.name, script.text) for script in _migrations.missing(stored)]

    async def migrate(self) -> list[str]:
        """See :meth:`Migrating.migrate`."""
        if not self._opened:
            await self._connection.open()
            self._opened = True
        return await self._connection.run(_migrations.migrate)

    # --- sessions

    async def now(self) -> int:
        """See :meth:`Backend.now`."""
        return self._clock()

    async def open_session(self, session: SessionStart) -> None:
        """See :meth:`Backend.open_session`."""
        proof = _liveness.register(session.id, self._lock_folder())
        await self._change(lambda tx: _control.open_session(tx, session, proof))

    def _lock_folder(self) -> Path | None:
        return None if self._path == ":memory:" else Path(f"{self._path}-sessions").resolve()

    async def keep_session(self, session_id: str) -> SessionKeeper:
        """See :meth:`Backend.keep_session`."""
        if self._path == ":memory:":
            return _Keeper(self._connection, session_id, self._clock, own=False)
        connection = Connection(self._path, self._synchronous, self._timeout)
        await connection.open()
        return _Keeper(connection, session_id, self._clock, own=True)

    async def end_session(self, session_id: str) -> None:
        """See :meth:`Backend.end_session`."""
        await self._change(lambda tx: _control.end_session(tx, session_id))
        _liveness.unregister(session_id)

    # --- starting and messages

    async def start(self, requests: Sequence[StartRequest]) -> list[StartOutcome]:
        """See :meth:`Backend.start`."""
        return await self._change(lambda tx: [_turns.start(tx, r) for r in requests])

    async def send(self, messages: Sequence[Message]) -> list[SendResult]:
        """See :meth:`Backend.send`."""
        return await self._change(lambda tx: [_turns.send(tx, m) for m in messages])

    # --- turns

    async def claim_turns(self, claim: TurnClaim) -> ClaimedTurns:
        """See :meth:`Backend.claim_turns`."""
        name = "any_parked" if claim.parked else "any_ready"

        def peek(connection: sqlite3.Connection) -> ClaimedTurns | None:
            waiting = connection.execute(SQL[name], (self._clock(),)).fetchone()[0]
            return None if waiting else ClaimedTurns(tasks=())

        return await self._change(lambda tx: _turns.claim(tx, claim), peek=peek)

    async def read_history(self, run_id: str, after: int, limit: int) -> list[bytes]:
        """See :meth:`Backend.read_history`."""

        def read(connection: sqlite3.Connection) -> list[bytes]:
            rows = connection.execute(SQL["read_history"], (run_id, after, limit))
            return [row[0] for row in rows]

        return await self._connection.run(read)

    async def commit(self, commits: Sequence[TurnCommit]) -> list[CommitOutcome]:
        """See :meth:`Backend.commit`."""
        return await self._change(lambda tx: [_turns.commit(tx, item) for item in commits])

    async def release(self, leases: Sequence[Lease]) -> None:
        """See :meth:`Backend.release`."""

        def step(tx: Tx) -> None:
            for lease in leases:
                _turns.release(tx, lease)

        await self._change(step)

    async def retain(
        self, session_id: str, run_tokens: Sequence[str], activity_tokens: Sequence[str]
    ) -> int:
        """See :meth:`Backend.retain`."""
        runs, activities = set(run_tokens), set(activity_tokens)
        return await self._change(lambda tx: _control.retain(tx, session_id, runs, activities))

    # --- activities

    async def claim_activities(self, claim: ActivityClaim) -> list[ActivityTask]:
        """See :meth:`Backend.claim_activities`."""

        def peek(connection: sqlite3.Connection) -> list[ActivityTask] | None:
            waiting = connection.execute(SQL["any_activity"], (self._clock(),)).fetchone()[0]
            return None if waiting else []

        return await self._change(lambda tx: _activities.claim_activities(tx, claim), peek=peek)

    async def settle(self, results: Sequence[ActivityResult]) -> list[bool]:
        """See :meth:`Backend.settle`."""
        return await self._change(lambda tx: [_activities.settle(tx, r) for r in results])

    async def heartbeat(self, beats: Sequence[Heartbeat]) -> list[HeartbeatResult]:
        """See :meth:`Backend.heartbeat`."""
        return await self._change(lambda tx: [_activities.heartbeat(tx, b) for b in beats])

    # --- keeping house

    async def sweep(self, session_id: str, limit: int) -> SweepReport:
        """See :meth:`Backend.sweep`."""

        def step(tx: Tx) -> SweepReport:
            report = _control.sweep(tx, session_id, limit, self._swept)
            self._swept = tx.now
            # Set within the transaction: what others plan from here on comes after it.
            self._planned = math.inf if report.next_due is None else report.next_due
            return report

        def peek(connection: sqlite3.Connection) -> SweepReport | None:
            now = self._clock()
            since, self._swept = self._swept, now
            report = _control.nothing_due(connection, session_id, now, since)
            if report is None:
                self._swept = since
            else:
                self._planned = math.inf if report.next_due is None else report.next_due
            return report

        return await self._change(step, peek=peek)

    # --- queries and updates

    async def ask(self, requests: Sequence[QueryRequest]) -> list[SendResult]:
        """See :meth:`Backend.ask`."""
        return await self._change(lambda tx: [_queries.ask(tx, r) for r in requests])

    async def claim_queries(self, claim: QueryClaim) -> list[QueryTask]:
        """See :meth:`Backend.claim_queries`."""
        return await self._change(lambda tx: _queries.claim_queries(tx, claim))

    async def answer(self, answers: Sequence[QueryAnswer]) -> None:
        """See :meth:`Backend.answer`."""
        await self._change(lambda tx: _queries.answer(tx, answers))

    async def read_answers(self, query_ids: Sequence[str]) -> list[QueryAnswer | None]:
        """See :meth:`Backend.read_answers`."""
        return await self._change(
            lambda tx: _queries.read_answers(tx, query_ids),
            peek=lambda connection: _queries.peek_answers(connection, query_ids),
        )

    async def read_updates(
        self, instance_id: str, update_ids: Sequence[str]
    ) -> list[UpdateAnswer | None]:
        """See :meth:`Backend.read_updates`."""
        return await self._connection.run(
            lambda c: _queries.read_updates(c, instance_id, update_ids)
        )

    async def set_queue_limit(self, queue: str, limit: QueueLimit | None) -> None:
        """See :meth:`QueueControl.set_queue_limit`."""
        await self._change(lambda tx: _queries.set_queue_limit(tx, queue, limit))

    async def queue_limits(self) -> list[QueueLimit]:
        """See :meth:`QueueControl.queue_limits`."""
        return await self._connection.run(_queries.queue_limits)

    # --- looking and steering

    async def describe(self, instance_id: str, run_id: str | None = None) -> InstanceRecord | None:
        """See :meth:`Backend.describe`."""
        return await self._connection.run(lambda c: _looking.describe(c, instance_id, run_id))

    async def describe_runs(self, run_ids: Sequence[str]) -> list[InstanceRecord | None]:
        """See :meth:`Backend.describe_runs`."""
        return await self._connection.run(lambda c: _looking.describe_runs(c, run_ids))

    async def ends(self, run_ids: Sequence[str]) -> list[RunEnd]:
        """See :meth:`Backend.ends`."""
        return await self._connection.run(lambda c: _looking.ends(c, run_ids))

    async def pending(self, run_id: str) -> Pending:
        """See :meth:`Backend.pending`."""
        return await self._connection.run(lambda c: _looking.pending(c, run_id))

    async def control(self, instance_id: str, action: Action, reason: str) -> ControlResult:
        """See :meth:`Backend.control`."""
        return await self._change(lambda tx: _control.control(tx, instance_id, action, reason))

    async def remove(self, instance_id: str) -> RemoveResult:
        """See :meth:`Backend.remove`."""
        return await self._change(lambda tx: _control.remove(tx, instance_id))

    async def image(self, instance_id: str) -> InstanceImage | None:
        """See :meth:`Moving.image`."""
        return await self._change(lambda tx: _moving.image(tx, instance_id))

    async def restore(
        self, image: InstanceImage, histories: Sequence[Sequence[bytes]]
    ) -> RestoreResult:
        """See :meth:`Moving.restore`."""
        return await self._change(lambda tx: _moving.restore(tx, image, histories))

    async def discard(self, instance_id: str, mark: str) -> RemoveResult:
        """See :meth:`Moving.discard`."""
        return await self._change(lambda tx: _moving.discard(tx, instance_id, mark))

    async def overview(self, most: int) -> Overview:
        """See :meth:`Overseeing.overview`."""
        return await self._connection.run(lambda c: _overview.overview(c, self._clock(), most))

    async def put_documents(self, documents: Sequence[Document]) -> None:
        """See :meth:`Documents.put_documents`."""
        await self._connection.transaction(lambda c: _overview.put_documents(c, documents))

    async def list_documents(
        self, collection: str, after: str | None, limit: int, *, newest_first: bool = False
    ) -> list[Document]:
        """See :meth:`Documents.list_documents`."""
        return await self._connection.run(
            lambda c: _overview.list_documents(
                c, collection, after, limit, newest_first=newest_first
            )
        )

    async def clear_documents(self, collection: str, before: str) -> None:
        """See :meth:`Documents.clear_documents`."""
        await self._connection.transaction(
            lambda c: _overview.clear_documents(c, collection, before)
        )

    async def list_sessions(self) -> list[SessionRecord]:
        """See :meth:`Liveness.list_sessions`."""
        return await self._connection.run(_looking.list_sessions)

    async def list_instances(self, filter: ListFilter, after: str | None, limit: int) -> ListPage:
        """See :meth:`Listing.list_instances`."""
        return await self._connection.run(
            lambda c: _looking.list_instances(c, filter, after, limit)
        )


class _Keeper:
    """Renews one session over a connection of its own."""

    def __init__(
        self, connection: Connection, session_id: str, clock: Callable[[], int], *, own: bool
    ) -> None:
        self._connection = connection
        self._session_id = session_id
        self._clock = clock
        self._own = own

    async def renew(self) -> bool:
        def step(connection: sqlite3.Connection) -> bool:
            now = self._clock()
            cursor = connection.execute(SQL["renew_session"], (now, self._session_id, now))
            return cursor.rowcount == 1

        return await self._connection.transaction(step)

    async def aclose(self) -> None:
        if self._own:
            await self._connection.aclose()


def _data_version(connection: sqlite3.Connection) -> int:
    version: int = connection.execute("PRAGMA data_version").fetchone()[0]
    return version
