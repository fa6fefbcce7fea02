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
import contextvars
import dataclasses
import hashlib
import logging
import random
import sys
import uuid
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any, Final, cast

from perdure import (
    Activity,
    ActivityFuture,
    DataConverter,
    Evicted,
    NonDeterminismError,
    PayloadError,
    Signal,
    SignalFuture,
    TimerFuture,
    Workflow,
    WorkflowFuture,
    WorkflowInfo,
)
from perdure_backends import history as h

from ._compare import compare
from ._faults import Fault
from ._inbox import SignalInbox
from ._loop import WorkflowLoop
from ._sources import source_line, waiting_lines
from .machines import (
    ActivityMachine,
    ChildMachine,
    Completion,
    Machine,
    PatchMarkers,
    SideEffects,
    SignalMachine,
    State,
    TimerMachine,
)

_log: Final = logging.getLogger("perdure.runtime")


@dataclasses.dataclass(frozen=True, slots=True)
class Scheduled:
    """An activity call of the current turn: the recorded command and the options behind it."""

    command: h.ActivityScheduled
    activity: Activity[Any, Any]


@dataclasses.dataclass(frozen=True, slots=True)
class StartedChild:
    """A sub-workflow call of the current turn."""

    command: h.ChildScheduled
    workflow: Workflow[Any, Any]


@dataclasses.dataclass(frozen=True, slots=True)
class TurnResult:
    """What a live turn did.

    Attributes:
        events: what the history gets, received and issued, in order.
        activities: the calls behind the ``ActivityScheduled`` commands, by number.
        children: the calls behind the ``ChildScheduled`` commands, by number.
        end: the last command of the run, when it has ended.
        fault: why the turn must not be committed.
    """

    events: list[h.AnyEvent]
    activities: dict[int, Scheduled]
    children: dict[int, StartedChild]
    end: h.WorkflowCompleted | h.WorkflowFailed | h.WorkflowContinuedAsNew | None
    fault: Fault | None


class Execution:
    """One run, in memory. Not thread-safe; never to be used after a fault.

    Args:
        workflow: what to run.
        instance_id: id of the instance.
        run_id: id of the run.
        started_at: microseconds since the epoch.
        converter: for arguments, results and messages.
        strict: changed arguments at a replay are a mismatch and not a warning.
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
    ) -> None:
        self.workflow = workflow
        self.instance_id = instance_id
        self.run_id = run_id
        self.turn = 0
        self.history_length = 0
        self.replaying = False
        self.current_fault: Fault | None = None
        self._started_at = started_at
        self._converter = converter
        self._strict = strict
        self._started: h.WorkflowStarted | None = None
        self._signature = workflow.definition.signature.converted(converter)
        # The methods that it refuses are set behind the class, which mypy can't see.
        self._loop = WorkflowLoop(0, self._arm, self._disarm)  # type: ignore[abstract]
        self._loop.workflow_context = self
        self._main: asyncio.Task[Any] | None = None
        self._cancel_requested = False
        self._next_number = 0
        self._machines: dict[int, Machine] = {}
        self._armed: dict[int, TimerMachine] = {}  # by the id of the handle
        self._signals = SignalInbox(converter, self._loop, self.fault)
        self._side_effects = SideEffects(self, converter)
        self._patches = PatchMarkers(self)
        self._late: list[h.SignalReceived | h.CancelRequested] = []
        self._completion = Completion(self, self._signature.result, self._next_run_id)
        self.child_ids: dict[int, str] = {}
        self._predicates: list[tuple[Callable[[], bool], asyncio.Future[None]]] = []
        self._randoms: dict[str, random.Random] = {}
        self._uuids = 0
        self._timer_name = ""
        # Of the current turn:
        self._events: list[h.AnyEvent] = []
        self._locations: dict[int, str] = {}
        self._recorded: dict[int, h.Command] = {}
        self._activities: dict[int, Scheduled] = {}
        self._children: dict[int, StartedChild] = {}

    # --- driving --------------------------------------------------------------------------------

    @property
    def ended(self) -> bool:
        """Whether the workflow's function has ended."""
        return self._completion.end is not None

    def replay(self, turn: h.Turn) -> Fault | None:
        """Applies a recorded turn; a fault says why that is not possible."""
        self._begin(turn.number, turn.time, replaying=True)
        expected: list[h.Command] = [e for e in turn.events if isinstance(e, h.Command)]
        self._recorded = {command.number: command for command in expected}
        try:
            self._apply_all([e for e in turn.events if not isinstance(e, h.Command)])
            self._check(expected)
        except NonDeterminismError as error:
            self.current_fault = Fault.mismatch(error)
        self.history_length += len(turn.events)
        self._recorded = {}
        self.replaying = False
        return self.current_fault

    def run_turn(self, time: int, received: Sequence[h.Received]) -> TurnResult:
        """Runs a live turn.

        Args:
            time: the turn's time, microseconds since the epoch; never below the last one's.
            received: events in the order in which the store accepted them.
        """
        self._begin(self.turn + 1, max(time, self._loop.microseconds), replaying=False)
        try:
            self._apply_all(received)
        except NonDeterminismError as error:
            self.current_fault = Fault.mismatch(error)
        if self.current_fault is None and not self.ended:
            self.current_fault = self._stuck()
        events = self._without_brief_timers()
        self.history_length += len(events)
        return TurnResult(
            events, self._activities, self._children, self._completion.end, self.current_fault
        )

    def time(self) -> float:
        """The turn's time in seconds since the epoch."""
        return self._loop.time()

    @property
    def microseconds(self) -> int:
        """The turn's time."""
        return self._loop.microseconds

    def waits_only_for_time(self) -> bool:
        """Whether nothing but timers (and messages) can go on."""
        return len(self._armed) == len(self._machines)

    def awaits_confirmation(self, number: int) -> bool:
        """Whether activity ``number`` was cancelled and its end is still waited for."""
        machine = self._machines.get(number)
        return machine is not None and machine.state is State.CANCELLING

    def unread_messages(self) -> list[h.SignalReceived | h.CancelRequested]:
        """Messages that were received and not read, in order."""
        return [*self._signals.unread(), *self._late]

    def stacks(self) -> list[str]:
        """Where each task stands: its name and source line."""
        return waiting_lines(self._loop.tasks())

    def close(self) -> list[str]:
        """Takes the run out of memory: closes its coroutines and generators.

        Returns:
            What swallowed the closing, by name; kept referenced by the caller's choice.
        """
        self._loop.closing = True
        stubborn: list[str] = []
        with self._loop.entered():
            for task in self._loop.tasks():
                coroutine = cast("Any", task.get_coro())
                task._log_destroy_pending = False  # type: ignore[attr-defined]  # pyright: ignore
                try:
                    coroutine.close()
                except RuntimeError as error:
                    stubborn.append(f"{task.get_name()}: {error}")
                except BaseException:  # whatever user code raises while it is closed
                    pass
            for generator in self._loop.take_generators():
                try:
                    generator.aclose().send(None)
                except (StopIteration, StopAsyncIteration):
                    pass
                except BaseException:
                    pass
        self._machines.clear()
        self._armed.clear()
        return stubborn

    def _begin(self, number: int, time: int, *, replaying: bool) -> None:
        self.turn = number
        self.replaying = replaying
        self._loop.microseconds = time
        self._events = []
        self._locations = {}
        self._activities = {}
        self._children = {}

    def _apply_all(self, received: Sequence[Any]) -> None:
        with self._loop.entered():
            for event in received:
                self._events.append(event)
                if self.ended:
                    # Recorded without effect; messages move on when the run continues as new.
                    if isinstance(event, (h.SignalReceived, h.CancelRequested)):
                        self._late.append(event)
                    continue
                self._apply(event)
                self._run_until_idle()
                if self.current_fault is not None:
                    return

    def _apply(self, event: h.Received) -> None:
        if isinstance(event, h.WorkflowStarted):
            self._start(event)
        elif isinstance(event, h.SignalReceived):
            self._signals.accept(event)
        elif isinstance(event, h.CancelRequested):
            # A repeat must not interrupt the clean-up that the first one began.
            repeated, self._cancel_requested = self._cancel_requested, True
            if self._main is not None and not repeated:
                self._main.cancel(event.reason or "the workflow was asked to cancel")
        else:
            self._resolve(event)

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
                self._set_fault(Fault("internal", f"a step of a task failed: {error!r}", {}, error))
            if self.current_fault is not None:
                return
            main = self._main
            if main is not None and main.done():
                number = self._take_number()
                self._completion.take(
                    main,
                    number,
                    cancel_requested=self._cancel_requested,
                    replaying=self.replaying,
                )
                return
            if not self._predicates or not self._wake_predicates():
                return

    def _wake_predicates(self) -> bool:
        woken = False
        remaining: list[tuple[Callable[[], bool], asyncio.Future[None]]] = []
        for predicate, future in self._predicates:
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
        self._predicates = remaining
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
        coroutine = self.workflow.definition.function(*args, **kwargs)
        self._main = context.run(self._loop.create_task, coroutine, name="main")

    # --- comparing ------------------------------------------------------------------------------

    def _without_brief_timers(self) -> list[h.AnyEvent]:
        started = {e.number for e in self._events if isinstance(e, h.TimerStarted)}
        brief = {
            e.number
            for e in self._events
            if isinstance(e, h.TimerCancelled) and e.number in started
        }
        if not brief:
            return self._events
        return [
            event
            for event in self._events
            if not (isinstance(event, (h.TimerStarted, h.TimerCancelled)) and event.number in brief)
        ]

    def _commands(self) -> list[h.Command]:
        return [e for e in self._without_brief_timers() if isinstance(e, h.Command)]

    def _check(self, expected: list[h.Command]) -> None:
        if self.current_fault is not None and self.current_fault.reason != "mismatch":
            return
        actual = self._commands()
        warnings = compare(
            expected,
            actual,
            [self._locations.get(id(command), "") for command in actual],
            workflow=self.workflow.name,
            turn=self.turn,
            strict=self._strict,
            unwrap=self._converter.unwrap,
        )
        for warning in warnings:
            _log.warning("workflow %r (%s): %s", self.workflow.name, self.instance_id, warning)

    def _diverged(self, reason: str) -> None:
        """A received event does not fit: the commands so far say where the code went astray."""
        if self.replaying:
            self._check(list(self._recorded.values()))
        raise NonDeterminismError(
            reason, workflow=self.workflow.name, expected=reason, turn=self.turn
        )

    def _stuck(self) -> Fault | None:
        """Whether anything can still happen to a run that rests."""
        if self._machines or self._signals.listening or self._main is None:
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
        self._events.append(cast("h.Issued", command))
        if self.replaying:
            self._locations[id(command)] = source_line(sys._getframe(1))  # pyright: ignore[reportPrivateUsage]

    def forget(self, number: int) -> None:
        """The command waits for nothing any more."""
        machine = self._machines.pop(number, None)
        if isinstance(machine, TimerMachine):
            del self._armed[id(machine.handle)]

    def fault(self, error: BaseException) -> None:
        """Parks the instance for an error that its code can't be told."""
        reason = "payload" if isinstance(error, PayloadError) else "internal"
        self._set_fault(Fault(reason, str(error), {}, error))

    def _set_fault(self, fault: Fault) -> None:
        if self.current_fault is None:
            self.current_fault = fault

    def _take_number(self) -> int:
        self._next_number += 1
        return self._next_number

    def _command_number(self) -> int:
        """The next command's number.

        Raises:
            Evicted: the run is being taken out of memory.
        """
        if self._loop.closing or self.current_fault is not None:
            raise Evicted
        return self._take_number()

    def _digest(self, *parts: object, size: int = 16) -> bytes:
        seed = self._started.seed if self._started is not None else 0
        text = "\x00".join(map(str, (seed, *parts)))
        return hashlib.blake2b(text.encode(), digest_size=size).digest()

    def _next_run_id(self) -> str:
        return self._digest("next run", self.run_id).hex()

    # --- timers of the loop ---------------------------------------------------------------------

    def _arm(self, handle: asyncio.TimerHandle, delay: int) -> None:
        number = self._command_number()
        machine = TimerMachine(self, number, self._loop, handle)
        self._machines[number] = self._armed[id(handle)] = machine
        name, self._timer_name = self._timer_name, ""
        self.issue(h.TimerStarted(number, delay, name))

    def _disarm(self, handle: asyncio.TimerHandle) -> None:
        if self._loop.closing:
            return
        machine = self._armed.get(id(handle))
        if machine is not None:
            machine.cancel()

    # --- what workflow code calls (perdure's WorkflowContext) -------------------------------------

    def info(self) -> WorkflowInfo:
        """See :func:`perdure.info`."""
        started = self._started
        return WorkflowInfo(
            id=self.instance_id,
            run_id=self.run_id,
            workflow=self.workflow.name,
            version=started.version if started else self.workflow.definition.version,
            queue=self.queue,
            started_at=datetime.fromtimestamp(self._started_at / 1e6, UTC),
            parent_id=started.parent.instance_id if started and started.parent else None,
            history_length=self.history_length + len(self._events),
            turn=self.turn,
        )

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

    def schedule_activity(
        self, activity: Activity[Any, Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> ActivityFuture[Any]:
        """See :class:`perdure.Activity`."""
        definition = activity.definition
        bound = definition.signature.bind(args, kwargs)
        converted = definition.signature.converted(self._converter)
        payload = converted.encode(bound, checked=not self.replaying)
        number = self._command_number()
        options = activity.default_options
        command = h.ActivityScheduled(number, definition.name, options.queue or self.queue, payload)
        machine = ActivityMachine(
            self, number, definition.name, converted.result, options.cancellation
        )
        self._machines[number] = machine
        self._activities[number] = Scheduled(command, activity)
        self.issue(command)
        machine.future = ActivityFuture(
            loop=self._loop, identity=self._loop.next_identity(), on_cancel=machine.cancel
        )
        return machine.future

    def start_child(
        self, workflow: Workflow[Any, Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> WorkflowFuture[Any]:
        """See :class:`perdure.Workflow`."""
        definition = workflow.definition
        payload = self.encode_input(workflow, args, kwargs)
        number = self._command_number()
        options = workflow.default_options
        instance_id = options.id
        if instance_id is None:
            # From the seed, not the run's id: a copy of the history makes the same ids.
            instance_id = f"{definition.name[:400]}-{self._digest('child', number, size=10).hex()}"
        command = h.ChildScheduled(
            number,
            definition.name,
            definition.version,
            instance_id,
            options.queue or self.queue,
            payload,
        )
        result = definition.signature.converted(self._converter).result
        machine = ChildMachine(self, number, definition.name, instance_id, result)
        self._machines[number] = machine
        self._children[number] = StartedChild(command, workflow)
        self.child_ids[number] = instance_id
        self.issue(command)
        machine.future = WorkflowFuture(
            loop=self._loop, identity=self._loop.next_identity(), on_cancel=machine.cancel
        )
        return machine.future

    def encode_input(
        self, workflow: Workflow[Any, Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> bytes:
        """Checked and encoded arguments of a workflow."""
        signature = workflow.definition.signature
        bound = signature.bind(args, kwargs)
        return signature.converted(self._converter).encode(bound, checked=not self.replaying)

    def start_timer(self, seconds: float, name: str) -> TimerFuture:
        """See :func:`perdure.timer`."""
        self._timer_name = name
        future = TimerFuture(loop=self._loop, identity=self._loop.next_identity())
        handle = self._loop.call_later(seconds, _resolve_timer, future)
        self._timer_name = ""
        future.add_done_callback(lambda _: handle.cancel())
        return future

    def send_signal(self, signal: Signal[Any], instance_id: str, payload: Any) -> SignalFuture:
        """See :meth:`perdure.Signal.send`."""
        serializer = signal.serializer(self._converter)
        encode = serializer.encode if self.replaying else serializer.encode_checked
        encoded = encode(payload)
        number = self._command_number()
        machine = SignalMachine(self, number, signal.name, instance_id)
        self._machines[number] = machine
        self.issue(h.SignalSent(number, instance_id, signal.name, encoded))
        machine.future = SignalFuture(
            loop=self._loop, identity=self._loop.next_identity(), on_cancel=machine.cancel
        )
        return machine.future

    async def receive(self, signal: Signal[Any]) -> Any:
        """See :meth:`perdure.Signal.receive`."""
        return await self._signals.receive(signal)

    def receive_nowait(self, signal: Signal[Any]) -> Any:
        """See :meth:`perdure.Signal.receive_nowait`."""
        return self._signals.receive_nowait(signal)

    def on_signal(self, signal: Signal[Any], handler: Callable[[Any], Any]) -> None:
        """See :meth:`perdure.Signal.handler`."""
        self._signals.on_signal(signal, handler)

    def side_effect(self, function: Callable[[], Any], annotation: Any) -> Any:
        """See :func:`perdure.side_effect`."""
        number = self._command_number()
        try:
            return self._side_effects.run(
                number,
                function,
                annotation,
                self._recorded.get(number),
                replaying=self.replaying,
            )
        except NonDeterminismError:
            # The comparison at the turn's end says it better, with position and source line.
            self.issue(h.SideEffectRecorded(number, b""))
            self._set_fault(Fault("mismatch", "side effect without a record"))
            raise Evicted from None

    def patched(self, id: str) -> bool:
        """See :func:`perdure.patched`."""
        known = self._patches.known(id)
        if known is not None:
            return known
        if self._loop.closing or self.current_fault is not None:
            raise Evicted
        number = self._next_number + 1
        taken = self._patches.decide(
            id, number, self._recorded.get(number), replaying=self.replaying
        )
        if taken:
            self._next_number = number
        return taken

    def random(self, stream: str) -> random.Random:
        """See :func:`perdure.random`."""
        found = self._randoms.get(stream)
        if found is None:
            seed = int.from_bytes(self._digest("random", stream), "big")
            found = self._randoms[stream] = random.Random(seed)
        return found

    def uuid4(self) -> uuid.UUID:
        """See :func:`perdure.uuid4`."""
        self._uuids += 1
        return uuid.UUID(bytes=self._digest("uuid", self._uuids), version=4)

    async def wait_until(self, predicate: Callable[[], bool]) -> None:
        """See :func:`perdure.wait_until`."""
        if predicate():
            return
        future: asyncio.Future[None] = self._loop.create_future()
        self._predicates.append((predicate, future))
        await future


def _resolve_timer(future: TimerFuture) -> None:
    if not future.done():
        future.set_result(None)
