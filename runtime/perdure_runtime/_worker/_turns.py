"""Turns: claimed, loaded, run, committed. All on the worker's event loop, in plain callbacks.

An instance has at most one turn that is not acknowledged. Nothing that a turn asked for happens
before its commit is applied: no activity starts, no result is given to anybody.

PYTEST_DONT_REWRITE
"""

from __future__ import annotations

import asyncio
import collections
import functools
import logging
from collections.abc import Callable, Coroutine, Sequence
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeVar

import msgspec
from perdure import (
    Failure,
    InternalError,
    PayloadError,
    PayloadTooLargeError,
    PerdureError,
    UsageError,
)
from perdure_backends import Backend
from perdure_backends import history as h
from perdure_backends.records import (
    ActivityTask,
    CommitOutcome,
    CommitResult,
    Lease,
    NewActivity,
    QueryTask,
    TurnCommit,
    TurnTask,
)

from .._batcher import Batcher
from .._core import Execution, Fault, Scheduled, SpanNote, TurnResult
from .._registry import Registry
from .._services import Services
from .._telemetry import NOBODY, CommittedTurn, Telemetry
from ._clock import StoreClock
from ._commits import failure_commit, park_commit, turn_commit
from ._live import Arrival, Live, Phase
from ._watchdog import TurnBlockedError, Watchdog

if TYPE_CHECKING:
    from .._tally import Tally

T = TypeVar("T")

_log: Final = logging.getLogger("perdure.runtime")

_HISTORY_PAGE: Final = 500
_AT_A_TIME: Final = 32  # turns until what they want to commit is sent
_LARGEST_TURN: Final = 16 * 1024 * 1024
_LONG_SLEEP: Final = 30_000_000  # microseconds; who only waits longer than that is not cached
_RETRY_PAUSE: Final = 5.0


class Activities(Protocol):
    """What turns need of the side that runs activities."""

    def reserve(self, new: NewActivity) -> str | None:
        """A slot for an activity that was just scheduled: its token, if there is one free."""
        ...

    def unreserve(self, tokens: Sequence[str]) -> None:
        """Slots of activities that were not committed."""
        ...

    def start_reserved(self, live: Live, task: ActivityTask) -> None:
        """Starts an activity whose slot was reserved; its record is committed."""
        ...

    def cancel(self, run_id: str, numbers: Sequence[int] | None) -> None:
        """Running activities that nobody wants any more; ``None`` means all of the run."""
        ...

    def settle_lost(self, run_id: str, arrivals: Sequence[Arrival]) -> None:
        """Results that could not ride in a turn go to the inbox."""
        ...

    def start_local(
        self, live: Live, scheduled: Scheduled, time: int, done: Callable[[h.Received | None], None]
    ) -> asyncio.Task[None]:
        """Runs a local activity; ``done`` gets its outcome, ``None`` when the worker stops."""
        ...


class Checker(Protocol):
    """Judges turns before they are committed."""

    async def check(self, execution: Execution, record: bytes) -> Fault | None:
        """Whether a turn must not be committed."""
        ...


class Turns:
    """The instances of a worker."""

    def __init__(
        self,
        backend: Backend,
        registry: Registry,
        clock: StoreClock,
        services: Services,
        *,
        build: str,
        cache_size: int,
        on_mismatch: str,
        make_execution: Callable[[TurnTask | QueryTask], Execution],
        watchdog: Watchdog | None,
        checker: Checker | None = None,
        telemetry: Telemetry = NOBODY,
        tally: Tally | None = None,
    ) -> None:
        self.activities: Activities | None = None
        self.on_capacity: Callable[[], None] = lambda: None
        # Something could not be handed back: the store holds leases that nobody here knows of.
        self.on_forgotten: Callable[[], None] = lambda: None
        self._backend = backend
        self._registry = registry
        self._clock = clock
        self._services = services
        self._build = build
        self._cache_size = cache_size
        self._on_mismatch = on_mismatch
        self._make_execution = make_execution
        self._watchdog = watchdog
        self._checker = checker
        self._telemetry = telemetry
        self._watched = telemetry is not NOBODY  # else no clock is read for it
        self._tally = tally
        self._lives: collections.OrderedDict[str, Live] = collections.OrderedDict()
        self._busy = 0
        self._loaders: set[asyncio.Task[None]] = set()
        self._ready: collections.deque[Live] = collections.deque()
        self._about_to_run = False
        self._commits: Batcher[TurnCommit, CommitOutcome] = Batcher(
            backend.commit, weigh=lambda commit: len(commit.record)
        )
        self._releases: Batcher[Lease, None] = Batcher(self._release)
        self._loop = asyncio.get_running_loop()
        self.stopping = False
        # Kept: collected as garbage, they would run on during another instance's turn.
        self._stubborn: list[Execution] = []

    @property
    def busy(self) -> int:
        """Instances whose turn is being loaded, run or committed."""
        return self._busy

    @property
    def cached(self) -> int:
        """Instances in memory."""
        return len(self._lives)

    # --- from claims and activities ---------------------------------------------------------------

    def admit(self, task: TurnTask) -> None:
        """Takes a claimed instance."""
        live = self._lives.get(task.run_id)
        self._telemetry.turn_claimed(task, cached=live is not None and live.turn == task.turn)
        if live is not None and live.turn == task.turn and live.execution is not None:
            live.owned = True
            live.add_inbox(task)
            self._lives.move_to_end(task.run_id)
            self._enqueue(live)
            return
        if live is not None and live.phase in (Phase.LOADING, Phase.COMMITTING, Phase.QUEUED):
            # Brought up to date while it is being worked on, under the lease that it has.
            live.add_inbox(task)
            return
        if live is not None:
            self._drop(live)
        live = Live(task)
        live.add_inbox(task)
        self._lives[task.run_id] = live
        self._busy += 1
        loader = self._loop.create_task(self._load(live))
        self._loaders.add(loader)
        loader.add_done_callback(self._loaders.discard)

    def deliver(self, live: Live, arrival: Arrival) -> bool:
        """A result of this worker for a run that it owns; ``False``: it must go the long way."""
        if not live.owned or self._lives.get(live.run_id) is not live or live.task.alone:
            return False
        live.pending.append(arrival)
        self._enqueue(live)
        return True

    def tokens(self) -> list[str]:
        """Leases that this worker knows of."""
        return [live.task.token for live in self._lives.values() if live.owned]

    def result_tokens(self) -> list[str]:
        """Attempts whose results wait for a turn, or ride in a commit that is on its way."""
        return [
            arrival.token
            for live in self._lives.values()
            for arrival in (*live.pending, *live.in_flight)
            if not arrival.seq
        ]

    def execution(self, run_id: str) -> Execution | None:
        """The run's copy in memory, if there is one."""
        live = self._lives.get(run_id)
        return None if live is None else live.execution

    def owned(self, run_id: str) -> Live | None:
        """The run, if this worker holds it and its lease."""
        live = self._lives.get(run_id)
        return live if live is not None and live.owned else None

    # --- loading ----------------------------------------------------------------------------------

    async def _load(self, live: Live) -> None:
        try:
            live.execution = execution = self._make_execution(live.task)
            began = self._loop.time()
            fault = await self.replay(execution, live.run_id, live.task.turn)
            live.turn = execution.turn
            if live.task.turn:
                live.replayed = True
                took = self._loop.time() - began
                self._telemetry.run_replayed(live.task, execution.history_length, took)
        except Exception as error:
            _log.warning(
                "history of %r can't be read: %s",
                live.task.instance_id,
                error,
                extra=log_fields(live.task),
            )
            self._busy -= 1
            self._give_back(live)
            return
        self._busy -= 1
        if self._lives.get(live.run_id) is not live:
            return
        if fault is not None:
            self._busy += 1
            live.phase = Phase.COMMITTING
            self._refuse(live, fault)
            return
        live.phase = Phase.IDLE
        self._enqueue(live)

    async def replay(self, execution: Execution, run_id: str, last: int) -> Fault | None:
        """Applies the stored turns of a run up to ``last``; a fault says why that is not possible.

        Raises:
            BackendError: the history could not be read.
        """
        while execution.turn < last:
            records = await self._backend.read_history(run_id, execution.turn, _HISTORY_PAGE)
            if not records:
                return Fault("internal", f"turns after {execution.turn} are missing in the store")
            for record in records:
                try:
                    turn = h.decode_turn(record)
                except h.NewerHistoryError as error:
                    return Fault("newer_history", str(error), {}, error)
                fault = self._guarded(
                    execution.instance_id, functools.partial(execution.replay, turn, len(record))
                )
                if fault is not None:
                    return fault
                if execution.turn == last:  # what is committed meanwhile is not asked for
                    break
            await asyncio.sleep(0)
        return None

    # --- running ----------------------------------------------------------------------------------

    def _enqueue(self, live: Live) -> None:
        if live.phase is Phase.IDLE and live.pending:
            live.phase = Phase.QUEUED
            self._busy += 1
            self._ready.append(live)
            if not self._about_to_run:
                self._about_to_run = True
                self._loop.call_soon(self._run_some)

    def _run_some(self) -> None:
        """Runs turns, a few at a time.

        All in one go would make one commit of them, and nothing be left to do while it is written.
        """
        ready = self._ready
        try:
            for _ in range(min(_AT_A_TIME, len(ready))):
                self._run(ready.popleft())
        finally:
            self._about_to_run = bool(ready)
            if ready:
                self._loop.call_soon(self._run_some)

    def _run(self, live: Live) -> None:
        execution = live.execution
        if self._lives.get(live.run_id) is not live or execution is None:
            self._busy -= 1
            return
        arrivals: list[Arrival] = []
        received: list[h.Received] = []
        live.phase = Phase.COMMITTING
        try:
            while live.pending:
                arrival = live.pending.popleft()
                arrivals.append(arrival)
                entry = arrival.entry
                received.append(h.decode_event(entry) if isinstance(entry, bytes) else entry)
        except h.NewerHistoryError as error:
            self._return_results(live, arrivals)
            self._refuse(live, Fault("newer_history", str(error), {}, error))
            return
        live.spent = 0.0
        self._ran(
            live,
            self._step(live, lambda: execution.run_turn(self._clock.now(), received)),
            arrivals,
        )

    def _step(self, live: Live, step: Callable[[], TurnResult]) -> TurnResult | Fault:
        """Lets the code of a turn go on."""
        if not self._watched:
            return self._guarded(live.task.instance_id, step)
        began = self._loop.time()
        outcome = self._guarded(live.task.instance_id, step)
        live.spent += self._loop.time() - began
        return outcome

    def _ran(self, live: Live, outcome: TurnResult | Fault, arrivals: list[Arrival]) -> None:
        """A turn has run as far as it can: it is committed, unless local activities go on."""
        fault = outcome if isinstance(outcome, Fault) else outcome.fault
        if fault is not None or not isinstance(outcome, TurnResult):
            self._return_results(live, arrivals)
            self._refuse(live, fault or Fault("internal", "a turn without a result"))
            return
        if outcome.local or live.local:
            self._follow_local(live, outcome, arrivals)
        if not live.local:
            self._commit_turn(live, outcome, arrivals)

    def _follow_local(self, live: Live, outcome: TurnResult, arrivals: list[Arrival]) -> None:
        """Starts local activities that the turn has called, stops those that it has cancelled."""
        execution, activities = live.execution, self.activities
        if execution is None or activities is None:
            return
        for number in [n for n in live.local if n not in outcome.local]:
            activities.cancel(live.run_id, [number])
            live.local.pop(number).cancel()
        for number, scheduled in outcome.local.items():
            if number not in live.local:
                live.local[number] = activities.start_local(
                    live,
                    scheduled,
                    execution.microseconds,
                    functools.partial(self._local_done, live, number, arrivals),
                )
            elif execution.awaits_confirmation(number):
                activities.cancel(live.run_id, [number])

    def _local_done(
        self, live: Live, number: int, arrivals: list[Arrival], event: h.Received | None
    ) -> None:
        execution = live.execution
        if execution is None or number not in live.local:
            return  # taken out of memory, or cancelled
        if event is None:
            self._busy -= 1
            self._return_results(live, arrivals)
            self._give_back(live)
            return
        del live.local[number]
        self._ran(live, self._step(live, lambda: execution.extend_turn([event])), arrivals)

    def _guarded(self, what: str, step: Callable[[], T]) -> T | Fault:
        try:
            if self._watchdog is None:
                return step()
            with self._watchdog.guard(what):
                return step()
        except TurnBlockedError:
            pass
        except Exception as error:
            _log.exception("internal error in a turn of %r", what)
            return Fault("internal", f"{type(error).__name__}: {error}", {}, error)
        return Fault(
            "blocked",
            "the workflow's code ran too long without yielding (an endless loop, a blocking call); "
            "move slow work into an activity",
        )

    def _commit_turn(self, live: Live, result: TurnResult, arrivals: list[Arrival]) -> None:
        started: list[ActivityTask] = []

        def reserve(new: NewActivity) -> str | None:
            if live.task.alone or self.activities is None or self.stopping or not self._cache_size:
                return None
            token = self.activities.reserve(new)
            if token is not None:
                started.append(_own_task(live, new, token))
            return token

        try:
            commit = turn_commit(
                live, result, arrivals, commit_id=self._services.new_id(), reserve=reserve
            )
        except PerdureError as error:
            self._abandon_reserved(started)
            self._return_results(live, arrivals)
            self._refuse(live, Fault("internal", str(error), {}, error))
            return
        if len(commit.record) > _LARGEST_TURN:
            self._abandon_reserved(started)
            self._return_results(live, arrivals)
            self._refuse(live, _too_large(len(commit.record)))
            return
        if live.execution is not None:
            live.execution.history_size += len(commit.record)
        if not started and not live.running_here and not live.pending:
            commit = msgspec.structs.replace(commit, release=True)
        live.in_flight = arrivals
        submit = functools.partial(self._submit, live, commit, started, arrivals, result.spans)
        if self._checker is None or not commit.record or live.execution is None:
            submit()
            return

        def refuse(fault: Fault | None) -> None:
            live.in_flight = []
            self._abandon_reserved(started)
            self._return_results(live, arrivals)
            if fault is None:
                self._busy -= 1  # taken out of memory meanwhile
            else:
                self._refuse(live, fault)

        check = self._checker.check(live.execution, commit.record)
        checked = self._loop.create_task(self._check(live, check, submit, refuse))
        self._loaders.add(checked)
        checked.add_done_callback(self._loaders.discard)

    async def _check(
        self,
        live: Live,
        check: Coroutine[Any, Any, Fault | None],
        submit: Callable[[], None],
        refuse: Callable[[Fault | None], None],
    ) -> None:
        try:
            fault = await check
        except UsageError as error:
            fault = Fault("internal", str(error), {}, None)
        except Exception as error:
            _log.error(
                "a turn of %r was not checked: %s",
                live.task.instance_id,
                error,
                extra=log_fields(live.task),
            )
            fault = None
        if self._lives.get(live.run_id) is not live or live.execution is None:
            refuse(None)
        elif fault is not None:
            refuse(fault)
        else:
            submit()

    def _submit(
        self,
        live: Live,
        commit: TurnCommit,
        started: list[ActivityTask],
        arrivals: list[Arrival],
        spans: Sequence[SpanNote],
    ) -> None:
        if self._watched:
            live.submitted_at = self._loop.time()
        self._commits.submit(
            commit, lambda outcome: self._committed(live, commit, started, arrivals, spans, outcome)
        )

    def _committed(
        self,
        live: Live,
        commit: TurnCommit,
        started: list[ActivityTask],
        arrivals: list[Arrival],
        spans: Sequence[SpanNote],
        outcome: CommitOutcome | BaseException,
    ) -> None:
        self._busy -= 1
        live.in_flight = []
        if isinstance(outcome, CommitOutcome):
            self._clock.update(outcome.time)
        if not isinstance(outcome, CommitOutcome) or outcome.result not in (
            CommitResult.APPLIED,
            CommitResult.ALREADY,
        ):
            self._abandon_reserved(started)
            self._return_results(live, arrivals)
            if isinstance(outcome, PayloadTooLargeError):
                self._busy += 1  # until it is parked: run again, it would be refused again
                self._refuse(live, Fault("payload", str(outcome), {}, outcome))
                return
            self._lost(live, outcome)
            self.on_capacity()
            return
        if outcome.deferred:
            late = [task for task in started if task.number in outcome.deferred]
            self._abandon_reserved(late)
            started = [task for task in started if task.number not in outcome.deferred]
        live.turn = commit.turn or live.turn
        self._tell(live, commit, spans)
        if commit.finish is not None:
            if self.activities is not None:
                self.activities.cancel(live.run_id, None)
            self._telemetry.run_evicted("finished")
            self._drop(live)
        else:
            self._after_turn(live, commit, started)
        self.on_capacity()

    def _tell(self, live: Live, commit: TurnCommit, spans: Sequence[SpanNote]) -> None:
        if self._tally is not None:
            self._tally.committed(commit)
        if self._watched:
            started = None if live.execution is None else live.execution.started_event
            stored = self._loop.time() - live.submitted_at
            turn = CommittedTurn(live.task, commit, started, live.spent, stored, spans)
            self._telemetry.turn_committed(turn)

    def _after_turn(self, live: Live, commit: TurnCommit, started: list[ActivityTask]) -> None:
        if self.activities is not None:
            if commit.cancelled_activities:
                numbers = [cancel.number for cancel in commit.cancelled_activities]
                self.activities.cancel(live.run_id, numbers)
            for task in started:
                self.activities.start_reserved(live, task)
        if live.execution is not None and live.execution.tainted:
            live.phase = Phase.IDLE
            live.owned = not commit.release
            self.discard(live)
            return
        live.phase = Phase.IDLE
        # With another token it was released, and claimed again before this answer came.
        if commit.release and live.task.token == commit.token:
            live.owned = False
            # Results that came while the release was on its way have no turn to ride in.
            self._return_results(live, [])
            if self._lives.get(live.run_id) is live:
                self._evict(live, commit)
            return
        if live.pending:
            self._enqueue(live)
        elif not live.running_here:
            self.release_if_idle(live)

    def release_if_idle(self, live: Live) -> None:
        """Hands the lease back once nothing of the run happens in this worker any more."""
        if live.owned and live.phase is Phase.IDLE and not live.running_here and not live.pending:
            live.owned = False
            self._hand_back(live)
            self._trim()

    def idle(self, run_id: str, turn: int) -> Live | None:
        """The run, if it is in memory, at rest, and has seen the turn."""
        live = self._lives.get(run_id)
        if live is None or live.phase is not Phase.IDLE or live.execution is None:
            return None
        return live if live.turn >= turn and not live.execution.tainted else None

    def discard(self, live: Live) -> None:
        """Takes an instance out of memory whose copy there is void; it is read again."""
        if live.owned:
            self._give_back(live)
        else:
            self._drop(live)

    def _evict(self, live: Live, commit: TurnCommit) -> None:
        execution = live.execution
        if execution is not None and execution.tainted:
            self._drop(live)
            return
        jumps = self._services.clock is not None  # long sleeps take no time there
        if (
            not jumps
            and execution is not None
            and execution.waits_only_for_time()
            and commit.timers
        ):
            now = execution.microseconds
            if min(timer.due_at for timer in commit.timers) - now > _LONG_SLEEP:
                self._telemetry.run_evicted("sleeping")
                self._drop(live)
                return
        self._trim()

    def _trim(self) -> None:
        excess = len(self._lives) - self._cache_size
        if excess <= 0:
            return
        idle = [x for x in self._lives.values() if not x.owned and x.phase is Phase.IDLE]
        for live in idle[:excess]:
            self._telemetry.run_evicted("capacity")
            self._drop(live)

    # --- when something is wrong ------------------------------------------------------------------

    def _refuse(self, live: Live, fault: Fault) -> None:
        """A turn that must not be committed: parks, fails or tries again, as configured."""
        self._log_fault(live, fault)
        policy = "park"
        if fault.reason == "mismatch":
            workflow = self._registry.workflow(live.task.workflow, live.task.version)
            policy = workflow.default_options.on_mismatch or self._on_mismatch
        if policy == "retry":
            self._busy -= 1
            self._close(live)
            live.owned = False
            self._loop.call_later(_RETRY_PAUSE, self._hand_back, live)
            return
        commit_id = self._services.new_id()
        if policy == "fail" and fault.error is not None:
            failure = Failure.of(fault.error)
            commit = failure_commit(
                live, fault, commit_id=commit_id, failure=failure, seen=live.last_seq
            )
        else:
            commit = park_commit(
                live, fault, commit_id=commit_id, build=self._build, at=self._clock.now()
            )
        self._close(live)
        self._commits.submit(commit, lambda outcome: self._parked(live, commit, outcome))

    def _parked(
        self, live: Live, commit: TurnCommit, outcome: CommitOutcome | BaseException
    ) -> None:
        self._busy -= 1
        if isinstance(outcome, CommitOutcome) and outcome.result is CommitResult.APPLIED:
            if commit.park is not None:
                self._telemetry.run_parked(live.task, commit.park.reason)
                if self._tally is not None:
                    self._tally.parked()
            else:
                self._tell(live, commit, ())
        if isinstance(outcome, BaseException):
            _log.warning(
                "%r could not be parked: %s",
                live.task.instance_id,
                outcome,
                extra=log_fields(live.task),
            )
            self.on_forgotten()
        self.on_capacity()

    def _log_fault(self, live: Live, fault: Fault) -> None:
        _log.error(
            "workflow %r (%s) can't go on [%s]: %s",
            live.task.workflow,
            live.task.instance_id,
            fault.reason,
            fault.message,
            exc_info=fault.error if fault.reason == "internal" else None,
            extra={**log_fields(live.task), "turn": live.turn + 1, "reason": fault.reason},
        )

    def _lost(self, live: Live, outcome: CommitOutcome | BaseException) -> None:
        refused = isinstance(outcome, CommitOutcome)
        reason = outcome.result.value if isinstance(outcome, CommitOutcome) else "unavailable"
        self._telemetry.turn_refused(live.task, reason)
        fields = {**log_fields(live.task), "turn": live.turn + 1}
        if refused:
            self._telemetry.run_evicted("lost")
        if isinstance(outcome, asyncio.CancelledError):
            pass  # the worker ends
        elif isinstance(outcome, BaseException):
            _log.warning(
                "a turn of %r was not committed: %s", live.task.instance_id, outcome, extra=fields
            )
            if isinstance(outcome, (PayloadError, InternalError)):
                _log.error("the store refused the turn itself; it will be run again", extra=fields)
        else:
            _log.debug(
                "a turn of %r was refused: %s", live.task.instance_id, outcome.result, extra=fields
            )
        self._give_back(live)

    def _give_back(self, live: Live) -> None:
        self._return_results(live, [])
        self._close(live)
        self._hand_back(live)

    def _hand_back(self, live: Live) -> None:
        self._releases.submit(Lease(live.run_id, live.task.token), self._handed_back)

    def _handed_back(self, outcome: BaseException | None) -> None:
        if outcome is not None:
            self.on_forgotten()

    def _return_results(self, live: Live, arrivals: Sequence[Arrival]) -> None:
        """Results that were to ride in a turn go to the inbox instead; none is dropped."""
        results = [a for a in (*arrivals, *live.pending) if not a.seq]
        live.pending = collections.deque(a for a in live.pending if a.seq)
        if results and self.activities is not None:
            self.activities.settle_lost(live.run_id, results)

    def _abandon_reserved(self, started: list[ActivityTask]) -> None:
        if started and self.activities is not None:
            self.activities.unreserve([task.token for task in started])

    def _drop(self, live: Live) -> None:
        """Takes an instance out of memory."""
        self._return_results(live, [])
        self._close(live)

    def _close(self, live: Live) -> None:
        if self._lives.get(live.run_id) is live:
            del self._lives[live.run_id]
        live.owned = False
        for task in live.local.values():
            task.cancel()
        live.local.clear()
        execution, live.execution = live.execution, None
        if execution is not None:
            stubborn = execution.close()
            if not stubborn:
                execution.dissolve()
            else:
                self._stubborn.append(execution)
                _log.warning(
                    "workflow %r (%s) swallowed its eviction; let perdure.Evicted and "
                    "GeneratorExit pass: %s",
                    live.task.workflow,
                    live.task.instance_id,
                    "; ".join(stubborn),
                    extra=log_fields(live.task),
                )

    async def _release(self, leases: Sequence[Lease]) -> Sequence[None]:
        await self._backend.release(leases)
        return [None] * len(leases)

    # --- ending -----------------------------------------------------------------------------------

    async def drain(self) -> None:
        """Waits until no turn is on its way, and hands back what is owned."""
        self.stopping = True
        while self._busy:  # noqa: ASYNC110  (turns are callbacks; this is the end of a worker)
            await asyncio.sleep(0.005)
        await self._releases.idle()
        self.drop_all()

    def drop_all(self) -> None:
        """Takes everything out of memory: the session has ended, or is about to."""
        for live in list(self._lives.values()):
            live.pending.clear()
            self._close(live)


def log_fields(task: TurnTask) -> dict[str, object]:
    """What log records say of an instance."""
    return {
        "instance_id": task.instance_id,
        "run_id": task.run_id,
        "workflow": task.workflow,
        "queue": task.queue,
    }


def _too_large(size: int) -> Fault:
    return Fault(
        "payload",
        f"one turn would write {size:,} bytes, over the limit of {_LARGEST_TURN:,}: schedule fewer "
        "activities at once, or pass references in place of large values",
    )


def _own_task(live: Live, new: NewActivity, token: str) -> ActivityTask:
    return ActivityTask(
        instance_id=live.task.instance_id,
        run_id=live.run_id,
        number=new.number,
        name=new.name,
        queue=new.queue,
        input=new.input,
        token=token,
        attempt=1,
        scheduled_at=new.scheduled_at,
        started_at=new.scheduled_at,
        retry=new.retry,
        heartbeat=new.heartbeat,
        headers=new.headers,
        deadline=None if new.start_to_close is None else new.scheduled_at + new.start_to_close,
    )
