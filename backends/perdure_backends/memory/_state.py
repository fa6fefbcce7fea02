"""What the memory store holds, and the steps from which its methods are made.

PYTEST_DONT_REWRITE
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable
from typing import Final

from perdure import Failure, Retry

from .._policies import SUSPECT_AFTER, Bucket, first_deadline
from .._wakeups import ACTIVITIES, DUE, TURNS
from ..history import Parent
from ..records import (
    Continuation,
    NewActivity,
    ParentClosePolicy,
    Park,
    QueryAnswer,
    QueryRequest,
    SessionStart,
    StartRequest,
    Status,
    UpdateAnswer,
)

DUE_RANKS: Final = {"timer": 0, "run_timeout": 1, "activity_timeout": 2}
"""What comes due at the same moment happens in this order."""


class Run:
    """One run of an instance."""

    __slots__ = (
        "activities",
        "children",
        "continued_to",
        "deadline",
        "events",
        "executing",
        "failure",
        "finished_at",
        "history",
        "inbox",
        "instance_id",
        "last_commit",
        "last_seq",
        "lone_losses",
        "loss_base",
        "losses",
        "owner",
        "parent",
        "parent_close",
        "park",
        "published",
        "queue",
        "ready_at",
        "request_id",
        "result",
        "run_id",
        "serial",
        "started",
        "started_at",
        "status",
        "suspended",
        "timers",
        "token",
        "tried",
        "turn",
        "version",
        "workflow",
    )

    def __init__(
        self,
        request: StartRequest,
        *,
        run_id: str,
        serial: int,
        now: int,
    ) -> None:
        self.instance_id = request.instance_id
        self.run_id = run_id
        self.serial = serial
        self.request_id = request.request_id
        self.workflow = request.workflow
        self.version = request.version
        self.queue = request.queue
        self.started = request.started
        self.parent: Parent | None = request.parent
        self.parent_close: ParentClosePolicy = request.parent_close
        self.started_at = now
        self.deadline = None if request.run_timeout is None else now + request.run_timeout
        self.status = Status.RUNNING
        self.suspended = False
        self.park: Park | None = None
        self.tried: tuple[str, ...] = ()
        self.finished_at: int | None = None
        self.continued_to: str | None = None
        self.result: bytes | None = None
        self.failure: Failure | None = None
        self.turn = 0
        self.events = 0
        self.history: list[bytes] = []
        self.published: bytes | None = None
        # seq → (entry, whether continue-as-new carries it over)
        self.inbox: dict[int, tuple[bytes, bool]] = {}
        self.ready_at = 0  # since when it is claimable, while it is
        self.last_seq = 0
        self.owner: str | None = None
        self.token = ""
        self.executing = False
        self.losses = 0
        self.lone_losses = 0
        self.loss_base = 0
        self.last_commit = ""
        self.timers: dict[int, int] = {}
        self.activities: dict[int, ActivityRow] = {}
        self.children: list[str] = []

    @property
    def suspect(self) -> bool:
        """Whether it must run alone."""
        return self.lone_losses > 0 or self.losses >= SUSPECT_AFTER


class ActivityRow:
    """An activity that has not ended."""

    __slots__ = (
        "attempt",
        "cancel",
        "deadline",
        "details",
        "due_at",
        "last_failure",
        "lone_losses",
        "loss_base",
        "losses",
        "new",
        "owner",
        "run",
        "started_at",
        "token",
    )

    def __init__(self, run: Run, new: NewActivity) -> None:
        self.run = run
        self.new = new
        self.attempt = 0
        self.due_at = 0
        self.owner: str | None = None
        self.token = ""
        self.started_at = 0
        self.deadline: int | None = None
        self.details: bytes | None = None
        self.cancel = False
        self.last_failure: Failure | None = None
        self.losses = 0
        self.lone_losses = 0
        self.loss_base = 0

    @property
    def retry(self) -> Retry:
        """Its policy."""
        return self.new.retry

    @property
    def suspect(self) -> bool:
        """Whether it must run alone."""
        return self.lone_losses > 0 or self.losses >= SUSPECT_AFTER


class Query:
    """A question that somebody asked a run."""

    __slots__ = ("answer", "claimed_at", "expires_at", "request", "run")

    def __init__(self, run: Run, request: QueryRequest, now: int) -> None:
        self.run = run
        self.request = request
        self.expires_at = now + request.lifetime
        self.claimed_at: int | None = None
        self.answer: QueryAnswer | None = None


class Session:
    """A worker's lease."""

    __slots__ = ("activities", "expires_at", "opened_at", "runs", "start")

    def __init__(self, start: SessionStart, now: int) -> None:
        self.start = start
        self.opened_at = now
        self.expires_at = now + start.lease
        self.runs: dict[str, Run] = {}
        self.activities: dict[tuple[str, int], ActivityRow] = {}


class State:
    """All data, indexes included, and the steps that keep them in line with each other."""

    def __init__(self, clock: Callable[[], int], new_token: Callable[[], str]) -> None:
        self.clock = clock
        self.new_token = new_token
        self.serials = itertools.count(1)
        self.runs: dict[str, Run] = {}
        self.by_id: dict[str, list[Run]] = {}
        self.sessions: dict[str, Session] = {}
        self.messages: dict[str, set[str]] = {}
        self.updates: dict[tuple[str, str], UpdateAnswer] = {}
        self.queries: dict[str, Query] = {}
        self.buckets: dict[str, Bucket] = {}
        self.documents: dict[str, dict[str, bytes]] = {}
        # Runs that came from another store before the one whose end closes them: child → closer.
        self.orphans: dict[str, str] = {}
        # Runs and activities that wait to be claimed, longest waiting first.
        self.ready: dict[str, Run] = {}
        self.parked: dict[str, Run] = {}
        self.waiting: dict[tuple[str, int], ActivityRow] = {}
        self.due: list[tuple[int, int, int, int, str, str]] = []
        self.later: list[tuple[int, int, ActivityRow]] = []
        self.topics: set[str] = set()
        self.finished: list[str] = []
        self.lost_sessions = 0

    # --- inbox and wakes

    def wake(self, run: Run) -> None:
        """Makes a run claimable, unless an operator or a park holds it."""
        if run.status is Status.RUNNING and not run.suspended and run.park is None:
            if run.run_id not in self.ready:
                self.ready[run.run_id] = run
                run.ready_at = self.clock()
            self.topics.add(TURNS)

    def accept(self, run: Run, entry: bytes, *, carried: bool) -> int:
        """Gives an entry the next number of the run's inbox."""
        run.last_seq += 1
        run.inbox[run.last_seq] = (entry, carried)
        self.wake(run)
        return run.last_seq

    def plan(self, at: int, kind: str, run_id: str, number: int = 0) -> None:
        """Remembers that something comes due; looked at again when it does."""
        first = self.due[0][0] if self.due else None
        rank, serial = DUE_RANKS[kind], self.runs[run_id].serial
        heapq.heappush(self.due, (at, rank, serial, number, kind, run_id))
        if first is None or at < first:
            self.topics.add(DUE)

    # --- ownership

    def own(self, run: Run, session_id: str) -> None:
        """Leases a run to a session under a new token."""
        run.owner = session_id
        run.token = self.new_token()
        self.sessions[session_id].runs[run.run_id] = run

    def disown(self, run: Run) -> None:
        """Ends a run's lease; unread messages make it claimable."""
        if run.owner is not None:
            session = self.sessions.get(run.owner)
            if session is not None:
                session.runs.pop(run.run_id, None)
        run.owner = None
        run.token = ""
        run.executing = False
        if run.inbox:
            self.wake(run)

    def own_activity(self, row: ActivityRow, session_id: str, token: str, now: int) -> None:
        """Leases an activity to a session and counts the attempt."""
        row.owner = session_id
        row.token = token
        row.attempt += 1
        row.started_at = now
        self.sessions[session_id].activities[row.run.run_id, row.new.number] = row

    def disown_activity(self, row: ActivityRow) -> None:
        """Ends an activity's lease."""
        if row.owner is not None:
            session = self.sessions.get(row.owner)
            if session is not None:
                session.activities.pop((row.run.run_id, row.new.number), None)
        row.owner = None
        row.token = ""

    def detach_activity(self, row: ActivityRow) -> None:
        """Lets an attempt go on outside of any session; its token and time-outs stay."""
        token = row.token
        self.disown_activity(row)
        row.owner, row.token = "", token

    def limited_and_waiting(self) -> list[Bucket]:
        """The limits of queues in which an activity waits to start."""
        if not self.buckets:
            return []
        queues = {row.new.queue for row in self.waiting.values()}
        return [bucket for queue, bucket in self.buckets.items() if queue in queues]

    def drop_activity(self, row: ActivityRow) -> None:
        """Removes an activity's record."""
        self.disown_activity(row)
        self.waiting.pop((row.run.run_id, row.new.number), None)
        row.run.activities.pop(row.new.number, None)

    def offer_activity(self, row: ActivityRow, due_at: int) -> None:
        """Makes an activity claimable from ``due_at`` on."""
        row.due_at = due_at
        if due_at > self.clock():
            heapq.heappush(self.later, (due_at, next(self.serials), row))
            self.topics.add(DUE)
        else:
            self.waiting[row.run.run_id, row.new.number] = row
            self.topics.add(ACTIVITIES)

    def offer_due(self, now: int) -> None:
        """Makes activities claimable whose next attempt has come due."""
        while self.later and self.later[0][0] <= now:
            entry = heapq.heappop(self.later)
            row = entry[2]
            if self.waits_for(*entry):
                self.waiting[row.run.run_id, row.new.number] = row
                self.topics.add(ACTIVITIES)

    def waits_for(self, at: int, _: int, row: ActivityRow) -> bool:
        """Whether an activity is still to be offered then."""
        known = row.run.activities.get(row.new.number) is row
        return known and row.owner is None and row.due_at == at

    def set_deadline(self, row: ActivityRow, now: int) -> None:
        """Plans the first of an activity's time-outs, counted from now."""
        new = row.new
        row.deadline = first_deadline(
            now=now,
            scheduled_at=new.scheduled_at,
            running=row.owner is not None,
            start_to_close=new.start_to_close,
            schedule_to_close=new.schedule_to_close,
            # It has had its worker: a hand-back does not start that wait again.
            schedule_to_start=new.schedule_to_start if row.started_at == 0 else None,
            heartbeat=new.heartbeat,
        )
        if row.deadline is not None:
            self.plan(row.deadline, "activity_timeout", row.run.run_id, new.number)

    # --- beginning and end of runs

    def create(self, request: StartRequest, *, run_id: str, now: int) -> Run:
        """A new run with its first message."""
        run = Run(request, run_id=run_id, serial=next(self.serials), now=now)
        self.runs[run_id] = run
        self.by_id.setdefault(run.instance_id, []).append(run)
        if run.deadline is not None:
            self.plan(run.deadline, "run_timeout", run_id)
        self.accept(run, request.started, carried=False)
        return run

    def finish(
        self,
        run: Run,
        status: Status,
        now: int,
        *,
        result: bytes | None = None,
        failure: Failure | None = None,
    ) -> None:
        """Ends a run and drops what it had pending; children and parent are the caller's part."""
        run.status = status
        run.finished_at = now
        run.result = result
        run.failure = failure
        run.park = None
        run.suspended = False
        self.ready.pop(run.run_id, None)
        self.parked.pop(run.run_id, None)
        for row in list(run.activities.values()):
            self.drop_activity(row)
        run.timers.clear()
        run.inbox.clear()
        self.disown(run)
        self.finished.append(run.run_id)

    def continue_as_new(self, run: Run, next_run: Continuation, now: int) -> Run:
        """Ends a run as continued and creates the next one, unread messages moved."""
        unread = [entry for entry, carried in run.inbox.values() if carried]
        self.finish(run, Status.CONTINUED, now)
        run.continued_to = next_run.run_id
        request = StartRequest(
            instance_id=run.instance_id,
            run_id=next_run.run_id,
            request_id=run.request_id,
            workflow=next_run.workflow,
            version=next_run.version,
            queue=next_run.queue,
            started=next_run.started,
            run_timeout=next_run.run_timeout,
            parent=run.parent,
            parent_close=run.parent_close,
        )
        new = self.create(request, run_id=next_run.run_id, now=now)
        for entry in (*next_run.carry, *unread):
            self.accept(new, entry, carried=True)
        return new

    def forget(self, instance_id: str) -> None:
        """Removes all runs of an instance with all that belongs to them."""
        for run in self.by_id.pop(instance_id):
            del self.runs[run.run_id]
        self.messages.pop(instance_id, None)
        for key in [key for key in self.updates if key[0] == instance_id]:
            del self.updates[key]
        for name in [n for n, q in self.queries.items() if q.run.instance_id == instance_id]:
            del self.queries[name]

    def current(self, instance_id: str) -> Run | None:
        """The newest run under an id."""
        runs = self.by_id.get(instance_id)
        return runs[-1] if runs else None

    def set_park(self, run: Run, park: Park) -> None:
        """Puts a run aside."""
        run.park = park
        if park.build not in run.tried:
            run.tried = (*run.tried, park.build)
        self.ready.pop(run.run_id, None)
        self.parked[run.run_id] = run
