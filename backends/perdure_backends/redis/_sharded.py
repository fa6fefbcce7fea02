"""A store in several shards: each call goes to the shards that it concerns.

An instance lies in the shard that its id says, with all that belongs to it; runs and queries, which
callers name by ids of their own, are where they were last seen, or looked for everywhere. Sessions
are in every shard. What goes from one shard to another is relayed (``_relational._posting``).

PYTEST_DONT_REWRITE
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any, Final, TypeVar

from msgspec.structs import replace
from perdure import BackendError

from .._images import InstanceImage
from .._overview import merged
from .._relational import Posted, RelationalBackend, Waiting
from .._wakeups import Wakeups
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
from ._database import shard_of

A = TypeVar("A")
R = TypeVar("R")

_log: Final = logging.getLogger("perdure.backends")

_KNOWN: Final = 100_000
"""Ids of which it is remembered where they are."""

_BATCH: Final = 200
"""Items that are delivered to a shard in one unit."""


class Places:
    """Where runs, or queries, were seen; the newest of them."""

    def __init__(self) -> None:
        self._shards: dict[str, int] = {}

    def note(self, ids: Iterable[str], shard: int) -> None:
        """They are there."""
        for one in ids:
            self._shards[one] = shard
        while len(self._shards) > _KNOWN:
            del self._shards[next(iter(self._shards))]

    def get(self, one: str) -> int | None:
        """Where it is, if that is known."""
        return self._shards.get(one)


class ShardedBackend:
    """A store whose instances are spread over shards.

    Args:
        shards: stores of one shard each, which share ``wakeups``.
        name: what :attr:`url` shows.
    """

    def __init__(self, shards: Sequence[RelationalBackend], wakeups: Wakeups) -> None:
        self._shards = list(shards)
        self._wakeups = wakeups
        self._runs = Places()
        self._queries = Places()
        self._turn = itertools.cycle(range(len(self._shards)))
        for number, shard in enumerate(self._shards):
            shard.relay = _Relay(number, self._shards)

    @property
    def wakeups(self) -> Wakeups:
        """See :attr:`Backend.wakeups`."""
        return self._wakeups

    @property
    def url(self) -> str:
        """See :attr:`Backend.url`."""
        return self._shards[0].url

    @property
    def shards(self) -> Sequence[RelationalBackend]:
        """The shards, in order."""
        return self._shards

    def use_clock(self, clock: Callable[[], int]) -> None:
        """Judges what is due by another clock than the server's; for tests."""
        for shard in self._shards:
            shard.use_clock(clock)

    # --- ways to the shards

    def _at(self, instance_id: str) -> RelationalBackend:
        return self._shards[shard_of(instance_id, len(self._shards))]

    async def _everywhere(self, call: Callable[[RelationalBackend], Awaitable[R]]) -> list[R]:
        """Asks all shards at once; the first error, when all have answered."""
        answers = await asyncio.gather(*map(call, self._shards), return_exceptions=True)
        return _unwrapped(answers)

    async def _divided(
        self,
        items: Sequence[A],
        shard: Callable[[A], int],
        call: Callable[[RelationalBackend, list[A]], Awaitable[Sequence[R]]],
    ) -> list[R]:
        """Calls each shard with its items; answers in the order of all items."""
        parts: dict[int, list[int]] = {}
        for position, item in enumerate(items):
            parts.setdefault(shard(item), []).append(position)
        if len(parts) == 1:
            ((number, _),) = parts.items()
            return list(await call(self._shards[number], list(items)))
        calls = [call(self._shards[n], [items[p] for p in where]) for n, where in parts.items()]
        answers = _unwrapped(await asyncio.gather(*calls, return_exceptions=True))
        found: dict[int, R] = {}
        for where, answer in zip(parts.values(), answers, strict=True):
            found.update(zip(where, answer, strict=True))
        return [found[position] for position in range(len(items))]

    def _shard_of(self, instance_id: str) -> int:
        return shard_of(instance_id, len(self._shards))

    async def _locate(self, run_ids: Iterable[str]) -> Mapping[str, int]:
        """Where runs are; those that are nowhere are in the first shard, for an answer."""
        known = {one: self._runs.get(one) for one in dict.fromkeys(run_ids)}
        missing = [one for one, shard in known.items() if shard is None]
        if missing:
            await self.describe_runs(missing)
        return {one: self._runs.get(one) or 0 for one in known}

    async def _divided_by_run(
        self,
        items: Sequence[A],
        run_id: Callable[[A], str],
        call: Callable[[RelationalBackend, list[A]], Awaitable[Sequence[R]]],
    ) -> list[R]:
        places = await self._locate(map(run_id, items))
        return await self._divided(items, lambda item: places[run_id(item)], call)

    # --- life

    async def open(self) -> None:
        """See :meth:`Backend.open`."""
        try:
            for shard in self._shards:
                await shard.open()
        except BaseException:
            await self.aclose()
            raise

    async def aclose(self) -> None:
        """See :meth:`Backend.aclose`."""
        for shard in self._shards:
            await shard.aclose()

    async def schema_version(self) -> tuple[int, int]:
        """See :meth:`Migrating.schema_version`."""
        return min([await shard.schema_version() for shard in self._shards])

    async def planned(self) -> list[tuple[str, str]]:
        """See :meth:`Migrating.planned`."""
        return [
            (f"{name}, shard {number}", text)
            for number, shard in enumerate(self._shards)
            for name, text in await shard.planned()
        ]

    async def migrate(self) -> list[str]:
        """See :meth:`Migrating.migrate`."""
        return [
            f"{name}, shard {number}"
            for number, shard in enumerate(self._shards)
            for name in await shard.migrate()
        ]

    async def now(self) -> int:
        """See :meth:`Backend.now`: the time of the first shard's server."""
        return await self._shards[0].now()

    # --- sessions

    async def open_session(self, session: SessionStart) -> None:
        """See :meth:`Backend.open_session`."""
        await self._everywhere(lambda shard: shard.open_session(session))

    async def keep_session(self, session_id: str) -> SessionKeeper:
        """See :meth:`Backend.keep_session`."""
        return _Keeper([await shard.keep_session(session_id) for shard in self._shards])

    async def end_session(self, session_id: str) -> None:
        """See :meth:`Backend.end_session`."""
        await self._everywhere(lambda shard: shard.end_session(session_id))

    # --- starting and messages

    async def start(self, requests: Sequence[StartRequest]) -> list[StartOutcome]:
        """See :meth:`Backend.start`."""
        outcomes = await self._divided(
            requests, lambda r: self._shard_of(r.instance_id), lambda shard, some: shard.start(some)
        )
        for request, outcome in zip(requests, outcomes, strict=True):
            self._runs.note([outcome.run_id], self._shard_of(request.instance_id))
        return outcomes

    async def send(self, messages: Sequence[Message]) -> list[SendResult]:
        """See :meth:`Backend.send`."""
        return await self._divided(
            messages, lambda m: self._shard_of(m.instance_id), lambda shard, some: shard.send(some)
        )

    # --- turns

    async def claim_turns(self, claim: TurnClaim) -> ClaimedTurns:
        """See :meth:`Backend.claim_turns`. Each claim begins at another shard."""
        first = next(self._turn)
        tasks: list[Any] = []
        suspects = queries = False
        for number in (*range(first, len(self._shards)), *range(first)):
            left = (1 if claim.alone else claim.limit) - len(tasks)
            if left <= 0:
                break
            part = claim if not tasks else replace(claim, limit=left)
            found = await self._shards[number].claim_turns(part)
            self._runs.note((task.run_id for task in found.tasks), number)
            tasks += found.tasks
            suspects |= found.suspects
            queries |= found.queries
        return ClaimedTurns(tasks=tuple(tasks), suspects=suspects, queries=queries)

    async def read_history(self, run_id: str, after: int, limit: int) -> list[bytes]:
        """See :meth:`Backend.read_history`."""
        places = await self._locate([run_id])
        return await self._shards[places[run_id]].read_history(run_id, after, limit)

    async def commit(self, commits: Sequence[TurnCommit]) -> list[CommitOutcome]:
        """See :meth:`Backend.commit`."""
        return await self._divided(
            commits, lambda c: self._shard_of(c.instance_id), lambda shard, some: shard.commit(some)
        )

    async def release(self, leases: Sequence[Lease]) -> None:
        """See :meth:`Backend.release`."""

        async def release(shard: RelationalBackend, some: list[Lease]) -> list[None]:
            await shard.release(some)
            return [None] * len(some)

        await self._divided_by_run(leases, lambda lease: lease.run_id, release)

    async def retain(
        self, session_id: str, run_tokens: Sequence[str], activity_tokens: Sequence[str]
    ) -> int:
        """See :meth:`Backend.retain`."""
        counts = await self._everywhere(
            lambda shard: shard.retain(session_id, run_tokens, activity_tokens)
        )
        return sum(counts)

    # --- activities

    async def claim_activities(self, claim: ActivityClaim) -> list[ActivityTask]:
        """See :meth:`Backend.claim_activities`. Each claim begins at another shard."""
        first = next(self._turn)
        tasks: list[ActivityTask] = []
        for number in (*range(first, len(self._shards)), *range(first)):
            left = (1 if claim.alone else claim.limit) - len(tasks)
            if left <= 0:
                break
            part = claim if not tasks else replace(claim, limit=left)
            found = await self._shards[number].claim_activities(part)
            self._runs.note((task.run_id for task in found), number)
            tasks += found
        return tasks

    async def settle(self, results: Sequence[ActivityResult]) -> list[bool]:
        """See :meth:`Backend.settle`."""
        return await self._divided_by_run(
            results, lambda result: result.run_id, lambda shard, some: shard.settle(some)
        )

    async def heartbeat(self, beats: Sequence[Heartbeat]) -> list[HeartbeatResult]:
        """See :meth:`Backend.heartbeat`."""
        return await self._divided_by_run(
            beats, lambda beat: beat.run_id, lambda shard, some: shard.heartbeat(some)
        )

    # --- queries and updates

    async def ask(self, requests: Sequence[QueryRequest]) -> list[SendResult]:
        """See :meth:`Backend.ask`."""
        for request in requests:
            self._queries.note([request.id], self._shard_of(request.instance_id))
        return await self._divided(
            requests, lambda r: self._shard_of(r.instance_id), lambda shard, some: shard.ask(some)
        )

    async def claim_queries(self, claim: QueryClaim) -> list[QueryTask]:
        """See :meth:`Backend.claim_queries`."""
        tasks: list[QueryTask] = []
        for number, shard in enumerate(self._shards):
            if len(tasks) < claim.limit:
                found = await shard.claim_queries(replace(claim, limit=claim.limit - len(tasks)))
                self._queries.note((task.id for task in found), number)
                self._runs.note((task.run_id for task in found), number)
                tasks += found
        return tasks

    async def answer(self, answers: Sequence[QueryAnswer]) -> None:
        """See :meth:`Backend.answer`. Where a query is not known to be, nothing happens."""
        for number, shard in enumerate(self._shards):
            some = [one for one in answers if self._queries.get(one.id) in (None, number)]
            if some:
                await shard.answer(some)

    async def read_answers(self, query_ids: Sequence[str]) -> list[QueryAnswer | None]:
        """See :meth:`Backend.read_answers`."""
        found: dict[str, QueryAnswer] = {}
        for number, shard in enumerate(self._shards):
            some = [one for one in query_ids if self._queries.get(one) in (None, number)]
            if some:
                answers = await shard.read_answers(some)
                found.update({one.id: one for one in answers if one is not None})
        return [found.pop(one, None) for one in query_ids]

    async def read_updates(
        self, instance_id: str, update_ids: Sequence[str]
    ) -> list[UpdateAnswer | None]:
        """See :meth:`Backend.read_updates`."""
        return await self._at(instance_id).read_updates(instance_id, update_ids)

    async def set_queue_limit(self, queue: str, limit: QueueLimit | None) -> None:
        """See :meth:`QueueControl.set_queue_limit`. The first shard's counts; others know of it."""
        for shard in self._shards:
            await shard.set_queue_limit(queue, limit)

    async def queue_limits(self) -> list[QueueLimit]:
        """See :meth:`QueueControl.queue_limits`."""
        return await self._shards[0].queue_limits()

    # --- keeping house

    async def sweep(self, session_id: str, limit: int) -> SweepReport:
        """See :meth:`Backend.sweep`."""
        reports = await self._everywhere(lambda shard: shard.sweep(session_id, limit))
        lost = dict.fromkeys(one for report in reports for one in report.sessions_lost)
        return SweepReport(
            fired=sum(report.fired for report in reports),
            timed_out=sum(report.timed_out for report in reports),
            sessions_lost=tuple(lost),
            next_due=min((r.next_due for r in reports if r.next_due is not None), default=None),
        )

    # --- looking and steering

    async def describe(self, instance_id: str, run_id: str | None = None) -> InstanceRecord | None:
        """See :meth:`Backend.describe`."""
        found = await self._at(instance_id).describe(instance_id, run_id)
        if found is not None:
            self._runs.note([found.run_id], self._shard_of(instance_id))
        return found

    async def describe_runs(self, run_ids: Sequence[str]) -> list[InstanceRecord | None]:
        """See :meth:`Backend.describe_runs`."""
        found: dict[str, InstanceRecord] = {}

        async def look(number: int) -> None:
            some = [one for one in run_ids if self._runs.get(one) in (None, number)]
            for record in await self._shards[number].describe_runs(some):
                if record is not None:
                    found[record.run_id] = record
                    self._runs.note([record.run_id], number)

        _unwrapped(
            await asyncio.gather(*map(look, range(len(self._shards))), return_exceptions=True)
        )
        return [found.get(run_id) for run_id in run_ids]

    async def ends(self, run_ids: Sequence[str]) -> list[RunEnd]:
        """See :meth:`Backend.ends`."""

        async def look(number: int) -> list[RunEnd]:
            some = [one for one in run_ids if self._runs.get(one) in (None, number)]
            return await self._shards[number].ends(some)

        found = _unwrapped(
            await asyncio.gather(*map(look, range(len(self._shards))), return_exceptions=True)
        )
        return [end for ends in found for end in ends]

    async def pending(self, run_id: str) -> Pending:
        """See :meth:`Backend.pending`."""
        places = await self._locate([run_id])
        return await self._shards[places[run_id]].pending(run_id)

    async def control(self, instance_id: str, action: Action, reason: str) -> ControlResult:
        """See :meth:`Backend.control`."""
        return await self._at(instance_id).control(instance_id, action, reason)

    async def remove(self, instance_id: str) -> RemoveResult:
        """See :meth:`Backend.remove`."""
        return await self._at(instance_id).remove(instance_id)

    async def image(self, instance_id: str) -> InstanceImage | None:
        """See :meth:`Moving.image`."""
        return await self._at(instance_id).image(instance_id)

    async def restore(
        self, image: InstanceImage, histories: Sequence[Sequence[bytes]]
    ) -> RestoreResult:
        """See :meth:`Moving.restore`."""
        return await self._at(image.instance_id).restore(image, histories)

    async def discard(self, instance_id: str, mark: str) -> RemoveResult:
        """See :meth:`Moving.discard`."""
        return await self._at(instance_id).discard(instance_id, mark)

    async def overview(self, most: int) -> Overview:
        """See :meth:`Overseeing.overview`."""
        return merged(await self._everywhere(lambda shard: shard.overview(most)))

    async def put_documents(self, documents: Sequence[Document]) -> None:
        """See :meth:`Documents.put_documents`. They are kept in the first shard."""
        await self._shards[0].put_documents(documents)

    async def list_documents(
        self, collection: str, after: str | None, limit: int, *, newest_first: bool = False
    ) -> list[Document]:
        """See :meth:`Documents.list_documents`."""
        return await self._shards[0].list_documents(
            collection, after, limit, newest_first=newest_first
        )

    async def clear_documents(self, collection: str, before: str) -> None:
        """See :meth:`Documents.clear_documents`."""
        await self._shards[0].clear_documents(collection, before)

    async def list_sessions(self) -> list[SessionRecord]:
        """See :meth:`Liveness.list_sessions`. One that a shard has lost is about to end."""
        found: dict[str, SessionRecord] = {}
        for records in await self._everywhere(lambda shard: shard.list_sessions()):
            for record in records:
                known = found.get(record.start.id)
                if known is None or record.expires_at < known.expires_at:
                    found[record.start.id] = record
        return sorted(found.values(), key=lambda record: (record.opened_at, record.start.id))

    async def list_instances(self, filter: ListFilter, after: str | None, limit: int) -> ListPage:
        """See :meth:`Listing.list_instances`.

        The shards' listings merged: newest first, at the same moment those of earlier shards.
        """
        at, serial, last = (None, "", -1) if after is None else _cursor(after)

        async def page(number: int) -> list[tuple[tuple[int, int], str, InstanceRecord]]:
            cursor: str | None = None
            if at is not None and number == last:
                cursor = f"{at}.{serial}"
            elif at is not None:
                # Of that moment, earlier shards have shown everything, later ones nothing.
                cursor = f"{at - (number < last)}.0"
            return [
                ((-record.started_at, number), place, record)
                for place, record in await self._shards[number].list_from(filter, cursor, limit + 1)
            ]

        pages = await asyncio.gather(*map(page, range(len(self._shards))), return_exceptions=True)
        merged = list(itertools.islice(heapq.merge(*_unwrapped(pages), key=_key), limit + 1))
        shown = merged[:limit]
        following = f"{shown[-1][1]}.{shown[-1][0][1]}" if len(merged) > limit and shown else None
        for (_, number), _, record in shown:
            self._runs.note([record.run_id], number)
        return ListPage(instances=tuple(record for *_, record in shown), after=following)


def _key(entry: tuple[tuple[int, int], str, InstanceRecord]) -> tuple[int, int]:
    return entry[0]


def _cursor(after: str) -> tuple[int, str, int]:
    at, serial, shard = after.split(".")
    return int(at), serial, int(shard)


def _unwrapped(answers: Sequence[R | BaseException]) -> list[R]:
    for answer in answers:
        if isinstance(answer, BaseException):
            raise answer
    return [answer for answer in answers if not isinstance(answer, BaseException)]


class _Keeper:
    """Keeps a session in every shard; lost in one, it is lost."""

    def __init__(self, keepers: Sequence[SessionKeeper]) -> None:
        self._keepers = keepers

    async def renew(self) -> bool:
        """See :meth:`SessionKeeper.renew`."""
        return all(await asyncio.gather(*(keeper.renew() for keeper in self._keepers)))

    async def aclose(self) -> None:
        """See :meth:`SessionKeeper.aclose`."""
        for keeper in self._keepers:
            await keeper.aclose()


class _Relay:
    """Brings what was posted in one shard to the others."""

    def __init__(self, number: int, shards: Sequence[RelationalBackend]) -> None:
        self._own = shards[number]
        self._shards = shards

    async def __call__(self, senders: set[str] | None) -> None:
        """Relays what some instances have posted, or what has waited for too long.

        What can't be done now stays posted, for the next sweep of anybody.
        """
        try:
            chains: dict[str, list[Waiting]] = {}
            now = await self._own.now() if senders is None else 0
            for waiting in await self._own.posted():
                chains.setdefault(waiting.item.instance_id, []).append(waiting)
            for sender, chain in list(chains.items()):
                if senders is not None:
                    wanted = sender in senders
                else:
                    wanted = any(one.due <= now for one in chain)
                if not wanted:
                    del chains[sender]
            while chains:
                await self._round(chains)
        except BackendError as error:
            _log.warning("what goes from one shard to another has to wait: %s", error)

    async def _round(self, chains: dict[str, list[Waiting]]) -> None:
        """Delivers, of each sender, the first items as far as they go to one shard."""
        batches: dict[int, list[Waiting]] = {}
        for sender, chain in list(chains.items()):
            shard = self._shard(chain[0].item)
            batch = batches.setdefault(shard, [])
            while chain and self._shard(chain[0].item) == shard and len(batch) < _BATCH:
                batch.append(chain.pop(0))
            if not chain:
                del chains[sender]
        delivered = await asyncio.gather(
            *(
                self._shards[shard].deliver([one.item for one in batch])
                for shard, batch in batches.items()
            ),
            return_exceptions=True,
        )
        done: list[tuple[Waiting, bytes | None]] = []
        for batch, answers in zip(batches.values(), delivered, strict=True):
            if not isinstance(answers, BaseException):
                done += zip(batch, answers, strict=True)
        if done:
            await self._own.take_out(done)
        _unwrapped(delivered)

    def _shard(self, item: Posted) -> int:
        receiver = item.receiver()
        return receiver if isinstance(receiver, int) else shard_of(receiver, len(self._shards))
