"""The face of a store on a database server: the contract's methods, each a unit of work.

PYTEST_DONT_REWRITE
"""

from __future__ import annotations

import asyncio
import functools
import math
import random
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Final, TypeVar

from perdure import BackendError, BackendUnavailableError, PayloadTooLargeError, SchemaVersionError

from .._images import InstanceImage, pages
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
from . import _activities, _control, _delivering, _looking, _moving, _overview, _queries, _turns
from ._database import ConflictError, Database, Link, Look
from ._known import Known, KnownLink
from ._posting import Posted, Waiting, decode_posted
from ._telling import end_tasks
from ._unit import Unit

T = TypeVar("T")

_PAUSES: Final = (0.0, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.4, 0.8)
"""Seconds before a unit that met a conflict is tried again, up to so much more by chance."""

_FRESH: Final = 0.9
"""Seconds for which a glance that nothing has contradicted since is believed."""

_SERIALS: Final = 1000
"""Numbers of runs that a unit may use; the next ones are fetched before it begins."""

_SEEN_FREE: Final = 0.3
"""Seconds between the two glances that find a session's lock free."""

_GRACE: Final = 2.0
"""Seconds after an outage in which nobody is found dead: the living could not renew either."""

_LIMITS: Final = "limits"
"""Told when a queue's limit was set. Where nothing is told, the next glance shows it."""

_PARKED: Final = "parked"
"""Nobody is woken for what is parked: who can run it looks from time to time."""

_HURRY: Final = "hurry"
"""Told when this process has made something happen: others may answer soon."""

_BUSY_LOOK: Final = 0.012
_IDLE_LOOK: Final = 0.46
"""Seconds between glances where the store does not push."""

_BUSY: Final = 2.0
"""Seconds for which something that happened makes more of it likely."""


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
        self._clock = clock
        self._wakeups = wakeups or Wakeups()
        self.relay: Callable[[set[str] | None], Awaitable[None]] | None = None
        """Relays what instances have posted (``None``: what anybody may) to other shards."""
        self._opened = False
        self._offset = 0
        self._serials = range(0)
        self._look: Look | None = None
        self._looked = -math.inf
        self._looked_now = 0
        self._stale: set[str] = set()
        self._planned: float = math.inf
        self._limits = True
        self._limit_changes = 0
        self._known = Known() if database.compares else None
        self._seen_free: dict[str, float] = {}
        self._out_of_reach = False
        self._judges_from = -math.inf
        self._watcher: asyncio.Task[None] | None = None
        self._busy_until = -math.inf
        self._glancing: asyncio.Task[Look] | None = None

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
        self._clock = clock

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
            await self._learn_time()
        except BaseException:
            await self._database.aclose()
            raise
        self._opened = True
        self._database.listen(self._told)
        if not self._database.pushes and self._clock is None:
            self._watcher = asyncio.get_running_loop().create_task(self._watch())

    async def aclose(self) -> None:
        """See :meth:`Backend.aclose`."""
        watcher, self._watcher = self._watcher, None
        await end_tasks(watcher, self._glancing)
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
        await self._learn_time()
        return self._now()

    async def _learn_time(self) -> None:
        if self._clock is None:
            rows = await self._database.fetch("now")
            self._set_time(rows[0][0])

    def _set_time(self, now: int) -> None:
        self._offset = now - time.monotonic_ns() // 1000

    def _now(self) -> int:
        """The server's time at its last answer, and this machine's monotonic time since."""
        if self._clock is not None:
            return self._clock()
        return time.monotonic_ns() // 1000 + self._offset

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
            link, self._now(), self._next_serial, limits=self._limits, database=self._database
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
        self._tell(unit)
        if unit.posted and self.relay is not None:
            await self.relay(unit.posted)
        return result

    async def _next_serial(self) -> int:
        serial, self._serials = self._serials[0], self._serials[1:]
        return serial

    def _tell(self, unit: Unit) -> None:
        topics = set(unit.topics)
        if unit.earliest is not None and unit.earliest < self._planned:
            self._planned = unit.earliest
            topics.add(DUE)
        if topics or unit.finished:
            self._be_busy()
            self._told(topics, unit.finished)
            self._database.tell(list(topics), unit.finished)

    def _told(self, topics: Sequence[str] | set[str], finished: Sequence[str] | None) -> None:
        """Something happened, here or elsewhere."""
        if _LIMITS in topics:
            self._limits = True
            self._limit_changes += 1
        self._stale.update(topics)
        self._wakeups.notify(*topics)
        if finished is None or finished:
            self._wakeups.notify_finished(finished)

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

    # --- glances

    async def glance(self) -> Look:
        """Looks at the store."""
        # What is told from here on may not be in its answer, and what was told before must not be
        # judged by an older one.
        self._stale.clear()
        self._look = None
        since, changes = self._looked_now, self._limit_changes
        try:
            look = await self._database.look(None if self._clock is None else self._clock(), since)
        except BackendError:
            self._out_of_reach = True
            raise
        if self._clock is None:
            self._set_time(look.now)
        self._looked = time.monotonic()
        if self._out_of_reach:
            self._out_of_reach = False
            self._judges_from = self._looked + _GRACE
        self._looked_now = look.now
        self._look = look
        if changes == self._limit_changes:
            self._limits = look.limits
        self._planned = math.inf if look.next_due is None else look.next_due
        if look.retries:
            self._wakeups.notify(ACTIVITIES)
        return look

    async def _fresh(self, topic: str) -> Look | None:
        """What is known without asking, or by a glance; ``None``: something has happened."""
        if self._clock is not None or topic in self._stale:
            # Who asks next may be able to do what this one can't: it must look again.
            self._stale.discard(topic)
            self._look = None
            return None
        if self._look is None or time.monotonic() - self._looked > _FRESH:
            return await self._shared_glance()
        return self._look

    async def _shared_glance(self) -> Look:
        """The glance that is on its way, or a new one: a worker's loops look at the same time."""
        loop = asyncio.get_running_loop()
        glancing = self._glancing
        # One that is over and not cleared away yet is no answer: who asks again and again, because
        # its answer has grown old meanwhile, would never let the loop go on.
        if glancing is None or glancing.done() or glancing.get_loop() is not loop:
            glancing = self._glancing = loop.create_task(self.glance())
            glancing.add_done_callback(self._glanced)
        return await asyncio.shield(glancing)

    def _glanced(self, glancing: asyncio.Task[Look]) -> None:
        if self._glancing is glancing:
            self._glancing = None
        if not glancing.cancelled():
            glancing.exception()  # seen, also where nobody waits for it any more

    async def _watch(self) -> None:
        """Looks at a store that does not push: often while something happens there, else seldom."""
        pause = wait = _IDLE_LOOK
        with self._wakeups.listen(_HURRY) as waiter:
            while True:
                hurried = await waiter.wait(wait)
                look = self._look
                # Where somebody else has looked meanwhile, that look counts as one of these.
                if hurried or look is None or time.monotonic() - self._looked >= pause:
                    try:
                        look = await self._shared_glance()
                    except BackendError:
                        pause = wait = _IDLE_LOOK
                        continue
                if look.ready or look.waiting or look.asked:
                    self._busy_until = time.monotonic() + _BUSY
                    turns = [TURNS] * (look.ready or look.asked)
                    self._told(turns + [ACTIVITIES] * look.waiting, ())
                busy = time.monotonic() < self._busy_until
                # Uneven, or two processes that wait for each other would keep in step for ever, at
                # worst each looking just before the other has done something.
                often = _BUSY_LOOK * (0.5 + random.random())
                pause = often if busy else min(pause * 1.5, _IDLE_LOOK)
                wait = max(0.0, pause - (time.monotonic() - self._looked))
                # Who waits for an end or an answer asks for it; where nobody does, this is nothing.
                self._wakeups.notify(ANSWERS)
                self._wakeups.notify_finished(None)

    def _be_busy(self) -> None:
        """Something has happened; the next looks come soon."""
        idle = time.monotonic() >= self._busy_until
        self._busy_until = time.monotonic() + _BUSY
        if idle and self._watcher is not None:
            self._wakeups.notify(_HURRY)

    # --- sessions

    async def open_session(self, session: SessionStart) -> None:
        """See :meth:`Backend.open_session`."""
        await self._change(lambda unit: _control.open_session(unit, session))
        await self._database.hold(session.id)

    async def keep_session(self, session_id: str) -> SessionKeeper:
        """See :meth:`Backend.keep_session`."""
        return await self._database.keeper(session_id, self._clock)

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
            look = await self._fresh(_PARKED)
            if look is not None and not look.parked:
                return ClaimedTurns(tasks=())
        else:
            look = await self._fresh(TURNS)
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
        look = await self._fresh(ACTIVITIES)
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
        look = await self._fresh(DUE)
        if look is None or (look.next_due is not None and look.next_due <= self._now()):
            look = await self.glance()
        fired = timed_out = 0
        lost: list[str] = []
        if look.due:
            fired, timed_out = await self._change(lambda unit: _control.do_what_is_due(unit, limit))
        if look.forgotten:
            await self._database.fetch("forget_queries", now=look.now)
        if look.posted and self.relay is not None:
            await self.relay(None)
        for lost_id, build, proven in self._lost_sessions(look, session_id):
            lose = functools.partial(
                _control.lose_session, session_id=lost_id, build=build, proven=proven
            )
            if await self._change(lose):
                lost.append(lost_id)
        times: list[int | None] = []
        if look.limits and look.waiting:
            times = await self._limited(look.now)
        if look.due or look.forgotten or look.posted or lost:
            look = await self.glance()
        times.append(look.next_due)
        return SweepReport(
            fired=fired,
            timed_out=timed_out,
            sessions_lost=tuple(lost),
            next_due=min((at for at in times if at is not None), default=None),
        )

    def _lost_sessions(self, look: Look, session_id: str) -> list[tuple[str, str, bool]]:
        """Sessions whose lease ended, or whose lock was seen free twice."""
        if self._looked < self._judges_from:
            # Their locks and renewals went with the server. Who lives comes back with a new
            # session and ends the old one; what dies of an outage is no reason to suspect anything.
            self._seen_free = {}
            return []
        self._seen_free = {one: self._seen_free.get(one, self._looked) for one in look.unlocked}
        lost: list[tuple[str, str, bool]] = []
        for other, build, expires_at in look.sessions:
            if other == session_id:
                continue
            first = self._seen_free.get(other)
            proven = first is not None and self._looked - first >= _SEEN_FREE
            if proven or expires_at <= look.now:
                lost.append((other, build, proven))
        return lost

    async def _limited(self, now: int) -> list[int | None]:
        """When activities that wait for their queue's limit may start next."""
        buckets = await _queries.limited_and_waiting(self._database, now)
        if any(bucket.available(now) >= 1 for bucket in buckets):
            self._stale.add(ACTIVITIES)
            self._wakeups.notify(ACTIVITIES)
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
        self._told([_LIMITS], ())
        self._database.tell([_LIMITS], ())

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
        return await _overview.overview(self._database, self._now(), most)

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
