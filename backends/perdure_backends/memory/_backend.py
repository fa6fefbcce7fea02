"""The memory store's face: the contract's methods, each under one lock.

PYTEST_DONT_REWRITE
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

from .._ids import new_token
from .._images import InstanceImage
from .._policies import Bucket
from .._wakeups import ACTIVITIES, TURNS, Wakeups
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
    NewTimer,
    Overview,
    Park,
    Pending,
    PendingActivity,
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
    Status,
    SweepReport,
    TurnClaim,
    TurnCommit,
    UpdateAnswer,
)
from . import _activities, _moving, _overview, _queries, _turns
from ._state import ActivityRow, Run, Session, State


class Waiting(NamedTuple):
    """What a memory store has for workers.

    Attributes:
        turns: workflow and version of instances that wait for a turn.
        activities: names of activities that wait to start.
        queries: how many wait for a worker.
        parked: why runs are kept aside, by run id.
    """

    turns: list[tuple[str, int]]
    activities: list[str]
    queries: int
    parked: dict[str, Park]


def wall_clock() -> int:
    """Microseconds since the epoch by this machine's clock."""
    return time.time_ns() // 1000


class MemoryBackend:
    """A store in memory. Thread-safe; gone with the process.

    Args:
        clock: microseconds since the epoch; replaced by tests and simulations.
        new_token: makes random tokens; replaced by simulations.
    """

    def __init__(
        self,
        *,
        clock: Callable[[], int] = wall_clock,
        new_token: Callable[[], str] = new_token,
    ) -> None:
        self._state = State(clock, new_token)
        self._lock = threading.Lock()
        self._wakeups = Wakeups()

    @property
    def wakeups(self) -> Wakeups:
        """See :attr:`Backend.wakeups`."""
        return self._wakeups

    @property
    def url(self) -> str:
        """``memory://``."""
        return "memory://"

    @contextmanager
    def _change(self) -> Generator[State]:
        state = self._state
        with self._lock:
            yield state
            topics = tuple(state.topics)
            state.topics.clear()
            finished = tuple(state.finished)
            state.finished.clear()
        if topics:
            self._wakeups.notify(*topics)
        if finished:
            self._wakeups.notify_finished(finished)

    def waiting(self) -> Waiting:
        """What could be claimed now, and what is kept aside; for tests."""
        state = self._state
        with self._lock:
            return Waiting(
                turns=[(r.workflow, r.version) for r in state.ready.values() if not r.suspended],
                activities=[row.new.name for row in state.waiting.values()],
                queries=sum(q.claimed_at is None for q in state.queries.values()),
                parked={r.run_id: r.park for r in state.parked.values() if r.park is not None},
            )

    def lose(self, session_id: str) -> None:
        """Takes a session for dead, as if its lease had run out; for tests."""
        with self._change() as state:
            session = state.sessions.get(session_id)
            if session is not None:
                _activities.lose_session(state, session)
                state.topics.update((TURNS, ACTIVITIES))

    def revoke(self, run_id: str) -> None:
        """Takes a run from the session that has it; for tests."""
        with self._change() as state:
            run = state.runs.get(run_id)
            if run is not None and run.owner is not None:
                state.disown(run)

    async def open(self) -> None:
        """Nothing to do."""

    async def aclose(self) -> None:
        """Nothing to do: the data lives as long as this object."""

    async def now(self) -> int:
        """See :meth:`Backend.now`."""
        return self._state.clock()

    async def open_session(self, session: SessionStart) -> None:
        """See :meth:`Backend.open_session`."""
        with self._change() as state:
            if session.id not in state.sessions:
                state.sessions[session.id] = Session(session, state.clock())

    async def keep_session(self, session_id: str) -> SessionKeeper:
        """See :meth:`Backend.keep_session`."""
        return _Keeper(self, session_id)

    async def renew_session(self, session_id: str) -> bool:
        """Renews a session; see :meth:`SessionKeeper.renew`."""
        with self._change() as state:
            session = state.sessions.get(session_id)
            now = state.clock()
            if session is None or session.expires_at <= now:
                return False
            session.expires_at = now + session.start.lease
            return True

    async def end_session(self, session_id: str) -> None:
        """See :meth:`Backend.end_session`."""
        with self._change() as state:
            _activities.end_session(state, session_id)

    async def start(self, requests: Sequence[StartRequest]) -> list[StartOutcome]:
        """See :meth:`Backend.start`."""
        with self._change() as state:
            return [_turns.start(state, request) for request in requests]

    async def send(self, messages: Sequence[Message]) -> list[SendResult]:
        """See :meth:`Backend.send`."""
        with self._change() as state:
            return [_turns.send(state, message) for message in messages]

    async def claim_turns(self, claim: TurnClaim) -> ClaimedTurns:
        """See :meth:`Backend.claim_turns`."""
        with self._change() as state:
            return _turns.claim(state, claim)

    async def read_history(self, run_id: str, after: int, limit: int) -> list[bytes]:
        """See :meth:`Backend.read_history`."""
        with self._lock:
            run = self._state.runs.get(run_id)
            return run.history[after : after + limit] if run is not None else []

    async def commit(self, commits: Sequence[TurnCommit]) -> list[CommitOutcome]:
        """See :meth:`Backend.commit`."""
        with self._change() as state:
            return [_turns.commit(state, item) for item in commits]

    async def release(self, leases: Sequence[Lease]) -> None:
        """See :meth:`Backend.release`."""
        with self._change() as state:
            for lease in leases:
                run = state.runs.get(lease.run_id)
                if run is not None and run.owner is not None and run.token == lease.token:
                    state.disown(run)

    async def retain(
        self, session_id: str, run_tokens: Sequence[str], activity_tokens: Sequence[str]
    ) -> int:
        """See :meth:`Backend.retain`."""
        with self._change() as state:
            return _activities.retain(state, session_id, set(run_tokens), set(activity_tokens))

    async def claim_activities(self, claim: ActivityClaim) -> list[ActivityTask]:
        """See :meth:`Backend.claim_activities`."""
        with self._change() as state:
            return _activities.claim_activities(state, claim)

    async def settle(self, results: Sequence[ActivityResult]) -> list[bool]:
        """See :meth:`Backend.settle`."""
        with self._change() as state:
            return [_activities.settle(state, result) for result in results]

    async def heartbeat(self, beats: Sequence[Heartbeat]) -> list[HeartbeatResult]:
        """See :meth:`Backend.heartbeat`."""
        with self._change() as state:
            return [_activities.heartbeat(state, beat) for beat in beats]

    async def sweep(self, session_id: str, limit: int) -> SweepReport:
        """See :meth:`Backend.sweep`."""
        with self._change() as state:
            return _activities.sweep(state, session_id, limit)

    # --- queries and updates

    async def ask(self, requests: Sequence[QueryRequest]) -> list[SendResult]:
        """See :meth:`Backend.ask`."""
        with self._change() as state:
            return [_queries.ask(state, request) for request in requests]

    async def claim_queries(self, claim: QueryClaim) -> list[QueryTask]:
        """See :meth:`Backend.claim_queries`."""
        with self._change() as state:
            return _queries.claim_queries(state, claim)

    async def answer(self, answers: Sequence[QueryAnswer]) -> None:
        """See :meth:`Backend.answer`."""
        with self._change() as state:
            _queries.answer(state, list(answers))

    async def read_answers(self, query_ids: Sequence[str]) -> list[QueryAnswer | None]:
        """See :meth:`Backend.read_answers`."""
        with self._change() as state:
            return _queries.read_answers(state, list(query_ids))

    async def read_updates(
        self, instance_id: str, update_ids: Sequence[str]
    ) -> list[UpdateAnswer | None]:
        """See :meth:`Backend.read_updates`."""
        with self._lock:
            return [_moving.update(self._state, instance_id, one) for one in update_ids]

    async def set_queue_limit(self, queue: str, limit: QueueLimit | None) -> None:
        """See :meth:`QueueControl.set_queue_limit`."""
        with self._change() as state:
            if limit is None:
                state.buckets.pop(queue, None)
            else:
                state.buckets[queue] = Bucket(limit, at=state.clock())
            state.topics.add(ACTIVITIES)

    async def queue_limits(self) -> list[QueueLimit]:
        """See :meth:`QueueControl.queue_limits`."""
        with self._lock:
            buckets = self._state.buckets
            return [buckets[queue].limit for queue in sorted(buckets)]

    # --- looking and steering

    async def describe(self, instance_id: str, run_id: str | None = None) -> InstanceRecord | None:
        """See :meth:`Backend.describe`."""
        with self._lock:
            if run_id is None:
                run = self._state.current(instance_id)
            else:
                run = self._state.runs.get(run_id)
            if run is None or run.instance_id != instance_id:
                return None
            return _record(run)

    async def describe_runs(self, run_ids: Sequence[str]) -> list[InstanceRecord | None]:
        """See :meth:`Backend.describe_runs`."""
        with self._lock:
            runs = self._state.runs
            return [_record(runs[run_id]) if run_id in runs else None for run_id in run_ids]

    async def ends(self, run_ids: Sequence[str]) -> list[RunEnd]:
        """See :meth:`Backend.ends`."""
        with self._lock:
            runs = map(self._state.runs.get, run_ids)
            return [_end(run) for run in runs if run is not None and run.finished_at is not None]

    async def pending(self, run_id: str) -> Pending:
        """See :meth:`Backend.pending`."""
        with self._lock:
            run = self._state.runs.get(run_id)
            if run is None:
                return Pending()
            return Pending(
                activities=tuple(_pending(row) for row in run.activities.values()),
                timers=tuple(NewTimer(number, due) for number, due in run.timers.items()),
                inbox=len(run.inbox),
            )

    async def control(self, instance_id: str, action: Action, reason: str) -> ControlResult:
        """See :meth:`Backend.control`."""
        with self._change() as state:
            return _turns.control(state, instance_id, action, reason)

    async def remove(self, instance_id: str) -> RemoveResult:
        """See :meth:`Backend.remove`."""
        with self._change() as state:
            runs = state.by_id.get(instance_id)
            if not runs:
                return RemoveResult.NOT_FOUND
            if runs[-1].status is Status.RUNNING:
                return RemoveResult.RUNNING
            state.forget(instance_id)
            return RemoveResult.REMOVED

    async def image(self, instance_id: str) -> InstanceImage | None:
        """See :meth:`Moving.image`."""
        with self._lock:
            return _moving.image(self._state, instance_id)

    async def restore(
        self, image: InstanceImage, histories: Sequence[Sequence[bytes]]
    ) -> RestoreResult:
        """See :meth:`Moving.restore`."""
        with self._change() as state:
            return _moving.restore(state, image, histories)

    async def discard(self, instance_id: str, mark: str) -> RemoveResult:
        """See :meth:`Moving.discard`."""
        with self._change() as state:
            return _moving.discard(state, instance_id, mark)

    async def overview(self, most: int) -> Overview:
        """See :meth:`Overseeing.overview`."""
        with self._lock:
            return _overview.overview(self._state, most)

    async def put_documents(self, documents: Sequence[Document]) -> None:
        """See :meth:`Documents.put_documents`."""
        with self._lock:
            for one in documents:
                self._state.documents.setdefault(one.collection, {})[one.key] = one.value

    async def list_documents(
        self, collection: str, after: str | None, limit: int, *, newest_first: bool = False
    ) -> list[Document]:
        """See :meth:`Documents.list_documents`."""
        with self._lock:
            found = self._state.documents.get(collection, {})
            return _overview.page_of(collection, found, after, limit, newest_first=newest_first)

    async def clear_documents(self, collection: str, before: str) -> None:
        """See :meth:`Documents.clear_documents`."""
        with self._lock:
            found = self._state.documents.get(collection, {})
            for key in [key for key in found if key < before]:
                del found[key]

    async def list_sessions(self) -> list[SessionRecord]:
        """See :meth:`Liveness.list_sessions`."""
        with self._lock:
            return [
                SessionRecord(
                    start=session.start,
                    opened_at=session.opened_at,
                    expires_at=session.expires_at,
                )
                for session in self._state.sessions.values()
            ]

    async def list_instances(self, filter: ListFilter, after: str | None, limit: int) -> ListPage:
        """See :meth:`Listing.list_instances`."""
        below = int(after) if after is not None else None
        with self._lock:
            found: list[Run] = []
            for runs in self._state.by_id.values():
                found.extend(run for run in (runs if filter.all_runs else runs[-1:]))
            found = [run for run in found if (below is None or run.serial < below)]
            matching = [run for run in found if _matches(_record(run), filter)]
            matching.sort(key=lambda run: run.serial, reverse=True)
            page = matching[:limit]
            more = len(matching) > limit
            return ListPage(
                instances=tuple(map(_record, page)), after=str(page[-1].serial) if more else None
            )


class _Keeper:
    def __init__(self, backend: MemoryBackend, session_id: str) -> None:
        self._backend = backend
        self._session_id = session_id

    async def renew(self) -> bool:
        return await self._backend.renew_session(self._session_id)

    async def aclose(self) -> None:
        pass


def _end(run: Run) -> RunEnd:
    return RunEnd(
        run.run_id, run.instance_id, run.status, run.continued_to, run.result, run.failure
    )


def _record(run: Run) -> InstanceRecord:
    return InstanceRecord(
        instance_id=run.instance_id,
        run_id=run.run_id,
        workflow=run.workflow,
        version=run.version,
        queue=run.queue,
        status=run.status,
        started_at=run.started_at,
        turn=run.turn,
        events=run.events,
        finished_at=run.finished_at,
        suspended=run.suspended,
        park=run.park,
        parent=run.parent,
        continued_to=run.continued_to,
        result=run.result,
        failure=run.failure,
        owner=run.owner,
        started=run.started,
        published=run.published,
    )


def _pending(row: ActivityRow) -> PendingActivity:
    return PendingActivity(
        number=row.new.number,
        name=row.new.name,
        queue=row.new.queue,
        attempt=row.attempt,
        state="running" if row.owner else "retrying" if row.attempt else "waiting",
        scheduled_at=row.new.scheduled_at,
        due_at=row.due_at,
        owner=row.owner,
        last_failure=row.last_failure,
    )


def _matches(record: InstanceRecord, filter: ListFilter) -> bool:
    return (
        (not filter.states or record.state in filter.states)
        and (filter.workflow is None or record.workflow == filter.workflow)
        and (filter.queue is None or record.queue == filter.queue)
        and (filter.id_prefix is None or record.instance_id.startswith(filter.id_prefix))
        and (filter.started_after is None or record.started_at >= filter.started_after)
        and (filter.started_before is None or record.started_at < filter.started_before)
        and (
            filter.finished_before is None
            or (record.finished_at or filter.finished_before) < filter.finished_before
        )
    )
