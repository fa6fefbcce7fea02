"""The execution of one run: the machine that histories and live turns drive alike.

Laws:

1. One event is applied, then the loop runs until nothing is ready, then the next; live, cached
   and replayed alike.
2. Commands are numbered in the order in which the code issues them. At a replay each turn's
   commands are held against the recorded ones (see :mod:`._compare`).
3. Arguments are encoded at the call, results are decoded for this run alone: nothing mutable is
   shared with anybody.
4. A timer that is started and cancelled within one turn leaves no record, but keeps its number.
5. After a fault nothing more is run: what was recorded stays, the instance is put aside.

PYTEST_DONT_REWRITE
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import functools
import hashlib
import logging
import sys
from collections.abc import Awaitable, Callable, Coroutine, Generator, Sequence
from typing import Any, Final, NamedTuple, cast

import msgspec
from perdure import (
    ContinueAsNew,
    DataConverter,
    Evicted,
    ExecutionError,
    Failure,
    Inbound,
    Middleware,
    NonDeterminismError,
    NonDeterministicCall,
    PayloadError,
    Workflow,
)
from perdure.extension import class_to_deliver, inside, open_span, revive
from perdure_backends import history as h

from ._calls import Scheduled, StartedChild, WorkflowCalls
from ._compare import compare
from ._faults import Fault
from ._handlers import Handlers, Queries, Updates
from ._inbox import SignalInbox
from ._loop import WorkflowLoop
from ._record import TurnRecord
from ._sources import Place, raising_place, source_place, waiting_lines
from ._spans import SpanNote, Spans
from .machines import Completion, Machine, State, TimerMachine

_log: Final = logging.getLogger("perdure.runtime")
_ENDS: Final = (h.WorkflowCompleted, h.WorkflowFailed, h.WorkflowContinuedAsNew)


class TurnResult(NamedTuple):
    """What a live turn did.

    Attributes:
        events: what the history gets, received and issued, in order.
        activities: the calls behind the ``ActivityScheduled`` commands, by number.
        children: the calls behind the ``ChildScheduled`` commands, by number.
        end: the last command of the run, when it has ended.
        fault: why the turn must not be committed.
        local: local activities that have not ended: the turn goes on when they have.
        published: the published state, where this turn set it.
        updates: whether updates were received or answered.
        rejected: updates that were refused, with the reason; they are in no history.
        abandoned: ids of updates that were accepted and will never be answered.
        lines: for each command the place in the source that issued it.
        spans: those that have ended in it, where the run is traced.
    """

    events: list[h.AnyEvent]
    activities: dict[int, Scheduled]
    children: dict[int, StartedChild]
    end: h.WorkflowCompleted | h.WorkflowFailed | h.WorkflowContinuedAsNew | None
    fault: Fault | None
    local: dict[int, Scheduled]
    published: bytes | None
    updates: bool
    rejected: tuple[tuple[str, Failure], ...]
    abandoned: tuple[str, ...]
    lines: list[str]
    spans: list[SpanNote]


class Execution:
    """One run, in memory. Not thread-safe; never to be used after a fault.

    Args:
        workflow: what to run.
        instance_id: id of the instance.
        run_id: id of the run.
        started_at: microseconds since the epoch.
        converter: for arguments, results and messages.
        strict: changed arguments at a replay are a mismatch and not a warning.
        middleware: around the workflow, its calls and its handlers.
        history_limit: events from which on the run is put aside; none by default.
        guard: what judges calls of the code while it runs; told when it runs, opaque else.
        spans: note spans, and send the trace along with what the run calls.

    Attributes:
        tainted: a query or validator has changed what it must not: the copy in memory is void.
        warnings: arguments that were others at a replay.
        observer: told of each event before it is delivered, and of each command as it is issued.
    """

    def __init__(
        self,
        workflow: Workflow[Any, Any],
        *,
        instance_id: str,
        run_id: str,
        started_at: int,
        converter: DataConverter,
        strict: bool = False,
        middleware: Sequence[Middleware] = (),
        history_limit: int | None = None,
        guard: Any = None,
        spans: Spans | None = None,
    ) -> None:
        self.spans = spans
        self.workflow = workflow
        self.instance_id = instance_id
        self.run_id = run_id
        self.turn = 0
        self.history_length = 0
        self.history_size = 0
        self.replaying = False
        self.current_fault: Fault | None = None
        self.tainted = False
        self.warnings: list[str] = []
        self.observer: Callable[[h.AnyEvent], None] | None = None
        self.guard = guard
        self.started_at = started_at
        self.middleware = tuple(middleware)
        self.timer_name = ""
        self._history_limit = history_limit
        self._converter = converter
        self._strict = strict
        self._started: h.WorkflowStarted | None = None
        self._signature = workflow.definition.signature.converted(converter)
        # The methods that it refuses are set behind the class, which mypy can't see.
        self.loop = self._loop = WorkflowLoop(0, self._arm, self._disarm)  # type: ignore[abstract]
        self.calls = WorkflowCalls(self, converter)
        self._loop.workflow_context = self.calls
        self._loop.guard = guard
        self._main: asyncio.Task[Any] | None = None
        self._cancel_requested = False
        self._next_number = 0
        self._machines: dict[int, Machine] = {}
        self._armed: dict[int, TimerMachine] = {}  # by the id of the handle
        self.handlers = Handlers(self)
        self.signals = SignalInbox(self, converter)
        self.queries = Queries(self, converter)
        self.updates = Updates(self, converter)
        self._late: list[h.SignalReceived | h.UpdateReceived | h.CancelRequested] = []
        self._completion = Completion(self, converter, self._signature.result)
        self._handler_error: BaseException | None = None
        self._abandoned: tuple[str, ...] = ()
        self.predicates: list[tuple[Callable[[], bool], asyncio.Future[None]]] = []
        # Of the current turn:
        self._record = TurnRecord()
        self._rejected: list[tuple[str, Failure]] = []

    # --- driving --------------------------------------------------------------------------------

    @property
    def ended(self) -> bool:
        """Whether the workflow's function has ended."""
        return self._completion.end is not None

    def replay(self, turn: h.Turn, size: int = 0) -> Fault | None:
        """Applies a recorded turn; a fault says why that is not possible.

        Args:
            size: bytes of its record.
        """
        self._begin(turn.number, turn.time, recorded=turn)
        try:
            self._apply_all([e for e in turn.events if not isinstance(e, h.Command)])
            self._check()
        except NonDeterminismError as error:
            self.current_fault = Fault.mismatch(error)
        self.history_length = self._record.before + len(turn.events)
        self.history_size += size
        self._record.let_go()
        self.replaying = False
        return self.current_fault

    def run_turn(self, time: int, received: Sequence[h.Received]) -> TurnResult:
        """Runs a live turn.

        Args:
            time: the turn's time, microseconds since the epoch; never below the last one's.
            received: events in the order in which the store accepted them.
        """
        self._begin(self.turn + 1, max(time, self._loop.microseconds))
        limit = self._history_limit
        if limit is not None and self.history_length >= limit:
            self.current_fault = _too_long(self.history_length, limit)
        else:
            self._apply_live(received)
        return self._result()

    def extend_turn(self, received: Sequence[h.Received]) -> TurnResult:
        """Goes on with the live turn, with outcomes of its local activities."""
        self._apply_live(received)
        return self._result()

    def _apply_live(self, received: Sequence[h.Received]) -> None:
        try:
            self._apply_all(received)
        except NonDeterminismError as error:
            self.current_fault = Fault.mismatch(error)
        if self.current_fault is None and not self.ended:
            self.current_fault = self._stuck()

    def _result(self) -> TurnResult:
        events = self._record.kept()
        self.history_length = self._record.before + len(events)
        calls = self.calls
        if not events:
            self.turn -= 1  # updates that were all rejected make no turn
        return TurnResult(
            events,
            calls.activities,
            calls.children,
            self._completion.end,
            self.current_fault,
            {} if self.ended else dict(calls.local),
            calls.published,
            self.updates.touched,
            tuple(self._rejected),
            self._abandoned if self.ended else (),
            self._record.lines(events),
            self.spans.ended if self.spans is not None else [],
        )

    def query(
        self, name: str, argument: bytes | None, headers: dict[str, bytes]
    ) -> bytes | Failure:
        """The encoded answer to a query, or why there is none. Leaves nothing behind."""
        with self._loop.entered():
            return self.queries.answer(name, argument, headers)

    @property
    def length_so_far(self) -> int:
        """Events in the history, with those of the current turn."""
        return self._record.before + len(self._record.events)

    @property
    def microseconds(self) -> int:
        """The turn's time."""
        return self._loop.microseconds

    def waits_only_for_time(self) -> bool:
        """Whether nothing but timers (and messages) can go on."""
        return len(self._armed) == len(self._machines)

    def pending_numbers(self) -> list[int]:
        """The commands that have no outcome so far."""
        return sorted(self._machines)

    def awaits_confirmation(self, number: int) -> bool:
        """Whether activity ``number`` was cancelled and its end is still waited for."""
        machine = self._machines.get(number)
        return machine is not None and machine.state is State.CANCELLING

    def unread_messages(self) -> list[h.SignalReceived | h.UpdateReceived | h.CancelRequested]:
        """Messages that were received and not read, in order."""
        return [*self.signals.unread(), *self._late]

    @property
    def converter(self) -> DataConverter:
        """What converts its payloads."""
        return self._converter

    def location(self, command: h.Command) -> str:
        """The source line of a command of the current turn; empty when none is known."""
        return self._record.location(command)

    def stacks(self) -> list[str]:
        """Where each task stands: its name and source line."""
        return waiting_lines(self._loop.tasks())

    def close(self) -> list[str]:
        """Takes the run out of memory: closes its coroutines and generators.

        Returns:
            What swallowed the closing, by name; kept referenced by the caller's choice.
        """
        stubborn = self._loop.evict()
        self._machines.clear()
        self._armed.clear()
        return stubborn

    def dissolve(self) -> None:
        """Undoes what holds a closed run together, so that it is freed at once.

        Its parts know it and it knows them: the garbage collector would have to find them. Nothing
        may be asked of it from now on.
        """
        self._loop.dissolve()
        vars(self).clear()

    def _begin(self, number: int, time: int, *, recorded: h.Turn | None = None) -> None:
        self.turn = number
        self.replaying = replaying = recorded is not None
        self._loop.microseconds = time
        self._record = TurnRecord(self.history_length, recorded)
        self._rejected = []
        self.updates.touched = False
        self.calls.begin_turn()
        if self.spans is not None:
            self.spans.begin_turn(time, replaying=replaying)

    def _apply_all(self, received: Sequence[Any]) -> None:
        with self._loop.entered():
            for event in received:
                self._record.events.append(event)
                if self.observer is not None:
                    self.observer(event)
                if self.spans is not None and not self.ended:
                    self.spans.received(event)
                if self.ended:
                    self._apply_late(event)
                    continue
                try:
                    self._apply(event)
                except Evicted:
                    pass  # a fault says why
                if self.current_fault is None:
                    self._run_until_idle()
                if self.current_fault is not None:
                    return

    def _apply_late(self, event: h.Received) -> None:
        """Recorded without effect; messages move on when the run continues as new."""
        continued = isinstance(self._completion.end, h.WorkflowContinuedAsNew)
        if isinstance(event, h.UpdateReceived) and not continued:
            self._reject(event, Failure("InstanceFinishedError", "the instance has finished"))
        elif isinstance(event, (h.SignalReceived, h.UpdateReceived, h.CancelRequested)):
            self._late.append(event)

    def _reject(self, event: h.UpdateReceived, failure: Failure) -> None:
        self._record.events.pop()
        if self.spans is not None:
            self.spans.refused(event)
        self._rejected.append((event.update_id, failure))

    def _apply(self, event: h.Received) -> None:
        if isinstance(event, h.WorkflowStarted):
            self._start(event)
        elif isinstance(event, h.SignalReceived):
            self.signals.accept(event)
        elif isinstance(event, h.UpdateReceived):
            self._update(event)
        elif isinstance(event, h.CancelRequested):
            # A repeat must not interrupt the clean-up that the first one began.
            repeated, self._cancel_requested = self._cancel_requested, True
            if self._main is not None and not repeated:
                reason = event.reason or "the workflow was asked to cancel"
                self._main.cancel(reason)
                if self._main.done():  # its handlers are what it waits for
                    self.handlers.cancel(reason)
        else:
            if isinstance(event, (h.ActivityFailed, h.ChildFailed)) and event.delivered is None:
                event = self._deliverable(event)
            self._resolve(event)

    def _update(self, event: h.UpdateReceived) -> None:
        failure = self.updates.accept(event, replaying=self.replaying)
        if failure is None:
            return
        if self.replaying:
            raise NonDeterminismError(
                "the code refuses an update that was accepted",
                workflow=self.workflow.name,
                expected=f"update {event.name!r} accepted",
                actual=failure.message,
                turn=self.turn,
            )
        self._reject(event, failure)

    def _deliverable(
        self, event: h.ActivityFailed | h.ChildFailed
    ) -> h.ActivityFailed | h.ChildFailed:
        """Decides and records as which class the code gets a failure."""
        name = "" if self.replaying or event.kind != "failed" else class_to_deliver(event.failure)
        if name:
            try:
                revive(event.failure, name, self._converter)
            except PayloadError:
                name = ""
        event = msgspec.structs.replace(event, delivered=name)
        if not self.replaying:
            self._record.events[-1] = event
        return event

    def _resolve(self, event: Any) -> None:
        machine = self._machines.get(event.number)
        if machine is None:
            if event.number > self._next_number:
                self._diverged(f"{h.tag_of(event)} for command {event.number}, never issued")
            return  # its future was cancelled meanwhile
        if not machine.receive(event):
            self._diverged(
                f"{h.tag_of(event)} for command {event.number}, which is {machine.describe()}"
            )

    def _run_until_idle(self) -> None:
        loop = self._loop
        while True:
            loop.run_ready()
            if loop.faults:
                error = loop.faults[0]
                self.set_fault(Fault("internal", f"a step of a task failed: {error!r}", {}, error))
            if self.current_fault is not None:
                return
            main = self._main
            if main is not None and main.done() and not self._waits_for_handlers(main):
                self._end(main)
                return
            if not self.predicates or not self._wake_predicates():
                return

    def _waits_for_handlers(self, main: asyncio.Task[Any]) -> bool:
        """Whether the end of the run waits for handlers of messages."""
        if not self.handlers.busy or self._handler_error is not None or main.cancelled():
            return False
        error = main.exception()
        if error is not None and not isinstance(error, ContinueAsNew):
            return False
        return self.workflow.default_options.unfinished_handlers == "wait"

    def _end(self, main: asyncio.Task[Any]) -> None:
        number = self._take_number()
        self._completion.take(
            main,
            number,
            instead=self._handler_error,
            cancel_requested=self._cancel_requested,
            replaying=self.replaying,
        )
        if not self.handlers.busy:
            return
        self._abandoned = tuple(self.updates.open)
        running = self.handlers.running
        quiet = self.workflow.default_options.unfinished_handlers == "abandon"
        if not quiet and not self.replaying:
            _log.warning(
                "workflow %r (%s) ended while handlers were running: %s",
                self.workflow.name,
                self.instance_id,
                ", ".join(running),
            )

    def _end_error(self) -> BaseException | None:
        main = self._main
        if self._handler_error is not None or main is None or main.cancelled():
            return self._handler_error
        return main.exception()

    def fail_by(self, value: object, error: BaseException | None) -> None:
        """A handler of signals has ended; what it raised, the workflow raises."""
        if error is None or isinstance(error, asyncio.CancelledError):
            return
        if self._handler_error is None and self._main is not None:
            self._handler_error = error
            self._main.cancel(f"a handler raised {type(error).__name__}")

    def _wake_predicates(self) -> bool:
        woken = False
        remaining: list[tuple[Callable[[], bool], asyncio.Future[None]]] = []
        for predicate, future in self.predicates:
            if future.done():
                continue
            try:
                met = predicate()
            except BaseException as error:
                future.set_exception(error)
                woken = True
                continue
            if met:
                future.set_result(None)
                woken = True
            else:
                remaining.append((predicate, future))
        self.predicates = remaining
        return woken

    def _start(self, event: h.WorkflowStarted) -> None:
        self._started = event
        self._loop._seed = event.seed  # pyright: ignore[reportPrivateUsage]
        try:
            args, kwargs = self._signature.decode(event.input)
        except PayloadError as error:
            self.fault(error)
            return
        context = contextvars.Context()
        function = functools.partial(self.workflow.definition.function, *args, **kwargs)
        coroutine = self._through(event, function) if self.middleware else function()
        self._main = context.run(self._loop.create_task, coroutine, name="main")

    def _through(
        self, event: h.WorkflowStarted, function: Callable[[], Coroutine[Any, Any, Any]]
    ) -> Coroutine[Any, Any, Any]:
        """The workflow's function inside the middleware."""
        call = Inbound("workflow", event.workflow, event.headers, self.instance_id)
        layers = [one.workflow for one in self.middleware]
        innermost: Callable[[], Awaitable[Any]] = function

        async def run() -> Any:
            return await inside(layers, call, innermost)()

        return run()

    # --- comparing ------------------------------------------------------------------------------

    def _check(self) -> None:
        if self.current_fault is not None and self.current_fault.reason != "mismatch":
            return
        record = self._record
        actual = [event for event in record.kept() if isinstance(event, h.Command)]
        warnings = compare(
            record.expected,
            actual,
            [record.location(command) for command in actual],
            record.expected_lines,
            workflow=self.workflow.name,
            turn=self.turn,
            strict=self._strict,
            unwrap=self._converter.unwrap,
        )
        self.warnings += warnings
        for warning in warnings:
            _log.warning("workflow %r (%s): %s", self.workflow.name, self.instance_id, warning)

    def _diverged(self, reason: str) -> None:
        """A received event does not fit: the commands so far say where the code went astray."""
        if self.replaying:
            self._check()
        raise NonDeterminismError(
            reason, workflow=self.workflow.name, expected=reason, turn=self.turn
        )

    def _stuck(self) -> Fault | None:
        """Whether anything can still happen to a run that rests."""
        if self._machines or self.signals.listening or self._main is None:
            return None
        if self.updates.listening:
            return None
        lines = self.stacks()
        return Fault(
            "stuck",
            "the workflow waits for something that can't happen: no activity, timer, sub-workflow "
            "or signal is pending. It waits at " + "; ".join(lines),
            {"location": lines[0] if lines else "", "tasks": "\n".join(lines)},
        )

    # --- for the machines -----------------------------------------------------------------------

    def issue(self, command: h.Command) -> None:
        """Records a command of the current turn."""
        place: Place | None = None
        if not isinstance(command, _ENDS):
            place = source_place(sys._getframe(1))  # pyright: ignore[reportPrivateUsage]
        elif self.replaying:  # its code has left no frame
            place = raising_place(self._end_error())
        self._record.issue(command, place)
        if self.observer is not None:
            self.observer(cast("h.Issued", command))
        if self.spans is not None:
            self.spans.issued(cast("h.Issued", command), open_span.get())

    def add(self, machine: Machine) -> None:
        """A command that waits for an outcome."""
        self._machines[machine.number] = machine

    def recorded(self, number: int) -> h.Command | None:
        """What history has under this number, in the turn that is being replayed."""
        return self._record.recorded(number)

    def identity(self) -> tuple[str, int]:
        """Name and version as which the run was started."""
        definition = self.workflow.definition
        started = self._started
        return (
            (started.workflow, started.version)
            if started
            else (
                definition.name,
                definition.version,
            )
        )

    def error_of(
        self, failure: Failure, delivered: str | None, wrapped: ExecutionError
    ) -> Exception | None:
        """What the code gets for a failure; ``None`` when the instance parks for it."""
        if not delivered:
            return wrapped
        try:
            error = revive(failure, delivered, self._converter)
        except PayloadError as problem:
            self.fault(problem)
            return None
        error.__cause__ = wrapped
        return error

    @contextlib.contextmanager
    def unguarded(self) -> Generator[None]:
        """Code that may do what is not deterministic: its outcome is recorded."""
        before, self.guard = self.guard, None
        try:
            yield
        finally:
            self.guard = before

    def forget(self, number: int) -> None:
        """The command waits for nothing any more."""
        machine = self._machines.pop(number, None)
        self.calls.local.pop(number, None)
        if isinstance(machine, TimerMachine):
            del self._armed[id(machine.handle)]

    def fault(self, error: BaseException) -> None:
        """Parks the instance for an error that its code can't be told."""
        reason = "internal"
        if isinstance(error, PayloadError):
            reason = "payload"
        elif isinstance(error, NonDeterministicCall):
            reason = "nondeterministic"
        self.set_fault(Fault(reason, str(error), {}, error))

    def set_fault(self, fault: Fault) -> None:
        """Puts the run aside, unless there is a reason already."""
        if self.current_fault is None:
            self.current_fault = fault

    def _take_number(self) -> int:
        self._next_number += 1
        return self._next_number

    def peek_number(self) -> int:
        """The number that the next command will have.

        Raises:
            Evicted: the run is being taken out of memory.
        """
        if self._loop.closing or self.current_fault is not None:
            raise Evicted
        return self._next_number + 1

    def command_number(self) -> int:
        """The next command's number. Raises as :meth:`peek_number`."""
        self.peek_number()
        return self._take_number()

    def digest(self, *parts: object, size: int = 16) -> bytes:
        """Bytes that follow from the run's seed and ``parts``."""
        seed = self._started.seed if self._started is not None else 0
        text = "\x00".join(map(str, (seed, *parts)))
        return hashlib.blake2b(text.encode(), digest_size=size).digest()

    def next_run_id(self) -> str:
        """The id of the run as which this one continues."""
        return self.digest("next run", self.run_id).hex()

    # --- timers of the loop ---------------------------------------------------------------------

    def _arm(self, handle: asyncio.TimerHandle, delay: int) -> None:
        number = self.command_number()
        machine = TimerMachine(self, number, self._loop, handle)
        self._machines[number] = self._armed[id(handle)] = machine
        name, self.timer_name = self.timer_name, ""
        self.issue(h.TimerStarted(number, delay, name))

    def _disarm(self, handle: asyncio.TimerHandle) -> None:
        if self._loop.closing:
            return
        machine = self._armed.get(id(handle))
        if machine is not None:
            machine.cancel()

    @property
    def queue(self) -> str:
        """The queue on which the run lives."""
        return self._started.queue if self._started is not None else "default"

    @property
    def run_timeout(self) -> int | None:
        """The run's time-out in microseconds."""
        return self._started.run_timeout if self._started is not None else None

    @property
    def started_event(self) -> h.WorkflowStarted | None:
        """The first event of the run."""
        return self._started


def _too_long(length: int, limit: int) -> Fault:
    return Fault(
        "history_limit",
        f"the history has {length:,} events, over the worker's limit of {limit:,}: each replay "
        "takes longer. Let the workflow call continue_as_new() when info() suggests it; this "
        "instance goes on with a worker whose history_limit is greater",
        {"events": str(length), "limit": str(limit)},
    )
