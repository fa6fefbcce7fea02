"""What workflow code calls: perdure's ``WorkflowContext`` on top of an execution.

PYTEST_DONT_REWRITE
"""

from __future__ import annotations

import asyncio
import random
import uuid
from collections.abc import Awaitable, Callable, Generator, Sequence
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, NamedTuple, cast

from perdure import (
    Activity,
    ActivityFuture,
    DataConverter,
    Evicted,
    NonDeterminismError,
    ReadOnlyError,
    Serializer,
    Signal,
    SignalFuture,
    TimerFuture,
    Update,
    Workflow,
    WorkflowFuture,
    WorkflowInfo,
    with_retries,
)
from perdure.extension import AnyQuery, Attribute, Kind, open_span, outbound_headers
from perdure_backends import history as h

from ._faults import Fault
from ._spans import HEADER
from .machines import ActivityMachine, ChildMachine, PatchMarkers, SideEffects, SignalMachine

if TYPE_CHECKING:
    from ._execution import Execution

SUGGESTED_LENGTH: Final = 10_000
SUGGESTED_SIZE: Final = 10 * 1024 * 1024


class Scheduled(NamedTuple):
    """An activity call of the current turn: the recorded command and the options behind it."""

    command: h.ActivityScheduled
    activity: Activity[Any, Any]


class StartedChild(NamedTuple):
    """A sub-workflow call of the current turn."""

    command: h.ChildScheduled
    workflow: Workflow[Any, Any]


class WorkflowCalls:
    """The context that workflow code finds through its loop.

    Attributes:
        activities, children: the calls behind the commands of the current turn, by number.
        local: local activities that have not ended, by number.
        child_ids: instance ids of sub-workflows, by number.
        published: the published state, where the current turn has set it.
    """

    def __init__(self, execution: Execution, converter: DataConverter) -> None:
        self._execution = execution
        self._converter = converter
        self._loop = execution.loop
        self._side_effects = SideEffects(execution)
        self._patches = PatchMarkers(execution)
        self._randoms: dict[str, random.Random] = {}
        self._uuids = 0
        self.activities: dict[int, Scheduled] = {}
        self.children: dict[int, StartedChild] = {}
        self.local: dict[int, Scheduled] = {}
        self.child_ids: dict[int, str] = {}
        self.published: bytes | None = None
        self._serializers: dict[tuple[Any, str], Serializer] = {}

    @property
    def replaying(self) -> bool:
        """Whether recorded history is being applied."""
        return self._execution.replaying

    def time(self) -> float:
        """The turn's time in seconds since the epoch."""
        return self._loop.time()

    def active_guard(self) -> Any:
        """What judges the code's calls; ``None`` while they may do what they like."""
        return self._execution.guard

    def unguarded(self) -> AbstractContextManager[None]:
        """While something runs that is not the workflow's own code."""
        return self._execution.unguarded()

    def info(self) -> WorkflowInfo:
        """See :func:`perdure.info`."""
        execution = self._execution
        started = execution.started_event
        workflow, version = execution.identity()
        length, size = execution.length_so_far, execution.history_size
        return WorkflowInfo(
            id=execution.instance_id,
            run_id=execution.run_id,
            workflow=workflow,
            version=version,
            queue=execution.queue,
            started_at=datetime.fromtimestamp(execution.started_at / 1e6, UTC),
            parent_id=started.parent.instance_id if started and started.parent else None,
            history_length=length,
            turn=execution.turn,
            history_size=size,
            continue_as_new_suggested=length >= SUGGESTED_LENGTH or size >= SUGGESTED_SIZE,
            continued_from=started.continued_from if started else None,
        )

    # --- activities and sub-workflows

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
        execution = self._execution
        command = h.ActivityScheduled(
            number,
            definition.name,
            options.queue or execution.queue,
            payload,
            self._headers("activity", definition.name),
            options.local,
        )
        machine = ActivityMachine(
            execution, number, definition.name, converted.result, options.cancellation
        )
        execution.add(machine)
        scheduled = self.activities[number] = Scheduled(command, activity)
        if options.local:
            self.local[number] = scheduled
        execution.issue(command)
        machine.future = ActivityFuture(
            loop=self._loop, identity=self._loop.next_identity(), on_cancel=machine.cancel
        )
        return machine.future

    def start_child(
        self, workflow: Workflow[Any, Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> WorkflowFuture[Any]:
        """See :class:`perdure.Workflow`."""
        payload = self.encode_input(workflow, args, kwargs)
        first = self._start_child(workflow, payload)
        retry = workflow.default_options.retry
        if retry is None:
            return first

        def attempt(number: int) -> Awaitable[Any]:
            return first if number == 1 else self._start_child(workflow, payload)

        task = self._loop.create_task(
            with_retries(retry, attempt), name=f"retries of {workflow.name}"
        )

        def cancel(message: str | None) -> bool:
            task.cancel(message)
            return True

        future: WorkflowFuture[Any] = WorkflowFuture(
            loop=self._loop, identity=self._loop.next_identity(), on_cancel=cancel
        )
        future.id = first.id
        task.add_done_callback(lambda done: _copy_outcome(done, future))
        return future

    def _start_child(self, workflow: Workflow[Any, Any], payload: bytes) -> WorkflowFuture[Any]:
        execution, definition = self._execution, workflow.definition
        number = self._command_number()
        options = workflow.default_options
        instance_id = options.id
        if instance_id is None:
            # From the seed, not the run's id: a copy of the history makes the same ids.
            digest = execution.digest("child", number, size=10).hex()
            instance_id = f"{definition.name[:400]}-{digest}"
        command = h.ChildScheduled(
            number,
            definition.name,
            definition.version,
            instance_id,
            options.queue or execution.queue,
            payload,
            self._headers("workflow", definition.name, instance_id),
        )
        result = definition.signature.converted(self._converter).result
        machine = ChildMachine(execution, number, definition.name, instance_id, result)
        execution.add(machine)
        self.children[number] = StartedChild(command, workflow)
        self.child_ids[number] = instance_id
        execution.issue(command)
        future: WorkflowFuture[Any] = WorkflowFuture(
            loop=self._loop, identity=self._loop.next_identity(), on_cancel=machine.cancel
        )
        future.id = instance_id
        machine.future = future
        return future

    def encode_input(
        self, workflow: Workflow[Any, Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> bytes:
        """Checked and encoded arguments of a workflow."""
        signature = workflow.definition.signature
        bound = signature.bind(args, kwargs)
        return signature.converted(self._converter).encode(bound, checked=not self.replaying)

    # --- timers and messages

    def start_timer(self, seconds: float, name: str) -> TimerFuture:
        """See :func:`perdure.timer`."""
        self._execution.timer_name = name
        future = TimerFuture(loop=self._loop, identity=self._loop.next_identity())
        handle = self._loop.call_later(seconds, _resolve_timer, future)
        self._execution.timer_name = ""
        future.add_done_callback(lambda _: handle.cancel())
        return future

    def send_signal(self, signal: Signal[Any], instance_id: str, payload: Any) -> SignalFuture:
        """See :meth:`perdure.Signal.send`."""
        serializer = signal.serializer(self._converter)
        encoded = self._encode(serializer, payload)
        number = self._command_number()
        headers = self._headers("signal", signal.name, instance_id)
        machine = SignalMachine(self._execution, number, signal.name, instance_id)
        return self._sent(machine, h.SignalSent(number, instance_id, signal.name, encoded, headers))

    def cancel_instance(self, instance_id: str, reason: str) -> SignalFuture:
        """See :meth:`perdure.Instance.cancel`."""
        number = self._command_number()
        machine = SignalMachine(self._execution, number, "cancel", instance_id)
        return self._sent(machine, h.CancelSent(number, instance_id, reason))

    def _sent(self, machine: SignalMachine, command: h.Command) -> SignalFuture:
        self._execution.add(machine)
        self._execution.issue(command)
        machine.future = SignalFuture(
            loop=self._loop, identity=self._loop.next_identity(), on_cancel=machine.cancel
        )
        return machine.future

    async def receive(self, signal: Signal[Any]) -> Any:
        """See :meth:`perdure.Signal.receive`."""
        self._refuse_read_only("receive a signal")
        return await self._execution.signals.receive(signal)

    def receive_nowait(self, signal: Signal[Any]) -> Any:
        """See :meth:`perdure.Signal.receive_nowait`."""
        self._refuse_read_only("receive a signal")
        return self._execution.signals.receive_nowait(signal)

    def signal_waits(self, signal: Signal[Any]) -> bool:
        """Whether :meth:`receive_nowait` would give one."""
        return self._execution.signals.waits(signal)

    @contextmanager
    def listening(self, signals: Sequence[Signal[Any]]) -> Generator[None]:
        """While a task waits for one of these signals among other things."""
        inbox = self._execution.signals
        inbox.receiving += len(signals)
        try:
            yield
        finally:
            inbox.receiving -= len(signals)

    def on_signal(self, signal: Signal[Any], handler: Callable[[Any], Any]) -> None:
        """See :meth:`perdure.Signal.handler`."""
        self._refuse_read_only("register a handler")
        self._execution.signals.on_signal(signal, handler)

    def on_any_signal(self, handler: Callable[[str, Any], Any]) -> None:
        """See :func:`perdure.any_signal_handler`."""
        self._refuse_read_only("register a handler")
        self._execution.signals.on_any_signal(handler)

    def on_query(self, query: AnyQuery[Any], handler: Callable[..., Any]) -> None:
        """See :meth:`perdure.Query.handler`."""
        self._refuse_read_only("register a handler")
        self._execution.queries.register(query, handler)

    def on_update(self, update: Update[Any, Any], handler: Callable[[Any], Any]) -> None:
        """See :meth:`perdure.Update.handler`."""
        self._refuse_read_only("register a handler")
        self._execution.updates.register(update, handler)

    def validate_update(self, update: Update[Any, Any], check: Callable[[Any], Any]) -> None:
        """See :meth:`perdure.Update.validator`."""
        self._refuse_read_only("register a validator")
        self._execution.updates.register_check(update, check)

    def publish(self, value: Any, annotation: Any) -> None:
        """See :func:`perdure.publish`."""
        self._refuse_read_only("publish")
        if self._loop.closing:
            raise Evicted
        chosen: Any = annotation if annotation is not None else cast("Any", type(value))
        self.published = self._encode(self._serializer(chosen, "published state"), value)

    # --- deterministic helpers

    def side_effect(self, function: Callable[[], Any], annotation: Any) -> Any:
        """See :func:`perdure.side_effect`."""
        number = self._command_number()
        execution = self._execution
        try:
            with execution.unguarded():
                return self._side_effects.run(
                    number,
                    function,
                    self._serializer(annotation, "side effect"),
                    execution.recorded(number),
                    replaying=self.replaying,
                )
        except NonDeterminismError:
            # The comparison at the turn's end says it better, with position and source line.
            execution.issue(h.SideEffectRecorded(number, b""))
            execution.set_fault(Fault("mismatch", "side effect without a record"))
            raise Evicted from None

    def patched(self, id: str) -> bool:
        """See :func:`perdure.patched`."""
        known = self._patches.known(id)
        if known is not None:
            return known
        number = self._peek_number()
        taken = self._patches.decide(
            id, number, self._execution.recorded(number), replaying=self.replaying
        )
        if taken:
            self._command_number()
        return taken

    def deprecate_patch(self, id: str) -> None:
        """See :func:`perdure.deprecate_patch`."""
        if self._patches.known(id) is None:
            number = self._peek_number()
            if self._patches.retire(id, number, self._execution.recorded(number)):
                self._command_number()

    def random(self, stream: str) -> random.Random:
        """See :func:`perdure.random`."""
        self._refuse_read_only("draw random numbers")
        found = self._randoms.get(stream)
        if found is None:
            seed = int.from_bytes(self._execution.digest("random", stream), "big")
            found = self._randoms[stream] = random.Random(seed)
        return found

    def uuid4(self) -> uuid.UUID:
        """See :func:`perdure.uuid4`."""
        self._refuse_read_only("draw random numbers")
        self._uuids += 1
        return uuid.UUID(bytes=self._execution.digest("uuid", self._uuids), version=4)

    async def wait_until(self, predicate: Callable[[], bool]) -> None:
        """See :func:`perdure.wait_until`."""
        if predicate():
            return
        future: asyncio.Future[None] = self._loop.create_future()
        self._execution.predicates.append((predicate, future))
        await future

    # --- traces

    def span_begins(self, name: str, attributes: dict[str, Attribute]) -> str | None:
        """See :func:`perdure.span`; ``None`` where nobody traces."""
        spans = self._execution.spans
        return None if spans is None else spans.enter(open_span.get(), name, attributes)

    def span_attribute(self, key: str, name: str, value: Attribute) -> None:
        """See :meth:`perdure.Span.set`."""
        if self._execution.spans is not None:
            self._execution.spans.set(key, name, value)

    def span_ends(self, key: str, error: BaseException | None) -> None:
        """See :func:`perdure.span`."""
        if self._execution.spans is not None and not self._loop.closing:
            self._execution.spans.leave(key, error)

    def trace_ids(self) -> tuple[str, str] | None:
        """Trace and span where the code stands; ``None`` where nobody traces."""
        spans = self._execution.spans
        place = None if spans is None else spans.context(open_span.get())
        return None if place is None else place[:2]

    # --- inside

    def begin_turn(self) -> None:
        """A new turn has its own calls."""
        self.activities = {}
        self.children = {}
        self.published = None

    def _serializer(self, annotation: Any, what: str) -> Serializer:
        """The serializer of a value whose type is given with each call (made once)."""
        found = self._serializers.get((annotation, what))
        if found is None:
            found = self._converter.serializer(annotation, what)
            self._serializers[annotation, what] = found
        return found

    def _refuse_read_only(self, what: str) -> None:
        if self._loop.read_only:
            raise ReadOnlyError(
                f"a query handler or validator tried to {what}; it may only look at variables"
            )

    def _peek_number(self) -> int:
        self._refuse_read_only("schedule something")
        return self._execution.peek_number()

    def _command_number(self) -> int:
        self._refuse_read_only("schedule something")
        return self._execution.command_number()

    def _encode(self, serializer: Serializer, value: Any) -> bytes:
        return serializer.encode(value) if self.replaying else serializer.encode_checked(value)

    def _headers(self, kind: Kind, name: str, instance_id: str | None = None) -> dict[str, bytes]:
        headers = outbound_headers(self._execution.middleware, kind, name, instance_id)
        spans = self._execution.spans
        header = None if spans is None else spans.header(open_span.get())
        if header is not None:
            headers.setdefault(HEADER, header)
        return headers


def _resolve_timer(future: TimerFuture) -> None:
    if not future.done():
        future.set_result(None)


def _copy_outcome(task: asyncio.Task[Any], future: WorkflowFuture[Any]) -> None:
    if future.done():
        if not task.cancelled():
            task.exception()  # seen: nobody awaits it any more
    elif task.cancelled():
        future.confirm_cancelled()
    else:
        error = task.exception()
        if error is not None:
            future.set_exception(error)
        else:
            future.set_result(task.result())
