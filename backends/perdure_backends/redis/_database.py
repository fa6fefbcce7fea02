"""The driver's side: clients, scripts, what this process knows, publish and subscribe, errors.

PYTEST_DONT_REWRITE
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import logging
import secrets
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Mapping, Sequence
from importlib.resources import files
from typing import Any, Final, TypeVar

import msgspec
import redis.asyncio as driver
import redis.exceptions as errors
from perdure import (
    BackendError,
    BackendFormatError,
    BackendFullError,
    BackendUnavailableError,
    SchemaVersionError,
)
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from .._relational import Link, Look, LoopPools, opened
from .._wakeups import ACTIVITIES, ANSWERS, DUE, TURNS
from ..contract import SessionKeeper
from ..records import ListFilter
from ._keys import Keys
from ._link import RedisLink
from ._rows import ACTIVITY, RUN, decode_activity, decode_run, scored

T = TypeVar("T")

_log: Final = logging.getLogger("perdure.backends")

CODE_VERSION: Final = 1
"""The layout of keys that this code writes."""

OLDEST_READER: Final = 1
"""The oldest code version that can work with this code's layout."""

_LARGEST: Final = 256 * 1024 * 1024
"""Bytes of one value; the server's limit is 512 MB."""

_LEAST: Final = (6, 2)
_SERIALS: Final = 4096
_KNOWN: Final = 20_000
"""Rows that are kept in memory because this process wrote them last."""

_HALF_MADE: Final = 2.0
"""Seconds for which a connection that nobody waits for any more may still be made."""

_TOLD_RUNS: Final = 100
_TELL_PAUSE: Final = 0.001
_LISTEN_PAUSE: Final = 0.5
_PAGE: Final = 500
_LEASE_COLUMN: Final = 3

_decode: Final = msgspec.msgpack.Decoder(list[Any]).decode


_NONE: Final[dict[int, bytes]] = {}


def _load_scripts() -> dict[str, tuple[str, str]]:
    """The scripts and their hashes, by name."""
    found: dict[str, tuple[str, str]] = {}
    for item in files(__package__ or "").joinpath("scripts").iterdir():
        if item.name.endswith(".lua"):
            text = item.read_text(encoding="utf-8")
            digest = hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()
            found[item.name.removesuffix(".lua")] = (text, digest)
    return found


SCRIPTS: Final = _load_scripts()


class RedisDatabase:
    """Our keys on a Redis server.

    Args:
        make_client: a client on the running event loop.
        shown: where it is, without secrets.
        prefix: what our keys begin with.
        own: whether clients are ours to close.
        timeout: seconds that one round trip may take.
    """

    def __init__(
        self,
        make_client: Callable[[], Any],
        *,
        shown: str,
        prefix: str,
        own: bool,
        timeout: float,
    ) -> None:
        self._timeout = timeout
        self._make_client = make_client
        self._shown = shown
        self._own = own
        self.keys = Keys(prefix, 0)
        self.name = secrets.token_hex(8)
        self._clients = LoopPools(self._make, self._close, self._close, shown)
        self._channel = f"{prefix}:wakeups"
        self._runs: dict[int, tuple[int, list[Any]]] = {}
        self._ids: dict[str, int] = {}
        self._activities: dict[int, dict[int, bytes]] = {}
        self._activity_count = 0
        self._connecting: set[asyncio.Future[Any]] = set()
        self._listener: asyncio.Task[None] | None = None
        self._teller: asyncio.Task[None] | None = None
        self._to_tell: set[str] = set()
        self._ended: set[str] = set()

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

    # --- the client

    async def open(self) -> None:
        """See :meth:`Database.open`."""
        self._clients.open()
        client = await self._clients.get()
        async with self._mapped():
            server = await client.info("server")
            memory = await client.info("memory")
        version = str(server["redis_version"])
        if tuple(int(part) for part in version.split(".")[:2]) < _LEAST:
            raise BackendError(f"{self._shown} is Redis {version}; 6.2 or later is needed")
        policy = str(memory.get("maxmemory_policy", "noeviction"))
        if policy.startswith("allkeys"):
            raise BackendError(
                f"{self._shown} has maxmemory-policy {policy}: when memory runs short the server "
                "would throw parts of histories away; set it to noeviction"
            )

    async def _make(self) -> Any:
        return self._make_client()

    async def _close(self, client: Any) -> None:
        if self._own:
            await client.aclose()

    async def aclose(self) -> None:
        """See :meth:`Database.aclose`."""
        tasks = [task for task in (self._listener, self._teller) if task is not None]
        self._listener = self._teller = None
        for task in tasks:
            task.cancel()
        here = [task for task in tasks if task.get_loop() is asyncio.get_running_loop()]
        if here:
            await asyncio.wait(here)
        # A connection that is being made now would be open behind the back of its closed pool.
        loop = asyncio.get_running_loop()
        until = loop.time() + _HALF_MADE
        while made := [one for one in self._connecting if one.get_loop() is loop]:
            if loop.time() >= until:
                break
            await asyncio.wait(made, timeout=until - loop.time())
        await self._clients.aclose()

    @contextlib.asynccontextmanager
    async def _mapped(self) -> AsyncGenerator[None]:
        try:
            async with asyncio.timeout(self._timeout):
                yield
        except (errors.RedisError, OSError, TimeoutError) as error:
            raise map_error(error, self._shown) from error

    async def _talk(self, client: Any, talk: Callable[[Any], Awaitable[T]]) -> T:
        """Talks to the server. While a connection may have to be made, a cancellation waits:

        the driver would leave it open half-made.
        """
        async with self._mapped():
            if getattr(client.connection_pool, "_available_connections", None):
                return await talk(client)
            talking = asyncio.ensure_future(talk(client))
            self._connecting.add(talking)
            talking.add_done_callback(self._connecting.discard)
            try:
                return await asyncio.shield(talking)
            except asyncio.CancelledError:
                # A server that was stopped in the middle of it may never answer.
                await asyncio.wait([talking], timeout=_HALF_MADE)
                talking.cancel()
                await asyncio.wait([talking], timeout=_HALF_MADE)
                if talking.done() and not talking.cancelled():
                    talking.exception()  # seen
                raise

    async def pipeline(self, commands: Sequence[tuple[Any, ...]]) -> list[Any]:
        """Answers to reading commands, in one round trip; they may see different moments."""
        if not commands:
            return []

        async def talk(client: Any) -> list[Any]:
            if len(commands) == 1:
                return [await client.execute_command(*commands[0])]
            async with client.pipeline(transaction=False) as pipe:
                for command in commands:
                    pipe.execute_command(*command)
                answers: list[Any] = await pipe.execute()
                return answers

        return await self._talk(await self._clients.get(), talk)

    async def run_script(
        self, name: str, keys: Sequence[str], args: Sequence[Any], client: Any = None
    ) -> Any:
        """Runs a script by its hash; one that the server has forgotten is loaded again."""

        text, digest = SCRIPTS[name]

        async def talk(client: Any) -> Any:
            parts = (len(keys), *keys, *args)
            try:
                return await client.execute_command("EVALSHA", digest, *parts)
            except errors.NoScriptError:
                return await client.execute_command("EVAL", text, *parts)

        return await self._talk(client or await self._clients.get(), talk)

    async def apply(
        self, guards: Mapping[tuple[str, str, Any], Any], commands: Sequence[tuple[Any, ...]]
    ) -> tuple[str, str, Any] | None:
        """Writes if all guards hold; else the first that does not."""
        args: list[Any] = [len(guards)]
        for (kind, key, field), expected in guards.items():
            args += (kind, key, field, "" if expected is None else expected)
        for command in commands:
            args.append(len(command))
            args += command
        failed: int = await self.run_script("apply", [self.keys.meta], args)
        return list(guards)[failed - 1] if failed else None

    # --- what this process knows because it wrote it

    def cached_run(self, serial: int) -> tuple[int, list[Any]] | None:
        """Revision and row of a run, if known."""
        return self._runs.get(serial)

    def cached_id(self, run_id: str) -> int | None:
        """The serial of a run whose row is known."""
        serial = self._ids.get(run_id)
        return serial if serial in self._runs else None

    def cached_activity(self, key: tuple[int, int]) -> bytes | None:
        """The stored row of an activity, if known."""
        of_run = self._activities.get(key[0])
        return None if of_run is None else of_run.get(key[1])

    def remember(
        self,
        runs: Mapping[int, tuple[int, list[Any]]],
        activities: Mapping[tuple[int, int], bytes | None],
    ) -> None:
        """Keeps rows as they are stored now; those of runs that have ended are not kept."""
        if len(self._runs) > _KNOWN or self._activity_count > _KNOWN:
            self._runs.clear()
            self._ids.clear()
            self._activities.clear()
            self._activity_count = 0
        for serial, known in runs.items():
            row = known[1]
            if row[RUN["status"]] == "running" and row[RUN["owner"]] is not None:
                self._runs[serial] = known
                self._ids[row[RUN["run_id"]]] = serial
            else:
                self.forget((serial,), ())
        for key, stored in activities.items():
            if stored is not None and key[0] in self._runs:
                of_run = self._activities.setdefault(key[0], {})
                self._activity_count += key[1] not in of_run
                of_run[key[1]] = stored

    def forget(self, runs: Iterable[int], activities: Iterable[tuple[int, int]]) -> None:
        """Somebody else may have changed these."""
        for serial in runs:
            known = self._runs.pop(serial, None)
            if known is not None:
                self._ids.pop(known[1][RUN["run_id"]], None)
        for serial, number in activities:
            if self._activities.get(serial, _NONE).pop(number, None) is not None:
                self._activity_count -= 1

    def forget_activities_of(self, serial: int) -> None:
        """All activities of a run are gone."""
        self._activity_count -= len(self._activities.pop(serial, _NONE))

    async def link(self) -> Link:
        """See :meth:`Database.link`."""
        return RedisLink(self)

    # --- reading

    async def fetch(self, statement: str, **parameters: Any) -> list[Any]:
        """See :meth:`Database.fetch`."""
        rows: list[Any] = await getattr(self, f"_{statement}")(**parameters)
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

    async def _described(self, serials: Sequence[int]) -> list[Any]:
        """Rows as the statement ``describe`` of the other stores gives them."""
        keys = self.keys
        answers = await self.pipeline(
            [
                command
                for serial in serials
                for command in (
                    ("HGET", f"{keys.run}{serial}", "row"),
                    ("HMGET", f"{keys.outcome}{serial}", "result", "failure"),
                    ("GET", f"{keys.start}{serial}"),
                    ("GET", f"{keys.published}{serial}"),
                )
            ]
        )
        found: list[Any] = []
        for n in range(len(serials)):
            stored, (result, failure), started, published = answers[4 * n : 4 * n + 4]
            if stored is None:
                continue
            row = decode_run(stored)
            first = [row[RUN[column]] for column in _DESCRIBED]
            owner, serial = row[RUN["owner"]], row[RUN["serial"]]
            found.append((*first, result, failure, owner, serial, started, published))
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
        rows = await self._described(await self._serials_of([run_id]))
        return [row for row in rows if row[0] == id]

    async def _describe_runs(self, ids: Sequence[str]) -> list[Any]:
        return await self._described(await self._serials_of(ids))

    async def list_runs(
        self, filter: ListFilter, after: tuple[int, int] | None, limit: int
    ) -> list[Any]:
        """See :meth:`Database.list_runs`. Reads page by page and filters here."""
        start = 0
        if after is not None:
            (rank,) = await self.pipeline([("ZREVRANK", self.keys.started, f"{after[1]:016d}")])
            if rank is None:  # removed meanwhile: all that started at that moment is shown again
                count = ("ZCOUNT", self.keys.started, f"({after[0]}", "+inf")
                (rank,) = await self.pipeline([count])
                rank -= 1
            start = rank + 1
        found: list[Any] = []
        while len(found) < limit:
            command = ("ZREVRANGE", self.keys.started, start, start + _PAGE - 1)
            (members,) = await self.pipeline([command])
            rows = await self.read_runs([int(member) for member in members])
            chosen = [row[RUN["serial"]] for row in rows if _passes(filter, row)]
            found += await self._described(chosen[: limit - len(found)])
            if len(members) < _PAGE:
                break
            start += _PAGE
        return found

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
        found = [(_decode(row), name) for name, row in rows.items()]
        found.sort(key=lambda one: (one[0][3], one[1]))
        return [
            (start.encode(), opened_at, expiries.get(name, 0))
            for (_, start, _, opened_at), name in found
        ]

    async def _read_updates(self, instance_id: str, ids: Sequence[bytes]) -> list[Any]:
        (serial,) = await self.pipeline([("HGET", self.keys.current, instance_id)])
        runs = [] if serial is None else await self.read_runs([int(serial)])
        if not runs:
            return []
        key = f"{self.keys.updates}{runs[0][RUN['lineage']]}"
        (stored,) = await self.pipeline([("HMGET", key, *ids)])
        return [(one, *_decode(row)) for one, row in zip(ids, stored, strict=True) if row]

    async def _queue_limits(self) -> list[Any]:
        (rows,) = await self.pipeline([("HGETALL", self.keys.limits)])
        return sorted((queue.decode(), *_decode(row)) for queue, row in rows.items())

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
                *(keys.limits, keys.expiries, keys.parked, keys.sessions),
            ],
            ["" if now is None else now, since],
        )
        time, *counts, next_due, ends, known = row
        builds = {known[n]: _decode(known[n + 1])[0] for n in range(0, len(known), 2)}
        sessions = tuple(
            (name.decode(), builds[name], end) for name, end in scored(ends) if name in builds
        )
        due = None if next_due is None else int(next_due)
        return Look._make((int(time), *map(bool, counts), due, sessions, frozenset[str]()))

    # --- queries, which belong to runs but change nothing of theirs

    def put_query(self, commands: list[tuple[Any, ...]], row: Sequence[Any]) -> None:
        """The commands that accept a query; a repeat changes nothing that matters."""
        name, run, entry, expires_at = row
        key = f"{self.keys.query}{name}"
        commands += [
            ("HSETNX", key, "run", run),
            ("HSETNX", key, "entry", entry),
            ("SADD", f"{self.keys.queries_of}{run}", name),
            ("ZADD", self.keys.queries, "NX", expires_at, name),
            ("@open", key, self.keys.open, expires_at, name),
        ]

    def answer_query(self, commands: list[tuple[Any, ...]], row: Sequence[Any]) -> None:
        """The commands that answer a query, the first time."""
        name, result, failure = row
        key = f"{self.keys.query}{name}"
        absent = ("0", "") if result is None else ("1", result)
        missing = ("0", "") if failure is None else ("1", failure)
        commands.append(("@answer", key, self.keys.open, name, *absent, *missing))

    # --- the schema

    async def migrate(self) -> list[str]:
        """See :meth:`Database.migrate`; safe beside others who do the same."""
        if (await self.stored_version())[0] >= CODE_VERSION:
            return []
        meta = self.keys.meta
        await self.pipeline(
            [
                ("HSETNX", meta, "incarnation", secrets.token_hex(8)),
                ("HSETNX", meta, "shards", 1),
                ("HSET", meta, "oldest_reader", OLDEST_READER),
                ("HSET", meta, "schema_version", CODE_VERSION),
            ]
        )
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
        command = ("HMGET", self.keys.meta, "schema_version", "oldest_reader")
        ((version, oldest),) = await self.pipeline([command])
        return int(version or 0), int(oldest or 0)

    # --- sessions

    async def keeper(self, session_id: str, clock: Callable[[], int] | None) -> SessionKeeper:
        """See :meth:`Database.keeper`."""
        return _Keeper(self, session_id, clock, self._make_client(), own=self._own)

    async def hold(self, session_id: str) -> None:
        """See :meth:`Database.hold`: Redis has no locks that end with a connection."""

    async def let_go(self, session_id: str) -> None:
        """See :meth:`Database.let_go`."""

    async def renew(self, session_id: str, now: int | None, client: Any) -> bool:
        """Renews a session that has not run out."""
        keys = [self.keys.sessions, self.keys.expiries]
        args = [session_id, "" if now is None else now, _LEASE_COLUMN]
        return bool(await self.run_script("renew", keys, args, client))

    # --- other processes

    def listen(self, wake: Callable[[Sequence[str], Sequence[str] | None], None]) -> None:
        """See :meth:`Database.listen`."""
        self._listener = asyncio.get_running_loop().create_task(self._listen(wake))

    async def _listen(self, wake: Callable[[Sequence[str], Sequence[str] | None], None]) -> None:
        while True:
            try:
                client = await self._clients.get()
                async with client.pubsub() as subscription:
                    # Not to be interrupted half-way: the connection would be left open.
                    await opened(subscription.subscribe(self._channel), _nothing)
                    wake((TURNS, ACTIVITIES, DUE, ANSWERS), None)  # what was told meanwhile
                    async for message in subscription.listen():
                        if message["type"] == "message":
                            sender, topics, ended = json.loads(message["data"])
                            if sender != self.name:
                                wake(topics, ended)
            except (BackendError, errors.RedisError, OSError) as error:
                _log.debug("no messages from %s for a moment: %s", self._shown, error)
            await asyncio.sleep(_LISTEN_PAUSE)

    def tell(self, topics: Sequence[str], finished: Sequence[str]) -> None:
        """See :meth:`Database.tell`."""
        self._to_tell.update(topics)
        self._ended.update(finished)
        if self._teller is None:
            self._teller = asyncio.get_running_loop().create_task(self._tell())

    async def _tell(self) -> None:
        """Sends what has gathered, one message at a time."""
        try:
            while self._to_tell or self._ended:
                await asyncio.sleep(_TELL_PAUSE)
                ended = None if len(self._ended) > _TOLD_RUNS else list(self._ended)
                payload = json.dumps([self.name, list(self._to_tell), ended])
                self._to_tell.clear()
                self._ended.clear()
                try:
                    await self.pipeline([("PUBLISH", self._channel, payload)])
                except BackendError as error:
                    _log.debug("could not tell others: %s", error)
        finally:
            self._teller = None


_STATUS: Final = 5
"""Where the status is among the columns that are described."""

_DESCRIBED: Final = (
    *("instance_id", "run_id", "workflow", "version", "queue", "status", "started_at", "turn"),
    *("events", "finished_at", "suspended", "park", "parent_instance", "parent_run"),
    *("parent_number", "continued_to"),
)


class _Keeper:
    """Renews a session over a client of its own."""

    def __init__(
        self,
        database: RedisDatabase,
        session_id: str,
        clock: Callable[[], int] | None,
        client: Any,
        *,
        own: bool,
    ) -> None:
        self._client = client
        self._own = own
        self._database = database
        self._session_id = session_id
        self._clock = clock

    async def renew(self) -> bool:
        """See :meth:`SessionKeeper.renew`."""
        now = None if self._clock is None else self._clock()
        return await self._database.renew(self._session_id, now, self._client)

    async def aclose(self) -> None:
        """See :meth:`SessionKeeper.aclose`."""
        if self._own:
            await self._client.aclose()
            for _ in range(3):  # its transports are gone some turns later; the loop may end here
                await asyncio.sleep(0)


def _passes(filter: ListFilter, row: Sequence[Any]) -> bool:
    state = row[RUN["status"]]
    if state == "running" and row[RUN["suspended"]]:
        state = "suspended"
    elif state == "running" and row[RUN["park"]] is not None:
        state = "parked"
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


def _nothing(_answer: Any) -> None:
    """A subscription that nobody waits for any more ends with its connection."""


def client_options(timeout: float) -> dict[str, Any]:
    """How our clients are made: nothing is tried again behind our back."""
    return {
        "decode_responses": False,
        "protocol": 2,
        "retry": Retry(NoBackoff(), 0),
        "socket_connect_timeout": timeout,
        # With a time-out of its own the driver sends by `asyncio.wait_for`, which on Python 3.11
        # swallows a cancellation that comes while the command is sent. We have time-outs around.
        "socket_timeout": None,
        "health_check_interval": 0,
    }


def make_client(url: str, pool_size: int, timeout: float) -> Any:
    """A client for a URL of redis-py, on the running event loop."""
    pool: Any = driver.BlockingConnectionPool.from_url(  # pyright: ignore[reportUnknownMemberType]
        url, max_connections=pool_size + 1, timeout=timeout, **client_options(timeout)
    )
    return driver.Redis.from_pool(pool)


_BUSY: Final = (
    "LOADING",
    "MASTERDOWN",
    "CLUSTERDOWN",
    "TRYAGAIN",
    "READONLY",
    "BUSY",
    "NOREPLICAS",
)


def map_error(error: BaseException, where: str) -> BackendError:
    """The error that users see for one of the driver's."""
    text = str(error) or type(error).__name__
    if isinstance(error, errors.OutOfMemoryError) or text.startswith("OOM"):
        return BackendFullError(
            f"{where}: the server's memory is full; nothing acknowledged is lost, make room "
            "(maxmemory, `perdure prune`) and go on"
        )
    if isinstance(error, (errors.AuthenticationError, errors.AuthorizationError)):
        return BackendError(f"{where}: the server refuses the user or password: {text}")
    if isinstance(error, errors.NoPermissionError):
        return BackendError(f"{where}: the user lacks a permission: {text}")
    if isinstance(error, (errors.ConnectionError, errors.TimeoutError, OSError)):
        return BackendUnavailableError(f"{where} does not answer: {text}")
    if isinstance(error, errors.ReadOnlyError) or text.startswith(_BUSY):
        return BackendUnavailableError(f"{where} can't do it now: {text}")
    if "unknown command" in text.lower():
        return SchemaVersionError(f"{where} lacks a command that is needed: {text}")
    return BackendError(f"{where}: {type(error).__name__}: {text}")
