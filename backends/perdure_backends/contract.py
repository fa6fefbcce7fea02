"""The storage contract: what a store must do for the runtime, and nothing else.

Words used below: a *run* is (instance id, run id); its *inbox* holds what was accepted for it and
not consumed by a turn yet; a *session* is a worker process's lease; an instance or activity is
*owned* by the session that claimed it, under a random *token*; an owned instance is *executing*
from its claim to its next commit.

Promises that hold for every method:

- A call has happened completely or not at all when it returns or raises.
- :class:`~perdure.BackendUnavailableError` means that nobody knows whether it happened: every
  mutating method may be repeated with the same arguments and then gives the first answer.
- Drivers' exceptions never leave a store; they are mapped to :class:`~perdure.BackendError` and
  its subclasses, with the driver's as ``__cause__``.
- An offer of workflow ``*``, version 0, stands for every workflow and version; the name ``*`` among
  those of activities for every activity.
- Methods that take a list answer in its order; one item's trouble harms no other item.
- An instance with its inbox, history, timers and activities is one unit of atomicity. Nothing
  observable may depend on two instances changing together: what goes to another instance is an
  outbox, relayed at least once and in order for each pair of sender and receiver.

PYTEST_DONT_REWRITE
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from ._images import InstanceImage
from ._wakeups import Wakeups
from .records import (
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


class SessionKeeper(Protocol):
    """A connection of its own that keeps one session alive. Used from a thread of its own."""

    async def renew(self) -> bool:
        """Renews the lease from now on; ``False`` when the session is gone (never revives it)."""
        ...

    async def aclose(self) -> None:
        """Closes the connection. The session stays as it is."""
        ...


class Backend(Protocol):
    """A store."""

    @property
    def wakeups(self) -> Wakeups:
        """Where the store says that something may have happened, in this process or elsewhere."""
        ...

    @property
    def url(self) -> str:
        """What it was opened with, without secrets; for people."""
        ...

    async def open(self) -> None:
        """Connects; creates or migrates the schema unless that was switched off.

        Raises:
            SchemaVersionError: the schema is newer than this code, or older and not to be migrated.
            BackendFormatError: what is there is not ours.
        """
        ...

    async def aclose(self) -> None:
        """Closes all connections. Idempotent; sessions are not ended by it."""
        ...

    async def now(self) -> int:
        """The store's time, by which everything due is judged."""
        ...

    # --- sessions

    async def open_session(self, session: SessionStart) -> None:
        """Registers a session, alive for ``session.lease`` from now."""
        ...

    async def keep_session(self, session_id: str) -> SessionKeeper:
        """A keeper for a session of this process; may be called on another event loop."""
        ...

    async def end_session(self, session_id: str) -> None:
        """Ends a session in good order: all that it owns is free at once, nothing is suspected.

        Activities that it was running are claimable again; their attempt is not counted.
        Idempotent.
        """
        ...

    # --- starting and messages

    async def start(self, requests: Sequence[StartRequest]) -> list[StartOutcome]:
        """Creates runs, under the policies of each request, or says which run is there.

        ``if_running="replace"`` terminates the running one in the same step. ``request_id`` makes
        repeats safe for as long as the run exists. A request's messages are accepted in the same
        step by the run that the answer names; none is when the start was refused.
        """
        ...

    async def send(self, messages: Sequence[Message]) -> list[SendResult]:
        """Accepts messages: each gets the next number of its inbox and wakes the instance.

        A ``message_id`` is accepted once for as long as the instance is kept; repeats answer
        ``ACCEPTED``, also after the end.
        Suspended and parked instances accept and stay as they are.
        """
        ...

    # --- turns

    async def claim_turns(self, claim: TurnClaim) -> ClaimedTurns:
        """Leases instances with unread messages to the session, longest waiting first.

        (A store in shards gives those of one shard before those of another, and begins with
        another shard each time; see :class:`Sharded`.)

        Eligible: running, not suspended, not parked (unless ``claim.parked``), on one of the
        queues, of an offered workflow and version, owned by nobody or by this very session. One
        that the session owns already keeps its token; the answer then brings it up to date. The
        wake is consumed by the claim: the same instance is not handed out again until something
        new arrives or the lease ends.
        """
        ...

    async def read_history(self, run_id: str, after: int, limit: int) -> list[bytes]:
        """Turn records with numbers above ``after``, in order, at most ``limit`` of them."""
        ...

    async def commit(self, commits: Sequence[TurnCommit]) -> list[CommitOutcome]:
        """Applies turns. See :class:`~perdure_backends.records.TurnCommit`.

        For each: ``ALREADY`` when a commit with this id was applied; ``GONE`` when the run has
        finished or was removed; ``STALE`` when token or turn number differ, or a settled
        activity's token is void; ``BEHIND`` when it would finish the run but newer messages are
        there; else it is applied. A lease that is not held writes nothing. Outbox items are
        relayed; a finished run's timers, activities and leases are dropped, its children are
        treated by their parent-close policy. Published state and answers to updates are stored
        with the turn; answers wake who waits for them.
        """
        ...

    async def release(self, leases: Sequence[Lease]) -> None:
        """Hands instances back; one with unread messages is claimable at once."""
        ...

    async def retain(
        self, session_id: str, run_tokens: Sequence[str], activity_tokens: Sequence[str]
    ) -> int:
        """Hands back what the session owns beyond the tokens named; says how much that was.

        For a worker that lost the answer to a claim: it may own what it never heard of. Attempts
        handed back are not counted. Never called while a claim of the session is on its way.
        """
        ...

    # --- activities

    async def claim_activities(self, claim: ActivityClaim) -> list[ActivityTask]:
        """Leases waiting, due activities to the session; counts the attempt before it runs."""
        ...

    async def settle(self, results: Sequence[ActivityResult]) -> list[bool]:
        """Takes the outcome of attempts; ``False`` where the attempt's token is void.

        An ``entry`` goes into the instance's inbox and the record is dropped; ``retry_in`` makes
        the activity claimable again after that time; ``failure`` alone does either, as the retry
        policy says; ``hand_back`` at once, uncounted. ``detach`` takes the attempt from its
        session: its token and time-outs stay, nobody claims it.
        """
        ...

    async def heartbeat(self, beats: Sequence[Heartbeat]) -> list[HeartbeatResult]:
        """Says of running attempts whether they are still wanted; stores their details."""
        ...

    # --- queries and updates

    async def ask(self, requests: Sequence[QueryRequest]) -> list[SendResult]:
        """Accepts queries, of finished runs too: ``ACCEPTED`` or ``NOT_FOUND``.

        A repeat under the same id changes nothing. The history of the run stays as it is.
        """
        ...

    async def claim_queries(self, claim: QueryClaim) -> list[QueryTask]:
        """Hands out queries of runs with at least one turn that the worker could run.

        No lease is taken, on the run or on the query: it is handed out to nobody else for ten
        seconds, and then again.
        """
        ...

    async def answer(self, answers: Sequence[QueryAnswer]) -> None:
        """Stores answers, the first for each query, and wakes who waits."""
        ...

    async def read_answers(self, query_ids: Sequence[str]) -> list[QueryAnswer | None]:
        """Answers by the ids of their queries; an answered query is forgotten by this."""
        ...

    async def read_updates(
        self, instance_id: str, update_ids: Sequence[str]
    ) -> list[UpdateAnswer | None]:
        """How updates of an instance stand; ``None`` where no turn has seen it yet."""
        ...

    # --- keeping house

    async def sweep(self, session_id: str, limit: int) -> SweepReport:
        """Does what has come due: timers, activity and run time-outs, lost sessions.

        What was due first happens first; at the same moment timers, then runs, then activities.

        A session is lost when its lease ended, or on positive proof that its process is gone.
        What it owned is free again; attempts and turns that were executing are marked: those that
        executed alone count a loss, others become suspects at their second loss. At the third
        loss alone a run is parked as ``crashes`` and an activity fails so, unless other sessions
        were lost about as often meanwhile (see :func:`._policies.convicted`).
        """
        ...

    # --- looking and steering

    async def describe(self, instance_id: str, run_id: str | None = None) -> InstanceRecord | None:
        """One run; the current one of the id when ``run_id`` is not given."""
        ...

    async def describe_runs(self, run_ids: Sequence[str]) -> list[InstanceRecord | None]:
        """Runs by their ids, in order; ``None`` for those that are not there."""
        ...

    async def ends(self, run_ids: Sequence[str]) -> list[RunEnd]:
        """How those of these runs ended that have, in any order; for those who wait for results.

        It is asked often for many runs of which few have ended: it should cost no more for the
        others than finding that out.
        """
        ...

    async def pending(self, run_id: str) -> Pending:
        """What a run waits for."""
        ...

    async def control(self, instance_id: str, action: Action, reason: str) -> ControlResult:
        """An operator's action on the current run; wins over a turn in flight (new token)."""
        ...

    async def remove(self, instance_id: str) -> RemoveResult:
        """Removes all runs of a finished instance with all that belongs to them."""
        ...


@runtime_checkable
class Listing(Protocol):
    """Optional: shows instances by filter, in pages."""

    async def list_instances(self, filter: ListFilter, after: str | None, limit: int) -> ListPage:
        """A page of runs, newest start first; stable while instances come and go."""
        ...


@runtime_checkable
class Liveness(Protocol):
    """Optional: shows who works."""

    async def list_sessions(self) -> list[SessionRecord]:
        """Sessions, the oldest first."""
        ...


@runtime_checkable
class Sharded(Protocol):
    """Optional: instances are spread over parts that know nothing of each other.

    What is ordered by time is so within each of them.
    """

    @property
    def shards(self) -> Sequence[Backend]:
        """The parts."""
        ...


@runtime_checkable
class QueueControl(Protocol):
    """Optional: limits how fast the activities of a queue start, over all workers together."""

    async def set_queue_limit(self, queue: str, limit: QueueLimit | None) -> None:
        """Sets a queue's limit, or takes it away. Holds for starts from then on."""
        ...

    async def queue_limits(self) -> list[QueueLimit]:
        """The limits, by the names of their queues."""
        ...


@runtime_checkable
class Overseeing(Protocol):
    """Optional: shows at a glance what waits, runs and fails."""

    async def overview(self, most: int) -> Overview:
        """Counts, none of them beyond ``most``: what it costs does not grow with the store."""
        ...


@runtime_checkable
class Documents(Protocol):
    """Optional: keeps small things beside the instances: audit log, published schemas, rates.

    Collections and keys are text without NUL, up to 64 and 256 bytes long.
    """

    async def put_documents(self, documents: Sequence[Document]) -> None:
        """Keeps each under its key, in place of what was there. All or nothing."""
        ...

    async def list_documents(
        self, collection: str, after: str | None, limit: int, *, newest_first: bool = False
    ) -> list[Document]:
        """Those with keys above ``after``, in order; the other way round with ``newest_first``."""
        ...

    async def clear_documents(self, collection: str, before: str) -> None:
        """Forgets those with keys below ``before``."""
        ...


@runtime_checkable
class Moving(Protocol):
    """Optional: instances are copied from and to other stores."""

    async def image(self, instance_id: str) -> InstanceImage | None:
        """An instance as it is at one moment, without its histories.

        A running one that is not held can have changed by the time that this returns.
        """
        ...

    async def restore(
        self, image: InstanceImage, histories: Sequence[Sequence[bytes]]
    ) -> RestoreResult:
        """Takes an instance in, with the turns of each of its runs; a running one suspended.

        An older copy that is suspended is replaced, a copy that is the same stays. A crash in
        between leaves no instance behind, and may be followed by the same call.
        """
        ...

    async def discard(self, instance_id: str, mark: str) -> RemoveResult:
        """Removes an instance that has finished or is suspended, if it is still as in an image.

        ``CHANGED`` when something has happened to it since, ``RUNNING`` when it is not held. Its
        parent and children are not told.
        """
        ...


@runtime_checkable
class Migrating(Protocol):
    """Optional: a schema that is migrated."""

    async def schema_version(self) -> tuple[int, int]:
        """Stored schema version (0: none yet) and the one of this code."""
        ...

    async def planned(self) -> list[tuple[str, str]]:
        """Names and texts of the migrations that :meth:`migrate` would apply."""
        ...

    async def migrate(self) -> list[str]:
        """Applies what is missing, safe beside others who do the same; says what it did."""
        ...
