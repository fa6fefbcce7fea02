"""One shard on a Redis server: its keys, reading, and what this process knows because it wrote it.

PYTEST_DONT_REWRITE
"""

from __future__ import annotations

import asyncio
import hashlib
import secrets
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, TypeAlias

from perdure import BackendFormatError

from .. import _liveness
from .._relational import Link, Look, Write
from ..contract import SessionKeeper
from ..records import ListFilter
from ._keys import Keys
from ._known import Known
from ._link import RedisLink
from ._nodes import Nodes
from ._overview import Overviews
from ._rows import (
    ACTIVITY,
    RUN,
    decode_activity,
    decode_run,
    proof_of,
    scored,
    state_of,
    unpack,
)
from ._server import RedisServer, Wake, slot_of

Guard: TypeAlias = tuple[str, str, Any]
"""Kind, key and field of a value that must be as it was."""

Guards: TypeAlias = Mapping[Guard, Any]

CODE_VERSION: Final = 2
"""The layout of keys that this code writes."""

OLDEST_READER: Final = 1
"""The oldest code version that can work with this code's layout."""

_LARGEST: Final = 256 * 1024 * 1024
"""Bytes of one value; the server's limit is 512 MB."""

_SERIALS: Final = 4096
_PAGE: Final = 500
_HELD: Final = ("running", "suspended", "parked")
_LEASE_COLUMN: Final = 3


class RedisDatabase:
    """One shard of our keys.

    Args:
        server: where they are.
        shard: its number, from 0.
        shards: how many the store has.
    """

    def __init__(self, server: RedisServer, *, shard: int = 0, shards: int = 1) -> None:
        self._server = server
        self._shard = shard
        self._shards = shards
        self._others = tuple(number for number in range(shards) if number != shard)
        self._shown = server.shown
        self.name = server.name
        self.keys = Keys(server.prefix, shard)
        self.first = self.keys if shard == 0 else Keys(server.prefix, 0)
        """Keys of the first shard, which keeps what all of them share."""
        self._slot = slot_of(self.keys.meta)
        self._first_slot = slot_of(self.first.meta)
        self.known = Known()
        self._overviews = Overviews(self)

    @property
    def url(self) -> str:
        """See :attr:`Database.url`."""
        return self._shown

    @property
    def pushes(self) -> bool:
        """See :attr:`Database.pushes`."""
        return True

    @property
    def largest(self) -> int:
        """See :attr:`Database.largest`."""
        return _LARGEST

    @property
    def others(self) -> Sequence[int]:
        """See :attr:`Database.others`."""
        return self._others

    def is_here(self, instance_id: str) -> bool:
        """See :meth:`Database.is_here`."""
        return shard_of(instance_id, self._shards) == self._shard

    async def open(self) -> None:
        """See :meth:`Database.open`."""
        await self._server.open()

    async def aclose(self) -> None:
        """See :meth:`Database.aclose`."""
        await self._server.aclose()

    async def pipeline(self, commands: Sequence[tuple[Any, ...]]) -> list[Any]:
        """See :meth:`RedisServer.pipeline`."""
        return await self._server.pipeline(self._slot, commands)

    async def pipeline_of_first(self, commands: Sequence[tuple[Any, ...]]) -> list[Any]:
        """The same for keys of the first shard."""
        return await self._server.pipeline(self._first_slot, commands)

    async def run_script(self, name: str, keys: Sequence[str], args: Sequence[Any]) -> Any:
        """See :meth:`RedisServer.run_script`."""
        return await self._server.run_script(self._slot, name, keys, args)

    async def apply(self, guards: Guards, commands: Sequence[tuple[Any, ...]]) -> Guard | None:
        """Writes if all guards hold; else the first that does not."""
        return await self._apply(self._slot, self.keys, guards, commands)

    async def apply_to_first(
        self, guards: Guards, commands: Sequence[tuple[Any, ...]]
    ) -> Guard | None:
        """The same for keys of the first shard."""
        return await self._apply(self._first_slot, self.first, guards, commands)

    async def _apply(
        self, slot: int, keys: Keys, guards: Guards, commands: Sequence[tuple[Any, ...]]
    ) -> Guard | None:
        args: list[Any] = [len(guards)]
        for (kind, key, field), expected in guards.items():
            args += (kind, key, field, "" if expected is None else expected)
        for command in commands:
            args.append(len(command))
            args += command
        failed: int = await self._server.run_script(slot, "apply", [keys.meta, keys.nothing], args)
        return list(guards)[failed - 1] if failed else None

    async def link(self) -> Link:
        """See :meth:`Database.link`."""
        return RedisLink(self)

    # --- reading

    async def fetch(self, statement: str, **parameters: Any) -> list[Any]:
        """See :meth:`Database.fetch`."""
        found = getattr(self, f"_{statement}", None) or getattr(self._overviews, statement)
        rows: list[Any] = await found(**parameters)
        return rows

    async def _now(self) -> list[Any]:
        ((seconds, micros),) = await self.pipeline([("TIME",)])
        return [(int(seconds) * 1_000_000 + int(micros),)]

    async def _next_serials(self) -> list[Any]:
        (last,) = await self.pipeline([("HINCRBY", self.keys.meta, "serials", _SERIALS)])
        return [(last - _SERIALS + 1, _SERIALS)]

    async def read_runs(self, serials: Sequence[int]) -> list[list[Any]]:
        """Rows of runs as they are now, those that are there."""
        keys = [f"{self.keys.run}{serial}" for serial in serials]
        rows = await self.pipeline([("HGET", key, "row") for key in keys])
        return [decode_run(row) for row in rows if row is not None]

    async def _serials_of(self, run_ids: Sequence[str]) -> list[int]:
        (stored,) = await self.pipeline([("HMGET", self.keys.ids, *run_ids)])
        return [int(serial) for serial in stored if serial is not None]

    async def _read_history(self, run_id: str, after: int, limit: int) -> list[Any]:
        serials = await self._serials_of([run_id])
        if not serials:
            return []
        key = f"{self.keys.history}{serials[0]}"
        (records,) = await self.pipeline([("LRANGE", key, after, after + limit - 1)])
        return [(record,) for record in records]

    async def _described(self, names: Sequence[Any], *, by_id: bool = False) -> list[Any]:
        """Rows as the statement ``describe`` of the other stores gives them.

        Args:
            names: serials of runs, or their ids.
        """
        if not names:
            return []
        keys = [self.keys.run, self.keys.outcome, self.keys.start, self.keys.published]
        if by_id:
            keys.append(self.keys.ids)
        found: list[Any] = []
        for answer in await self.run_script("describe", keys, names):
            if answer is not None:
                serial, stored, result, failure, started, published = answer
                row = decode_run(stored)
                first = [row[place] for place in _DESCRIBED_PLACES]
                owner = row[_OWNER]
                found.append((*first, result, failure, owner, int(serial), started, published))
        return found

    async def _describe_current(self, id: str) -> list[Any]:
        rows: list[Any] = []
        serial: bytes | None = None
        while True:
            before, (serial,) = serial, await self.pipeline([("HGET", self.keys.current, id)])
            if serial is None or serial == before:
                return rows
            rows = await self._described([int(serial)])
            if not rows or rows[0][_STATUS] != "continued_as_new":
                return rows
            # The run has gone on in another one between the two questions.

    async def _describe_run(self, id: str, run_id: str) -> list[Any]:
        rows = await self._described([run_id], by_id=True)
        return [row for row in rows if row[0] == id]

    async def _describe_runs(self, ids: Sequence[str]) -> list[Any]:
        return await self._described(ids, by_id=True)

    async def _ends(self, ids: Sequence[str]) -> list[Any]:
        keys = [self.keys.run, self.keys.outcome, self.keys.ids]
        found: list[Any] = []
        for answer in await self.run_script("ends", keys, ids):
            if answer is not None:
                row = decode_run(answer[0])
                if row[_FINISHED_AT] is not None:
                    found.append((*(row[place] for place in _END_PLACES), *answer[1:]))
        return found

    async def list_runs(
        self, filter: ListFilter, after: tuple[int, int] | None, limit: int
    ) -> list[Any]:
        """See :meth:`Database.list_runs`. Reads page by page and filters here."""
        index = self.keys.started
        (state,) = filter.states or ("completed",)
        if state != "completed":  # most runs have completed: they have no index of their own
            index = f"{self.keys.in_state}{state}"
        start = 0
        if after is not None:
            (rank,) = await self.pipeline([("ZREVRANK", index, f"{after[1]:016d}")])
            if rank is None:  # gone meanwhile: all that started at that moment is shown again
                (rank,) = await self.pipeline([("ZCOUNT", index, f"({after[0]}", "+inf")])
                rank -= 1
            start = rank + 1
        found: list[Any] = []
        while len(found) < limit:
            command = ("ZREVRANGE", index, start, start + _PAGE - 1)
            (members,) = await self.pipeline([command])
            rows = await self.read_runs([int(member) for member in members])
            if index != self.keys.started:
                await self._mend_index(index, members, rows)
            chosen = [row[RUN["serial"]] for row in rows if _passes(filter, row)]
            found += await self._described(chosen[: limit - len(found)])
            if len(members) < _PAGE:
                break
            start += _PAGE
        return found

    async def _mend_index(
        self, index: str, members: Sequence[bytes], rows: Sequence[Sequence[Any]]
    ) -> None:
        """Takes out what older code, which does not know the index, has ended or removed."""
        # Whatever still runs may come back to this state before our command does: it stays.
        states = {f"{row[RUN['serial']]:016d}".encode(): state_of(row) for row in rows}
        wrong = [
            member
            for member in members
            if not index.endswith(f":{states.get(member, '')}") and states.get(member) not in _HELD
        ]
        if wrong:
            await self.pipeline([("ZREM", index, *wrong)])

    async def _unread_of_run(self, run_id: str) -> list[Any]:
        rows = await self.read_runs(await self._serials_of([run_id]))
        return [(row[RUN["serial"]], row[RUN["unread"]]) for row in rows]

    async def _pending_activities(self, run: int) -> list[Any]:
        (numbers,) = await self.pipeline([("SMEMBERS", f"{self.keys.pending}{run}")])
        keys = [f"{self.keys.activity}{run}:{n}" for n in sorted(int(n) for n in numbers)]
        rows = await self.pipeline([("HMGET", key, "row", "failure") for key in keys])
        columns = ("number", "name", "queue", "attempt", "scheduled_at", "due_at", "owner")
        found: list[Any] = []
        for stored, failure in rows:
            if stored is not None:
                row = decode_activity(stored)
                found.append((*(row[ACTIVITY[column]] for column in columns), failure))
        return found

    async def _pending_timers(self, run: int) -> list[Any]:
        (timers,) = await self.pipeline([("HGETALL", f"{self.keys.timers}{run}")])
        return sorted((int(number), int(due_at)) for number, due_at in timers.items())

    async def _list_sessions(self) -> list[Any]:
        rows, ends = await self.pipeline(
            [
                ("HGETALL", self.keys.sessions),
                ("ZRANGE", self.keys.expiries, 0, -1, "WITHSCORES"),
            ]
        )
        expiries = dict(scored(ends))
        found = [(unpack(row), name) for name, row in rows.items()]
        found.sort(key=lambda one: (one[0][3], one[1]))
        return [
            (start.encode(), opened_at, expiries.get(name, 0))
            for (_, start, _, opened_at, *_), name in found
        ]

    async def _read_updates(self, instance_id: str, ids: Sequence[bytes]) -> list[Any]:
        (serial,) = await self.pipeline([("HGET", self.keys.current, instance_id)])
        runs = [] if serial is None else await self.read_runs([int(serial)])
        if not runs:
            return []
        key = f"{self.keys.updates}{runs[0][RUN['lineage']]}"
        (stored,) = await self.pipeline([("HMGET", key, *ids)])
        return [(one, *unpack(row)) for one, row in zip(ids, stored, strict=True) if row]

    async def _queue_limits(self) -> list[Any]:
        (rows,) = await self.pipeline_of_first([("HGETALL", self.first.limits)])
        return sorted((queue.decode(), *unpack(row)) for queue, row in rows.items())

    async def _limited_and_waiting(self, now: int) -> list[Any]:
        (members,) = await self.pipeline([("ZRANGEBYSCORE", self.keys.offered, "-inf", now)])
        keys = [f"{self.keys.activity}{member.decode()}" for member in members]
        rows = await self.pipeline([("HGET", key, "row") for key in keys])
        queues = {decode_activity(row)[ACTIVITY["queue"]] for row in rows if row is not None}
        return [row for row in await self._queue_limits() if row[0] in queues]

    async def _forget_queries(self, now: int) -> list[Any]:
        (ids,) = await self.pipeline([("ZRANGEBYSCORE", self.keys.queries, "-inf", now)])
        if ids:
            await self.apply({}, [("@forget", self.keys.base, one.decode()) for one in ids])
        return []

    async def look(self, now: int | None, since: int) -> Look:
        """See :meth:`Database.look`."""
        keys = self.keys
        row = await self.run_script(
            "look",
            [
                *(keys.ready, keys.suspects, keys.offered, keys.open, keys.due, keys.queries),
                *(keys.limits, keys.expiries, keys.parked, keys.sessions, keys.outbox_due),
            ],
            ["" if now is None else now, since],
        )
        time, *counts, next_due, ends, known = row
        builds = {known[n]: unpack(known[n + 1])[0] for n in range(0, len(known), 2)}
        sessions = tuple(
            (name.decode(), builds[name], end) for name, end in scored(ends) if name in builds
        )
        due = None if next_due is None else int(next_due)
        *seen, posted = map(bool, counts)
        # Redis has no locks that end with a connection; on this host, files have.
        unlocked = frozenset(
            name.decode()
            for name, row in zip(known[::2], known[1::2], strict=True)
            if _liveness.proven_dead(name.decode(), proof_of(row))
        )
        return Look._make((int(time), *seen, due, sessions, unlocked, posted))

    # --- what is on its way to other shards

    @property
    def compares(self) -> bool:
        """See :attr:`Database.compares`."""
        return False

    async def write_compared(self, checks: Sequence[Write], writes: Sequence[Write]) -> None:
        """See :meth:`Database.write_compared`: never called."""

    async def posted(self) -> list[Any]:
        """See :meth:`Database.posted`."""
        (members,) = await self.pipeline([("ZRANGE", self.keys.outbox_due, 0, -1, "WITHSCORES")])
        waiting = sorted((int(name), due) for name, due in scored(members))
        found: list[Any] = []
        for start in range(0, len(waiting), _PAGE):
            page = waiting[start : start + _PAGE]
            command = ("HMGET", self.keys.outbox, *(number for number, _ in page))
            (items,) = await self.pipeline([command])
            found += [(*one, item) for one, item in zip(page, items, strict=True) if item]
        return found

    # --- the schema

    async def migrate(self) -> list[str]:
        """See :meth:`Database.migrate`; safe beside others who do the same."""
        stored, _ = await self.stored_version()
        if stored >= CODE_VERSION:
            return []
        if stored:
            await self._overviews.index_states()
        meta = self.keys.meta
        await self.pipeline(
            [
                ("HSETNX", meta, "incarnation", secrets.token_hex(8)),
                ("HSETNX", meta, "shards", self._shards),
                ("HSET", meta, "oldest_reader", OLDEST_READER),
                ("HSET", meta, "schema_version", CODE_VERSION),
            ]
        )
        await self.stored_version()  # somebody else may have been first, with other shards
        return [f"layout {CODE_VERSION}"]

    def planned(self, version: int) -> list[tuple[str, str]]:
        """See :meth:`Database.planned`; there is no text, only a version to be noted."""
        return [] if version >= CODE_VERSION else [(f"layout {CODE_VERSION}", "")]

    async def stored_version(self) -> tuple[int, int]:
        """See :meth:`Database.stored_version`."""
        (kind,) = await self.pipeline([("TYPE", self.keys.meta)])
        if kind not in (b"none", b"hash"):
            raise BackendFormatError(
                f"{self._shown}: the key {self.keys.meta} is somebody else's; choose another "
                "prefix with ?prefix="
            )
        command = ("HMGET", self.keys.meta, "schema_version", "oldest_reader", "shards")
        ((version, oldest, shards),) = await self.pipeline([command])
        if shards is not None and int(shards) != self._shards:
            raise BackendFormatError(
                f"{self._shown}: the store was created with {int(shards)} shards, not "
                f"{self._shards}; their number is fixed: write ?shards={int(shards)}"
            )
        return int(version or 0), int(oldest or 0)

    # --- sessions

    async def keeper(self, session_id: str, clock: Callable[[], int] | None) -> SessionKeeper:
        """See :meth:`Database.keeper`."""
        nodes = self._server.make_nodes()
        return _Keeper(self, session_id, clock, nodes, own=self._server.own)

    async def hold(self, session_id: str) -> None:
        """See :meth:`Database.hold`: done when it is written, with what proves it dead."""

    async def let_go(self, session_id: str) -> None:
        """See :meth:`Database.let_go`."""
        _liveness.unregister(session_id)

    async def renew(self, session_id: str, now: int | None, nodes: Nodes) -> bool:
        """Renews a session that has not run out."""
        keys = [self.keys.sessions, self.keys.expiries]
        args = [session_id, "" if now is None else now, _LEASE_COLUMN]
        return bool(await self._server.run_script(self._slot, "renew", keys, args, nodes))

    # --- other processes

    def listen(self, wake: Wake) -> None:
        """See :meth:`Database.listen`."""
        self._server.listen(self._shard, wake)

    def tell(self, topics: Sequence[str], finished: Sequence[str]) -> None:
        """See :meth:`Database.tell`."""
        self._server.tell(self._shard, topics, finished)


_STATUS: Final = 5
"""Where the status is among the columns that are described."""

_DESCRIBED: Final = (
    *("instance_id", "run_id", "workflow", "version", "queue", "status", "started_at", "turn"),
    *("events", "finished_at", "suspended", "park", "parent_instance", "parent_run"),
    *("parent_number", "continued_to"),
)
_DESCRIBED_PLACES: Final = tuple(RUN[name] for name in _DESCRIBED)
_OWNER: Final = RUN["owner"]
_FINISHED_AT: Final = RUN["finished_at"]
_END_PLACES: Final = tuple(RUN[n] for n in ("run_id", "instance_id", "status", "continued_to"))


class _Keeper:
    """Renews a session over a client of its own."""

    def __init__(
        self,
        database: RedisDatabase,
        session_id: str,
        clock: Callable[[], int] | None,
        nodes: Nodes,
        *,
        own: bool,
    ) -> None:
        self._nodes = nodes
        self._own = own
        self._database = database
        self._session_id = session_id
        self._clock = clock

    async def renew(self) -> bool:
        """See :meth:`SessionKeeper.renew`."""
        now = None if self._clock is None else self._clock()
        return await self._database.renew(self._session_id, now, self._nodes)

    async def aclose(self) -> None:
        """See :meth:`SessionKeeper.aclose`."""
        if self._own:
            await self._nodes.aclose()
            for _ in range(3):  # its transports are gone some turns later; the loop may end here
                await asyncio.sleep(0)


def _passes(filter: ListFilter, row: Sequence[Any]) -> bool:
    state = state_of(row)
    started_at = row[RUN["started_at"]]
    return (
        (filter.all_runs or row[RUN["current_of"]] is not None)
        and (not filter.states or state in filter.states)
        and filter.workflow in (None, row[RUN["workflow"]])
        and filter.queue in (None, row[RUN["queue"]])
        and row[RUN["instance_id"]].startswith(filter.id_prefix or "")
        and (filter.started_after is None or started_at >= filter.started_after)
        and (filter.started_before is None or started_at < filter.started_before)
        and (
            filter.finished_before is None
            or (row[RUN["finished_at"]] or filter.finished_before) < filter.finished_before
        )
    )


def shard_of(instance_id: str, shards: int) -> int:
    """The shard in which an instance lies. Part of the layout: it must never change."""
    if shards == 1:
        return 0
    digest = hashlib.sha256(instance_id.encode()).digest()
    return int.from_bytes(digest[:8], "big") % shards
