"""What a database server's store must bring: connections, statements by name, locks of sessions.

PYTEST_DONT_REWRITE
"""

from __future__ import annotations

import abc
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol

from ..contract import SessionKeeper
from ..records import ListFilter


class ConflictError(Exception):
    """Somebody else was in the way (a deadlock, a race for a key): the unit is tried again."""


class Write(NamedTuple):
    """Rows for one statement, which handles all of them."""

    statement: str
    rows: Sequence[tuple[Any, ...]]


class Look(NamedTuple):
    """What one glance at the store shows. Times are the store's.

    Attributes:
        ready: instances, or activities that may have killed their worker, are claimable.
        waiting: activities are claimable, by somebody.
        asked: queries are not answered yet.
        parked: instances are parked.
        due: timers or time-outs have come due.
        retries: activities have become claimable since the last glance.
        forgotten: queries have expired.
        limits: queues have limits.
        next_due: when the next thing comes due.
        sessions: all sessions, as (id, build, expires_at).
        unlocked: ids of sessions whose session lock is free now.
        posted: something waits for being relayed to another shard, by anybody.
    """

    now: int
    ready: bool
    waiting: bool
    asked: bool
    parked: bool
    due: bool
    retries: bool
    forgotten: bool
    limits: bool
    next_due: int | None
    sessions: tuple[tuple[str, str, int], ...]
    unlocked: frozenset[str]
    posted: bool


Asked = tuple[str, dict[str, Any]]
"""A statement and its parameters."""


Claimed = tuple[list[Any], list[Any]]
"""Rows of runs, and of their inboxes."""


class Link(Protocol):
    """A connection for one unit of work. Raises :class:`ConflictError` and mapped errors."""

    async def fetch(self, statement: str, **parameters: Any) -> list[Any]:
        """Rows of a reading (or locking) statement; the transaction begins with the first one."""
        ...

    async def fetch_each(self, *asked: Asked) -> list[list[Any]]:
        """Rows of several such statements, in order; in one round trip where the driver can."""
        ...

    async def claim_at_once(self, **parameters: Any) -> Claimed | None:
        """Takes runs of one queue in a single step, where the store can; nothing was read before.

        Returns:
            Rows of runs as they are now, each with when it became ready and the columns of the
            statement ``suspects`` behind it; one of ``NULL`` and those where nothing was taken.
            And what is unread of them. ``None``: the store can't.
        """
        ...

    async def finish(self, writes: Sequence[Write], *, staged: bool) -> None:
        """Writes and commits, in as few round trips as the driver allows.

        Args:
            staged: the first of them must be done before the others.
        """
        ...

    async def abandon(self) -> None:
        """Rolls back whatever there is, and hands the connection back."""
        ...


class PlainLink(abc.ABC):
    """What a :class:`Link` does whose driver has no shorter way."""

    @abc.abstractmethod
    async def fetch(self, statement: str, **parameters: Any) -> list[Any]:
        """See :meth:`Link.fetch`."""

    async def fetch_each(self, *asked: Asked) -> list[list[Any]]:
        """See :meth:`Link.fetch_each`: one after the other."""
        return [await self.fetch(name, **parameters) for name, parameters in asked]

    async def claim_at_once(self, **parameters: Any) -> Claimed | None:
        """See :meth:`Link.claim_at_once`: it can't."""
        return None


class Undivided:
    """What a :class:`Database` says that has no shards: all instances lie here."""

    @property
    def others(self) -> Sequence[int]:
        """See :attr:`Database.others`."""
        return ()

    def is_here(self, instance_id: str) -> bool:
        """See :meth:`Database.is_here`."""
        return True

    async def posted(self) -> list[Any]:
        """See :meth:`Database.posted`."""
        return []


class Database(Protocol):
    """A database server with our tables in it."""

    @property
    def url(self) -> str:
        """Where it is, without secrets."""
        ...

    @property
    def pushes(self) -> bool:
        """Whether other processes' work is told; else the store is looked at more often."""
        ...

    @property
    def largest(self) -> int:
        """Bytes that one value, and one unit of work, may have."""
        ...

    @property
    def others(self) -> Sequence[int]:
        """Numbers of the other shards, where the store has several."""
        ...

    def is_here(self, instance_id: str) -> bool:
        """Whether an instance lies here, and not in another shard."""
        ...

    @property
    def compares(self) -> bool:
        """Whether it has :meth:`write_compared`."""
        ...

    async def write_compared(self, checks: Sequence[Write], writes: Sequence[Write]) -> None:
        """Writes and commits in one step, if all rows of the first ones are as expected.

        ``compare_runs`` updates runs, each row followed by what the columns of
        :data:`._known.COMPARED` must be; ``settle_activities`` deletes activities by run, number
        and token.

        Raises:
            ConflictError: one is not; nothing was written.
        """
        ...

    async def posted(self) -> list[Any]:
        """What was posted for other shards, as (number, due, item), in order."""
        ...

    async def open(self) -> None:
        """Connects."""
        ...

    async def aclose(self) -> None:
        """Closes all connections. Idempotent."""
        ...

    async def link(self) -> Link:
        """A connection for one unit of work; the caller ends it, one way or the other."""
        ...

    async def fetch(self, statement: str, **parameters: Any) -> list[Any]:
        """Rows of one statement in a transaction of its own."""
        ...

    async def list_runs(
        self, filter: ListFilter, after: tuple[int, int] | None, limit: int
    ) -> list[Any]:
        """Rows as ``describe_run`` gives them, newest start first.

        Args:
            after: start and serial of the last run of the page before.
        """
        ...

    async def look(self, now: int | None, since: int) -> Look:
        """One glance, in as few statements as can be.

        Args:
            now: the test clock's time; ``None`` for the server's.
            since: the time of the last glance; activities that came due since count as due.
        """
        ...

    async def keeper(self, session_id: str, clock: Callable[[], int] | None) -> SessionKeeper:
        """A keeper with a connection of its own; on any event loop."""
        ...

    async def hold(self, session_id: str) -> None:
        """Takes a session's lock, which is free as soon as this process is gone.

        Where the server has no such locks, nothing happens.
        """
        ...

    async def let_go(self, session_id: str) -> None:
        """Gives a session's lock back, if it is held."""
        ...

    def listen(self, wake: Callable[[Sequence[str], Sequence[str] | None], None]) -> None:
        """From now on calls ``wake`` with topics and ends of runs that other processes tell.

        Ends are ``None`` where it is not known which runs have ended.
        """
        ...

    def tell(self, topics: Sequence[str], finished: Sequence[str]) -> None:
        """Tells other processes, soon; never fails."""
        ...

    async def migrate(self) -> list[str]:
        """Applies the migrations that are missing, under a lock; says which."""
        ...

    def planned(self, version: int) -> list[tuple[str, str]]:
        """Names and texts of the migrations that a schema of ``version`` lacks."""
        ...

    async def stored_version(self) -> tuple[int, int]:
        """Version of the schema in the store (0: none) and the oldest reader that it allows."""
        ...
