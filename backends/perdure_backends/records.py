"""The records that pass between the runtime and a store.

All times are microseconds since the epoch by the store's clock, all durations microseconds.
Payloads and inbox entries are opaque bytes to a store.

PYTEST_DONT_REWRITE
"""

from __future__ import annotations

import enum
from typing import Literal, TypeAlias

import msgspec
from perdure import Failure, Retry

from .history import Parent

RunningPolicy: TypeAlias = Literal["error", "use_existing", "replace"]
FinishedPolicy: TypeAlias = Literal["allow", "reject"]
ParentClosePolicy: TypeAlias = Literal["terminate", "cancel", "abandon"]


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """Base of all records."""


class Status(enum.StrEnum):
    """Where a run stands. Suspended and parked runs are ``RUNNING`` with a mark besides."""

    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"
    TERMINATED = "terminated"
    TIMED_OUT = "timed_out"
    CONTINUED = "continued_as_new"


# --- sessions -------------------------------------------------------------------------------


class Offer(msgspec.Struct, frozen=True, array_like=True):
    """A workflow that a worker can run: a registered name and a version."""

    workflow: str
    version: int


class SessionStart(Record, frozen=True):
    """A worker process presents itself.

    Attributes:
        id: unique, made by the worker.
        build: id of the code that it runs.
        lease: how long the session lives after each renewal.
        label: host and process for people.
        queues: queues that it serves.
        workflows, activities: what it offers on them.
        max_turns, max_activities: its slots; 0 where it does not say.
    """

    id: str
    build: str
    lease: int
    label: str = ""
    queues: tuple[str, ...] = ()
    workflows: tuple[Offer, ...] = ()
    activities: tuple[str, ...] = ()
    max_turns: int = 0
    max_activities: int = 0


class SessionRecord(Record, frozen=True):
    """A session as the store knows it; lost ones are there until somebody sweeps."""

    start: SessionStart
    opened_at: int
    expires_at: int


# --- starting and messages ------------------------------------------------------------------


class Message(Record, frozen=True):
    """Something for an instance's inbox: a signal, an update, a cancellation.

    ``run_id`` narrows it to one run; without, it goes to the instance's current run.
    """

    instance_id: str
    message_id: str
    entry: bytes
    run_id: str | None = None


class SendResult(enum.StrEnum):
    """How a message went; ``ACCEPTED`` also for a repeat of an accepted one."""

    ACCEPTED = "accepted"
    NOT_FOUND = "not_found"
    FINISHED = "finished"
    FULL = "full"


class StartRequest(Record, frozen=True):
    """A start. ``started`` is the encoded ``WorkflowStarted`` event: the inbox's first entry.

    A repeat with the same ``request_id`` gets the first answer. ``messages`` are accepted in the
    same step by the run that the answer names, new or there already.
    """

    instance_id: str
    run_id: str
    request_id: str
    workflow: str
    version: int
    queue: str
    started: bytes
    run_timeout: int | None = None
    if_running: RunningPolicy = "error"
    if_finished: FinishedPolicy = "allow"
    parent: Parent | None = None
    parent_close: ParentClosePolicy = "abandon"
    messages: tuple[Message, ...] = ()


class StartResult(enum.StrEnum):
    """How a start went. All but the last two name a run that the caller may wait for."""

    CREATED = "created"
    EXISTING = "existing"
    REPEATED = "repeated"
    RUNNING_EXISTS = "running_exists"
    FINISHED_EXISTS = "finished_exists"


class StartOutcome(Record, frozen=True):
    """Answer to a start: the result and the run that has the id now.

    ``delivered`` says how the first of the request's messages that was not accepted went.
    """

    result: StartResult
    run_id: str
    delivered: SendResult = SendResult.ACCEPTED


# --- turns ----------------------------------------------------------------------------------


class TurnClaim(Record, frozen=True):
    """A worker asks for instances that have something to do.

    Attributes:
        alone: ask for at most one suspect (an instance that may crash its worker); suspects are
            never in the answer otherwise.
        parked: ask for parked instances that this build has not tried yet; they are un-parked.
    """

    session_id: str
    build: str
    queues: tuple[str, ...]
    offers: tuple[Offer, ...]
    limit: int
    alone: bool = False
    parked: bool = False


class InboxEntry(msgspec.Struct, frozen=True, array_like=True):
    """An accepted message with its number in the instance's inbox."""

    seq: int
    entry: bytes


class TurnTask(Record, frozen=True):
    """An instance with something to do, leased to the session that claimed it.

    Attributes:
        token: names the lease in commits.
        turn: number of the last committed turn; 0 for a new run.
        inbox: everything unread, in order.
        time: the store's time of the claim.
        events: events in the history so far.
        ready_at: since when it could have been claimed; ``None`` where that is not known.
    """

    instance_id: str
    run_id: str
    token: str
    turn: int
    workflow: str
    version: int
    queue: str
    inbox: tuple[InboxEntry, ...]
    time: int
    started_at: int
    events: int = 0
    parent: Parent | None = None
    alone: bool = False
    ready_at: int | None = None


class ClaimedTurns(Record, frozen=True):
    """Answer to a claim.

    ``suspects`` says that instances or activities wait to be run alone (never for parked ones),
    ``queries`` that queries wait to be answered, perhaps by others.
    """

    tasks: tuple[TurnTask, ...]
    suspects: bool = False
    queries: bool = False


class NewActivity(Record, frozen=True):
    """An activity that a turn scheduled.

    Attributes:
        token: given when the committing session starts it itself: the record is then written as
            claimed by that session, first attempt counted, unless its queue's limit forbids that.
        priority: of those that wait, the greatest goes first.
        headers: what middleware sends along.
    """

    number: int
    name: str
    queue: str
    input: bytes
    scheduled_at: int
    retry: Retry
    start_to_close: int | None = None
    schedule_to_close: int | None = None
    schedule_to_start: int | None = None
    heartbeat: int | None = None
    token: str | None = None
    priority: int = 0
    headers: dict[str, bytes] = {}


class NewTimer(msgspec.Struct, frozen=True, array_like=True):
    """A timer that a turn started."""

    number: int
    due_at: int


class Settled(msgspec.Struct, frozen=True, array_like=True):
    """An activity whose outcome rides in this turn: its number and the token of the attempt."""

    number: int
    token: str


class CancelActivity(msgspec.Struct, frozen=True, array_like=True):
    """A request to cancel; ``confirm`` keeps the record until the activity has ended."""

    number: int
    confirm: bool


class ChildStart(Record, frozen=True):
    """Outbox: start a sub-workflow; ``refused`` is delivered back when the id is taken."""

    request: StartRequest
    refused: bytes


class Delivery(Record, frozen=True):
    """Outbox: a message for another instance.

    Attributes:
        accepted: delivered back to the sender when it was accepted, if given.
        refused: delivered back when there is no running receiver, if given.
    """

    message: Message
    accepted: bytes | None = None
    refused: bytes | None = None


class Continuation(Record, frozen=True):
    """The next run of an instance that continues as new.

    ``carry`` are messages that were consumed but not read by the code; behind them, the unread
    messages of the inbox move to the new run, but no results and timers of the old one.
    """

    run_id: str
    workflow: str
    version: int
    queue: str
    started: bytes
    run_timeout: int | None = None
    carry: tuple[bytes, ...] = ()


class Finish(Record, frozen=True):
    """The end of a run.

    Attributes:
        seen: number of the last inbox entry that the code was given; the commit is refused when
            newer ones are there.
        to_parent: the entry for the parent's inbox, when there is a parent to tell.
    """

    status: Status
    seen: int
    result: bytes | None = None
    failure: Failure | None = None
    continuation: Continuation | None = None
    to_parent: bytes | None = None


class UpdateAnswer(Record, frozen=True):
    """How an update stands: accepted by its validator, completed by its handler, or rejected.

    ``failure`` says why it was rejected, or what its handler raised.
    """

    update_id: str
    stage: Literal["accepted", "completed", "rejected"]
    result: bytes | None = None
    failure: Failure | None = None


class Park(Record, frozen=True):
    """Why a run is kept aside until fitting code, or an operator, comes.

    ``reason`` is one of ``mismatch``, ``nondeterministic``, ``payload``, ``newer_history``,
    ``history_limit``, ``blocked``, ``stuck``, ``crashes``, ``internal``; ``details`` holds the
    facts by name.
    """

    reason: str
    message: str
    build: str
    details: dict[str, str] = {}
    at: int = 0


class TurnCommit(Record, frozen=True):
    """All that one turn changes, applied completely or not at all.

    Compare-and-set on (run, token, ``turn`` − 1). ``turn`` 0 marks a commit without a turn (a
    park before anything ran, or updates that were all rejected).

    Attributes:
        published: the new published state, if it changed.
        answers: how updates stand now; kept with the instance, the last one for each update.
    """

    instance_id: str
    run_id: str
    token: str
    commit_id: str
    turn: int
    record: bytes = b""
    events: int = 0
    consumed: tuple[int, ...] = ()
    settled: tuple[Settled, ...] = ()
    activities: tuple[NewActivity, ...] = ()
    cancelled_activities: tuple[CancelActivity, ...] = ()
    timers: tuple[NewTimer, ...] = ()
    cancelled_timers: tuple[int, ...] = ()
    outbox: tuple[ChildStart | Delivery, ...] = ()
    finish: Finish | None = None
    park: Park | None = None
    release: bool = False
    published: bytes | None = None
    answers: tuple[UpdateAnswer, ...] = ()


class CommitResult(enum.StrEnum):
    """How a commit went. After anything but the first two, the cached instance is void."""

    APPLIED = "applied"
    ALREADY = "already_applied"
    STALE = "stale"
    GONE = "gone"
    BEHIND = "behind"


class CommitOutcome(msgspec.Struct, frozen=True, array_like=True):
    """Answer to a commit: its result, and the store's time.

    ``deferred`` are activities that came with a token but must wait for their queue's limit.
    """

    result: CommitResult
    time: int
    deferred: tuple[int, ...] = ()


class Lease(msgspec.Struct, frozen=True, array_like=True):
    """A lease on an instance, to hand back."""

    run_id: str
    token: str


# --- activities -----------------------------------------------------------------------------


class ActivityClaim(Record, frozen=True):
    """A worker asks for activities to run; ``alone`` as for turns."""

    session_id: str
    queues: tuple[str, ...]
    names: tuple[str, ...]
    limit: int
    alone: bool = False


class ActivityTask(Record, frozen=True):
    """An attempt of an activity, leased to the session that claimed it.

    ``due_at`` is when it could have been started first; ``None`` where that is not known.
    """

    instance_id: str
    run_id: str
    number: int
    name: str
    queue: str
    input: bytes
    token: str
    attempt: int
    scheduled_at: int
    started_at: int
    retry: Retry
    deadline: int | None = None
    heartbeat: int | None = None
    details: bytes | None = None
    alone: bool = False
    headers: dict[str, bytes] = {}
    due_at: int | None = None


class ActivityResult(Record, frozen=True):
    """How an attempt ended, judged by its own token.

    Exactly one is given: ``entry`` (the outcome for the workflow's inbox), ``retry_in`` (with
    ``failure``), ``failure`` alone (the store judges by the activity's retry policy),
    ``hand_back`` (gives the attempt back uncounted), or ``detach`` (the attempt goes on outside of
    any session, until somebody settles it with its token or a time-out passes).
    """

    run_id: str
    number: int
    token: str
    entry: bytes | None = None
    failure: Failure | None = None
    retry_in: int | None = None
    hand_back: bool = False
    detach: bool = False


class Heartbeat(Record, frozen=True):
    """A running attempt asks whether it is still wanted, and may leave details."""

    run_id: str
    number: int
    token: str
    details: bytes | None = None
    alive: bool = False


class HeartbeatResult(enum.StrEnum):
    """Answer to a heartbeat; ``GONE`` means the result is no longer wanted."""

    GO_ON = "go_on"
    CANCEL = "cancel"
    GONE = "gone"


# --- queries --------------------------------------------------------------------------------


class QueryRequest(Record, frozen=True):
    """Somebody asks an instance; ``entry`` holds name, argument and headers, opaque to a store.

    Forgotten ``lifetime`` after it was asked, answered or not. ``run_id`` narrows it to one run.
    """

    id: str
    instance_id: str
    entry: bytes
    lifetime: int
    run_id: str | None = None


class QueryClaim(Record, frozen=True):
    """A worker asks for queries of runs that it could run."""

    session_id: str
    queues: tuple[str, ...]
    offers: tuple[Offer, ...]
    limit: int


class QueryTask(Record, frozen=True):
    """A query with what is needed to replay its run up to the last committed turn."""

    id: str
    instance_id: str
    run_id: str
    workflow: str
    version: int
    queue: str
    turn: int
    started_at: int
    entry: bytes


class QueryAnswer(Record, frozen=True):
    """The answer to a query: a result, or why there is none."""

    id: str
    result: bytes | None = None
    failure: Failure | None = None


class QueueLimit(Record, frozen=True):
    """How many activities of a queue may start, over all workers together.

    Attributes:
        per_second: starts in a second, on average; ``burst`` may start at once.
    """

    queue: str
    per_second: float
    burst: int = 1


# --- keeping house --------------------------------------------------------------------------


class SweepReport(Record, frozen=True):
    """What a sweep did, and when there is something to do next (``None``: nothing is planned)."""

    fired: int = 0
    timed_out: int = 0
    sessions_lost: tuple[str, ...] = ()
    next_due: int | None = None


# --- looking and steering -------------------------------------------------------------------


class PendingActivity(Record, frozen=True):
    """An activity that has not ended, as ``describe`` shows it."""

    number: int
    name: str
    queue: str
    attempt: int
    state: Literal["waiting", "running", "retrying"]
    scheduled_at: int
    due_at: int
    owner: str | None = None
    last_failure: Failure | None = None


def state_word(status: str, *, suspended: bool, parked: bool) -> str:
    """See :attr:`InstanceRecord.state`."""
    if status != Status.RUNNING.value:
        return status
    return "suspended" if suspended else "parked" if parked else status


class InstanceRecord(Record, frozen=True):
    """A run as the store knows it."""

    instance_id: str
    run_id: str
    workflow: str
    version: int
    queue: str
    status: Status
    started_at: int
    turn: int
    events: int
    finished_at: int | None = None
    suspended: bool = False
    park: Park | None = None
    parent: Parent | None = None
    continued_to: str | None = None
    result: bytes | None = None
    failure: Failure | None = None
    owner: str | None = None
    started: bytes = b""
    published: bytes | None = None

    @property
    def state(self) -> str:
        """One word for people: the status, or ``suspended`` or ``parked`` while it runs."""
        return state_word(self.status.value, suspended=self.suspended, parked=self.park is not None)


class RunEnd(msgspec.Struct, frozen=True, array_like=True):
    """How a run has ended."""

    run_id: str
    instance_id: str
    status: Status
    continued_to: str | None = None
    result: bytes | None = None
    failure: Failure | None = None


class Pending(Record, frozen=True):
    """What a run waits for, as far as the store knows."""

    activities: tuple[PendingActivity, ...] = ()
    timers: tuple[NewTimer, ...] = ()
    inbox: int = 0


class Action(enum.StrEnum):
    """What an operator may do with a running instance."""

    TERMINATE = "terminate"
    SUSPEND = "suspend"
    RESUME = "resume"
    UNPARK = "unpark"


class ControlResult(enum.StrEnum):
    """How an operator's action went; ``UNCHANGED`` when there was nothing to do."""

    DONE = "done"
    UNCHANGED = "unchanged"
    NOT_FOUND = "not_found"
    FINISHED = "finished"


class RemoveResult(enum.StrEnum):
    """How a removal went."""

    REMOVED = "removed"
    NOT_FOUND = "not_found"
    RUNNING = "running"
    CHANGED = "changed"


class RestoreResult(enum.StrEnum):
    """How an instance of another store was taken in.

    ``THERE``: this very copy is there already; ``OTHER``: another or newer one is, and stays.
    """

    RESTORED = "restored"
    THERE = "there"
    OTHER = "other"


class QueueBacklog(Record, frozen=True):
    """What waits on a queue, for whichever worker, and since when the first of it does.

    Attributes:
        turns: instances that wait for a turn.
        activities: activities that could start now.
        running: attempts that have been started and have not ended.
    """

    queue: str
    turns: int = 0
    turns_since: int | None = None
    activities: int = 0
    activities_since: int | None = None
    running: int = 0


class Overview(Record, frozen=True):
    """A store at a glance. No number is above ``most``; one that is ``most`` may be more.

    Attributes:
        time: the store's time.
        states: runs by words of :attr:`InstanceRecord.state`.
        parked: parked runs by the reason.
        queues: by name, those on which something waits or runs.
    """

    time: int
    most: int
    states: dict[str, int]
    parked: dict[str, int]
    queues: tuple[QueueBacklog, ...]


class Document(msgspec.Struct, frozen=True, array_like=True):
    """Something that is kept under a key, beside the instances. Keys are compared as bytes."""

    collection: str
    key: str
    value: bytes


class ListFilter(Record, frozen=True):
    """Which instances a listing shows; what is empty or ``None`` filters nothing.

    Attributes:
        states: words of :attr:`InstanceRecord.state`.
        all_runs: also runs that continued as new or were replaced under their id.
    """

    states: tuple[str, ...] = ()
    workflow: str | None = None
    id_prefix: str | None = None
    queue: str | None = None
    started_after: int | None = None
    started_before: int | None = None
    finished_before: int | None = None
    all_runs: bool = False


class ListPage(Record, frozen=True):
    """A page of a listing, newest start first; ``after`` continues it, ``None`` at its end."""

    instances: tuple[InstanceRecord, ...]
    after: str | None
