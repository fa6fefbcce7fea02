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
from typing import TYPE_CHECKING, Any, Final

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
    NewActivity,
    TurnCommit,
    TurnTask,
)

from .._batcher import Batcher
from .._core import Fault, SpanNote, TurnResult
from .._registry import Registry
from .._services import Services
from .._telemetry import NOBODY, CommittedTurn, Telemetry
from ._clock import StoreClock
from ._commits import failure_commit, park_commit, turn_commit
from ._instances import Instances
from ._live import Arrival, Live, Phase, log_fields
from ._loading import Loader
from ._ports import Activities, Checker
from ._watchdog import Watchdog, guarded

if TYPE_CHECKING:
    from .._tally import Tally

_log: Final = logging.getLogger("perdure.runtime")

_AT_A_TIME: Final = 32  # turns until what they want to commit is sent
_LARGEST_TURN: Final = 16 * 1024 * 1024
_RETRY_PAUSE: Final = 5.0


class Turns:
    """Runs the turns of a worker's instances."""

    def __init__(
        self,
        backend: Backend,
        registry: Registry,
        clock: StoreClock,
        services: Services,
        instances: Instances,
        loader: Loader,
        *,
        build: str,
        on_mismatch: str,
        watchdog: Watchdog | None,
        checker: Checker | None = None,
        telemetry: Telemetry = NOBODY,
        tally: Tally | None = None,
    ) -> None:
        self.activities: Activities | None = None
        self.on_capacity: Callable[[], None] = lambda: None
        self._registry = registry
        self._clock = clock
        self._services = services
        self._instances = instances
        self._loader = loader
        self._build = build
        self._on_mismatch = on_mismatch
        self._watchdog = watchdog
        self._checker = checker
        self._telemetry = telemetry
        self._watched = telemetry is not NOBODY  # else no clock is read for it
        self._tally = tally
        self._busy = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self._ready: collections.deque[Live] = collections.deque()
        self._about_to_run = False
        self._commits: Batcher[TurnCommit, CommitOutcome] = Batcher(
            backend.commit, weigh=lambda commit: len(commit.record)
        )
        self._loop = asyncio.get_running_loop()
        self.stopping = False

    @property
    def busy(self) -> int:
        """Instances whose turn is being loaded, run or committed."""
        return self._busy

    # --- from claims and activities ---------------------------------------------------------------

    def admit(self, task: TurnTask) -> None:
        """Takes a claimed instance."""
        live = self._instances.get(task.run_id)
        self._telemetry.turn_claimed(task, cached=live is not None and live.turn == task.turn)
        if live is not None and live.turn == task.turn and live.execution is not None:
            live.owned = True
            live.add_inbox(task)
            self._instances.put(live)
            self._enqueue(live)
            return
        if live is not None and live.phase in (Phase.LOADING, Phase.COMMITTING, Phase.QUEUED):
            # Brought up to date while it is being worked on, under the lease that it has.
            live.add_inbox(task)
            return
        if live is not None:
            self._instances.drop(live)
        live = Live(task)
        live.add_inbox(task)
        self._instances.put(live)
        self._busy += 1
        self._go_on(self._load(live))

    def _go_on(self, work: Coroutine[Any, Any, None]) -> None:
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def deliver(self, live: Live, arrival: Arrival) -> bool:
        """A result of this worker for a run that it owns; ``False``: it must go the long way."""
        if not live.owned or not self._instances.has(live) or live.task.alone:
            return False
        live.pending.append(arrival)
        self._enqueue(live)
        return True

    # --- loading ----------------------------------------------------------------------------------

    async def _load(self, live: Live) -> None:
        try:
            live.execution = execution = self._loader.make_execution(live.task)
            began = self._loop.time()
            fault = await self._loader.replay(execution, live.run_id, live.task.turn)
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
            self._instances.give_back(live)
            return
        self._busy -= 1
        if not self._instances.has(live):
            return
        if fault is not None:
            self._busy += 1
            live.phase = Phase.COMMITTING
            self._refuse(live, fault)
            return
        live.phase = Phase.IDLE
        self._enqueue(live)

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
        if not self._instances.has(live) or execution is None:
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
            self._refuse(live, Fault("newer_history", str(error), {}, error), arrivals)
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
            return guarded(self._watchdog, live.task.instance_id, step)
        began = self._loop.time()
        outcome = guarded(self._watchdog, live.task.instance_id, step)
        live.spent += self._loop.time() - began
        return outcome

    def _ran(self, live: Live, outcome: TurnResult | Fault, arrivals: list[Arrival]) -> None:
        """A turn has run as far as it can: it is committed, unless local activities go on."""
        fault = outcome if isinstance(outcome, Fault) else outcome.fault
        if fault is not None or not isinstance(outcome, TurnResult):
            self._refuse(live, fault or Fault("internal", "a turn without a result"), arrivals)
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
            self._instances.return_results(live, arrivals)
            self._instances.give_back(live)
            return
        del live.local[number]
        self._ran(live, self._step(live, lambda: execution.extend_turn([event])), arrivals)

    def _commit_turn(self, live: Live, result: TurnResult, arrivals: list[Arrival]) -> None:
        started: list[ActivityTask] = []

        def reserve(new: NewActivity) -> str | None:
            if (
                live.task.alone
                or self.activities is None
                or self.stopping
                or not self._instances.size
            ):
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
            self._refuse(live, Fault("internal", str(error), {}, error), arrivals, started)
            return
        if len(commit.record) > _LARGEST_TURN:
            self._refuse(live, _too_large(len(commit.record)), arrivals, started)
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
            if fault is not None:
                self._refuse(live, fault, arrivals, started)
                return
            self._busy -= 1  # taken out of memory meanwhile
            self._undo(live, arrivals, started)

        check = self._checker.check(live.execution, commit.record)
        self._go_on(self._check(live, check, submit, refuse))

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
        if not self._instances.has(live) or live.execution is None:
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
            if isinstance(outcome, PayloadTooLargeError):
                self._busy += 1  # until it is parked: run again, it would be refused again
                self._refuse(live, Fault("payload", str(outcome), {}, outcome), arrivals, started)
                return
            self._undo(live, arrivals, started)
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
            self._instances.drop(live)
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
            self._instances.discard(live)
            return
        live.phase = Phase.IDLE
        # With another token it was released, and claimed again before this answer came.
        if commit.release and live.task.token == commit.token:
            live.owned = False
            # Results that came while the release was on its way have no turn to ride in.
            self._instances.return_results(live, [])
            self._instances.rest(live, commit)
            return
        if live.pending:
            self._enqueue(live)
        elif not live.running_here:
            self._instances.release_if_idle(live)

    # --- when something is wrong ------------------------------------------------------------------

    def _undo(
        self, live: Live, arrivals: Sequence[Arrival], started: Sequence[ActivityTask]
    ) -> None:
        """Gives back what a turn was given and had reserved that is not committed."""
        self._abandon_reserved(started)
        self._instances.return_results(live, arrivals)

    def _refuse(
        self,
        live: Live,
        fault: Fault,
        arrivals: Sequence[Arrival] = (),
        started: Sequence[ActivityTask] = (),
    ) -> None:
        """A turn that must not be committed: parks, fails or tries again, as configured."""
        self._undo(live, arrivals, started)
        self._log_fault(live, fault)
        policy = "park"
        if fault.reason == "mismatch":
            workflow = self._registry.workflow(live.task.workflow, live.task.version)
            policy = workflow.default_options.on_mismatch or self._on_mismatch
        if policy == "retry":
            self._busy -= 1
            self._instances.close(live)
            self._loop.call_later(_RETRY_PAUSE, self._instances.hand_back, live)
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
        self._instances.close(live)
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
            self._instances.on_forgotten()
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
        self._instances.give_back(live)

    def _abandon_reserved(self, started: Sequence[ActivityTask]) -> None:
        if started and self.activities is not None:
            self.activities.unreserve([task.token for task in started])

    # --- ending -----------------------------------------------------------------------------------

    async def drain(self) -> None:
        """Waits until no turn is on its way, and hands back what is owned."""
        self.stopping = True
        while self._busy:  # noqa: ASYNC110  (turns are callbacks; this is the end of a worker)
            await asyncio.sleep(0.005)
        await self._instances.handed_back()
        self._instances.close_all()


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
