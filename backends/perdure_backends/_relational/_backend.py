"""The face of a store on a database server: the contract's methods, each a unit of work.

PYTEST_DONT_REWRITE
"""

from __future__ import annotations

import asyncio
import functools
import random
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Final, TypeVar

from perdure import BackendUnavailableError, PayloadTooLargeError, SchemaVersionError

from .._images import InstanceImage, pages
from .._wakeups import ACTIVITIES, DUE, TURNS, Wakeups
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
from . import _activities, _control, _delivering, _looking, _moving, _overview, _queries, _turns
from ._database import ConflictError, Database, Link, Look
from ._glances import LIMITS, PARKED, Glances
from ._known import Known, KnownLink
from ._posting import Posted, Waiting, decode_posted
from ._unit import Unit

T = TypeVar("T")

_PAUSES: Final = (0.0, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.4, 0.8)
"""Seconds before a unit that met a conflict is tried again, up to so much more by chance."""

_SERIALS: Final = 1000
"""Numbers of runs that a unit may use; the next ones are fetched before it begins."""


class RelationalBackend:
    """A store on a database server.

    Args:
        database: its tables and driver.
        migrate: create or update the schema when opened.
        version, oldest_reader: schema that this code writes, and the oldest code that can use it.
        clock: microseconds since the epoch, in place of the server's; for tests.
        wakeups: those of the store of which this is a shard.
    """

    def __init__(
        self,
        database: Database,
        *,
        migrate: bool,
        version: int,
        clock: Callable[[], int] | None = None,
        wakeups: Wakeups | None = None,
    ) -> None:
        self._database = database
        self._migrate = migrate
        self._version = version
        self._wakeups = wakeups or Wakeups()
        self._glances = Glances(database, self._wakeups, clock)
        self.relay: Callable[[set[str] | None], Awaitable[None]] | None = None
        """Relays what instances have posted (``None``: what anybody may) to other shards."""
        self._opened = False
        self._serials = range(0)
        self._known = Known() if database.compares else None

    @property
    def wakeups(self) -> Wakeups:
        """See :attr:`Backend.wakeups`."""
        return self._wakeups

    @property
    def url(self) -> str:
        """See :attr:`Backend.url`."""
        return self._database.url

    def use_clock(self, clock: Callable[[], int]) -> None:
        """Judges what is due by another clock than the server's; for tests."""
        self._glances.clock = clock

    # --- life

    async def open(self) -> None:
        """See :meth:`Backend.open`."""
        if self._opened:
            return
        await self._database.open()
        try:
            if self._migrate:
                await self._database.migrate()
            await self._check_version()
            await self._glances.open()
        except BaseException:
            await self._database.aclose()
            raise
        self._opened = True

    async def aclose(self) -> None:
        """See :meth:`Backend.aclose`."""
        await self._glances.aclose()
        self._opened = False
        await self._database.aclose()
        for _ in range(3):
            # Transports that were closed are gone some turns of the loop later, which the caller
            # may be about to close.
            await asyncio.sleep(0)

    async def _check_version(self) -> None:
        stored, oldest = await self._database.stored_version()
        if stored < self._version:
            raise SchemaVersionError(
                f"the store has schema version {stored}, this code needs {self._version}; "
                "run `perdure migrate`"
            )
        if stored > self._version and oldest > self._version:
            raise SchemaVersionError(
                f"the store has schema version {stored}, which needs code that knows version "
                f"{oldest} or later; this code knows {self._version}: update perdure"
            )

    async def schema_version(self) -> tuple[int, int]:
        """See :meth:`Migrating.schema_version`."""
        await self._database.open()
        return (await self._database.stored_version())[0], self._version

    async def planned(self) -> list[tuple[str, str]]:
        """See :meth:`Migrating.planned`."""
        stored, _ = await self.schema_version()
        return self._database.planned(stored)

    async def migrate(self) -> list[str]:
        """See :meth:`Migrating.migrate`."""
        await self._database.open()
        return await self._database.migrate()

    # --- time

    async def now(self) -> int:
        """See :meth:`Backend.now`."""
        await self._glances.learn_time()
        return self._glances.now()

    # --- units of work

    async def _change(self, step: Callable[[Unit], Awaitable[T]], *, known: bool = False) -> T:
        """Does a unit of work, again where somebody was in the way; wakes whom it concerns."""
        if self._known is not None and known:
            try:
                return await self._do(step, KnownLink(self._known, self._database))
            except ConflictError:
                pass  # once more, with locks
        for pause in (*_PAUSES, None):
            if len(self._serials) < _SERIALS:
                (row,) = await self._database.fetch("next_serials")
                self._serials = range(row[0], row[0] + row[1])
            try:
                return await self._do(step, await self._database.link())
            except ConflictError as error:
                if pause is None:
                    raise BackendUnavailableError(
                        f"{self.url}: others are in the way again and again: {error}"
                    ) from error.__cause__
                await asyncio.sleep(pause * (1 + random.random()))
        raise BackendUnavailableError("unreachable")

    async def _do(self, step: Callable[[Unit], Awaitable[T]], link: Link) -> T:
        unit = Unit(
            link,
            self._glances.now(),
            self._next_serial,
            limits=self._glances.limits,
            database=self._database,
        )
        try:
            result = await step(unit)
            await link.finish(unit.writes(), staged=unit.staged())
        except BaseException:
            if self._known is not None:
                self._known.forget(unit)
            await link.abandon()
            raise
        if self._known is not None:
            self._known.learn(unit)
        self._glances.tell(unit.topics, unit.earliest, unit.finished)
        if unit.posted and self.relay is not None:
            await self.relay(unit.posted)
        return result

    async def _next_serial(self) -> int:
        serial, self._serials = self._serials[0], self._serials[1:]
        return serial

    # --- to and from other shards

    async def posted(self) -> list[Waiting]:
        """What was posted here for other shards, in order."""
        rows = await self._database.posted()
        return [Waiting(number, due, decode_posted(item)) for number, due, item in rows]

    async def deliver(self, items: Sequence[Posted]) -> list[bytes | None]:
        """Takes in what was posted in another shard; gives what answers the senders."""
        return await self._change(lambda unit: _delivering.deliver(unit, items))

    async def take_out(self, done: Sequence[tuple[Waiting, bytes | None]]) -> None:
        """Forgets what was delivered, and gives the senders their answers."""
        await self._change(lambda unit: _delivering.take_out(unit, done))

    async def glance(self) -> Look:
        """Looks at the store."""
        return await self._glances.glance()

    # --- sessions

    async def open_session(self, session: SessionStart) -> None:
        """See :meth:`Backend.open_session`."""
        await self._change(lambda unit: _control.open_session(unit, session))
        await self._database.hold(session.id)

    async def keep_session(self, session_id: str) -> SessionKeeper:
        """See :meth:`Backend.keep_session`."""
        return await self._database.keeper(session_id, self._glances.clock)

    async def end_session(self, session_id: str) -> None:
        """See :meth:`Backend.end_session`."""
        await self._change(lambda unit: _control.end_session(unit, session_id))
        await self._database.let_go(session_id)

    # --- starting and messages

    async def start(self, requests: Sequence[StartRequest]) -> list[StartOutcome]:
        """See :meth:`Backend.start`."""
        self._check_sizes("a workflow's input", (len(r.started) for r in requests))
        return await self._change(lambda unit: _turns.start(unit, requests))

    async def send(self, messages: Sequence[Message]) -> list[SendResult]:
        """See :meth:`Backend.send`."""
        self._check_sizes("a message", (len(m.entry) for m in messages))
        return await self._change(lambda unit: _turns.send(unit, messages))

    def _check_sizes(self, what: str, sizes: Iterable[int]) -> None:
        largest = self._database.largest
        size = max(sizes, default=0)
        if size > largest:
            raise PayloadTooLargeError(
                f"{what} has {size:,} bytes; the server of {self.url} takes {largest:,} in one row"
            )

    # --- turns

    async def claim_turns(self, claim: TurnClaim) -> ClaimedTurns:
        """See :meth:`Backend.claim_turns`."""
        if claim.parked:
            look = await self._glances.fresh(PARKED)
            if look is not None and not look.parked:
                return ClaimedTurns(tasks=())
        else:
            look = await self._glances.fresh(TURNS)
            if look is not None and not look.ready:
                return ClaimedTurns(tasks=(), queries=look.asked)
        return await self._change(lambda unit: _turns.claim(unit, claim))

    async def read_history(self, run_id: str, after: int, limit: int) -> list[bytes]:
        """See :meth:`Backend.read_history`."""
        rows = await self._database.fetch("read_history", run_id=run_id, after=after, limit=limit)
        return [bytes(row[0]) for row in rows]

    async def commit(self, commits: Sequence[TurnCommit]) -> list[CommitOutcome]:
        """See :meth:`Backend.commit`."""
        self._check_sizes("a turn", (len(c.record) for c in commits))
        return await self._change(lambda unit: _turns.commit(unit, commits), known=True)

    async def release(self, leases: Sequence[Lease]) -> None:
        """See :meth:`Backend.release`."""
        await self._change(lambda unit: _turns.release(unit, leases))

    async def retain(
        self, session_id: str, run_tokens: Sequence[str], activity_tokens: Sequence[str]
    ) -> int:
        """See :meth:`Backend.retain`."""
        runs, activities = set(run_tokens), set(activity_tokens)
        return await self._change(lambda unit: _control.retain(unit, session_id, runs, activities))

    # --- activities

    async def claim_activities(self, claim: ActivityClaim) -> list[ActivityTask]:
        """See :meth:`Backend.claim_activities`."""
        look = await self._glances.fresh(ACTIVITIES)
        if look is not None and not look.waiting:
            return []
        return await self._change(lambda unit: _activities.claim_activities(unit, claim))

    async def settle(self, results: Sequence[ActivityResult]) -> list[bool]:
        """See :meth:`Backend.settle`."""
        return await self._change(lambda unit: _activities.settle(unit, results))

    async def heartbeat(self, beats: Sequence[Heartbeat]) -> list[HeartbeatResult]:
        """See :meth:`Backend.heartbeat`."""
        return await self._change(lambda unit: _activities.heartbeat(unit, beats))

    # --- keeping house

    async def sweep(self, session_id: str, limit: int) -> SweepReport:
        """See :meth:`Backend.sweep`."""
        look = await self._glances.fresh(DUE)
        if look is None or (look.next_due is not None and look.next_due <= self._glances.now()):
            look = await self._glances.glance()
        fired = timed_out = 0
        lost: list[str] = []
        if look.due:
            fired, timed_out = await self._change(lambda unit: _control.do_what_is_due(unit, limit))
        if look.forgotten:
            await self._database.fetch("forget_queries", now=look.now)
        if look.posted and self.relay is not None:
            await self.relay(None)
        for lost_id, build, proven in self._glances.lost_sessions(look, session_id):
            lose = functools.partial(
                _control.lose_session, session_id=lost_id, build=build, proven=proven
            )
            if await self._change(lose):
                lost.append(lost_id)
        times: list[int | None] = []
        if look.limits and look.waiting:
            times = await self._limited(look.now)
        if look.due or look.forgotten or look.posted or lost:
            look = await self._glances.glance()
        times.append(look.next_due)
        return SweepReport(
            fired=fired,
            timed_out=timed_out,
            sessions_lost=tuple(lost),
            next_due=min((at for at in times if at is not None), default=None),
        )

    async def _limited(self, now: int) -> list[int | None]:
        """When activities that wait for their queue's limit may start next."""
        buckets = await _queries.limited_and_waiting(self._database, now)
        if any(bucket.available(now) >= 1 for bucket in buckets):
            self._glances.told([ACTIVITIES], ())
        return [bucket.next_at(now) for bucket in buckets]

    # --- queries and updates

    async def ask(self, requests: Sequence[QueryRequest]) -> list[SendResult]:
        """See :meth:`Backend.ask`."""
        return await self._change(lambda unit: _queries.ask(unit, requests))

    async def claim_queries(self, claim: QueryClaim) -> list[QueryTask]:
        """See :meth:`Backend.claim_queries`."""
        return await self._change(lambda unit: _queries.claim_queries(unit, claim))

    async def answer(self, answers: Sequence[QueryAnswer]) -> None:
        """See :meth:`Backend.answer`."""
        await self._change(lambda unit: _queries.answer(unit, answers))

    async def read_answers(self, query_ids: Sequence[str]) -> list[QueryAnswer | None]:
        """See :meth:`Backend.read_answers`."""
        return await self._change(lambda unit: _queries.read_answers(unit, query_ids))

    async def read_updates(
        self, instance_id: str, update_ids: Sequence[str]
    ) -> list[UpdateAnswer | None]:
        """See :meth:`Backend.read_updates`."""
        return await _queries.read_updates(self._database, instance_id, update_ids)

    async def set_queue_limit(self, queue: str, limit: QueueLimit | None) -> None:
        """See :meth:`QueueControl.set_queue_limit`."""
        await self._change(lambda unit: _queries.set_queue_limit(unit, queue, limit))
        # A glance that is on its way may not have seen it.
        self._glances.tell([LIMITS], None, ())

    async def queue_limits(self) -> list[QueueLimit]:
        """See :meth:`QueueControl.queue_limits`."""
        return await _queries.queue_limits(self._database)

    # --- looking and steering

    async def describe(self, instance_id: str, run_id: str | None = None) -> InstanceRecord | None:
        """See :meth:`Backend.describe`."""
        return await _looking.describe(self._database, instance_id, run_id)

    async def describe_runs(self, run_ids: Sequence[str]) -> list[InstanceRecord | None]:
        """See :meth:`Backend.describe_runs`."""
        return await _looking.describe_runs(self._database, run_ids)

    async def ends(self, run_ids: Sequence[str]) -> list[RunEnd]:
        """See :meth:`Backend.ends`."""
        return await _looking.ends(self._database, run_ids)

    async def pending(self, run_id: str) -> Pending:
        """See :meth:`Backend.pending`."""
        return await _looking.pending(self._database, run_id)

    async def control(self, instance_id: str, action: Action, reason: str) -> ControlResult:
        """See :meth:`Backend.control`."""
        return await self._change(lambda unit: _control.control(unit, instance_id, action, reason))

    async def remove(self, instance_id: str) -> RemoveResult:
        """See :meth:`Backend.remove`."""
        return await self._change(lambda unit: _control.remove(unit, instance_id))

    async def image(self, instance_id: str) -> InstanceImage | None:
        """See :meth:`Moving.image`."""
        return await self._change(lambda unit: _moving.image(unit, self._database, instance_id))

    async def restore(
        self, image: InstanceImage, histories: Sequence[Sequence[bytes]]
    ) -> RestoreResult:
        """See :meth:`Moving.restore`. In several units: nothing is to be seen before the last."""
        verdict = await self._change(lambda unit: _moving.make_room(unit, image))
        if verdict is not RestoreResult.RESTORED:
            return verdict
        serials = await self._change(lambda unit: _moving.begin(unit, image))
        for serial, history in zip(serials, histories, strict=True):
            after = 0
            for page in pages(history, _moving.PAGE):
                add = functools.partial(
                    _moving.add_history, serial=serial, after=after, records=page
                )
                await self._change(add)
                after += len(page)
        await self._change(lambda unit: _moving.complete(unit, image, serials))
        await self._change(lambda unit: _moving.add_details(unit, image, serials))
        return RestoreResult.RESTORED

    async def discard(self, instance_id: str, mark: str) -> RemoveResult:
        """See :meth:`Moving.discard`."""
        return await self._change(lambda unit: _moving.discard(unit, instance_id, mark))

    async def overview(self, most: int) -> Overview:
        """See :meth:`Overseeing.overview`."""
        return await _overview.overview(self._database, self._glances.now(), most)

    async def put_documents(self, documents: Sequence[Document]) -> None:
        """See :meth:`Documents.put_documents`."""
        if documents:
            await self._change(lambda unit: _overview.put_documents(unit, documents))

    async def list_documents(
        self, collection: str, after: str | None, limit: int, *, newest_first: bool = False
    ) -> list[Document]:
        """See :meth:`Documents.list_documents`."""
        return await _overview.list_documents(
            self._database, collection, after, limit, newest_first=newest_first
        )

    async def clear_documents(self, collection: str, before: str) -> None:
        """See :meth:`Documents.clear_documents`."""
        await self._database.fetch("clear_documents", collection=collection, before=before)

    async def list_sessions(self) -> list[SessionRecord]:
        """See :meth:`Liveness.list_sessions`."""
        return await _looking.list_sessions(self._database)

    async def list_instances(self, filter: ListFilter, after: str | None, limit: int) -> ListPage:
        """See :meth:`Listing.list_instances`."""
        return await _looking.list_instances(self._database, filter, after, limit)

    async def list_from(
        self, filter: ListFilter, after: str | None, limit: int
    ) -> list[tuple[str, InstanceRecord]]:
        """Instances as :meth:`list_instances` gives them, each with the cursor behind it."""
        return await _looking.list_from(self._database, filter, after, limit)
