"""The client: starts instances, sends them messages, waits for results, steers and lists.

PYTEST_DONT_REWRITE
"""

from __future__ import annotations

import asyncio
import math
import re
from collections.abc import AsyncIterator, Callable, Sequence
from typing import TYPE_CHECKING, Any, Final, Generic, ParamSpec, TypeVar, cast, overload

from perdure import (
    Activity,
    ArgumentsError,
    Call,
    DataConverter,
    Duration,
    InstanceError,
    InstanceExistsError,
    InstanceFinishedError,
    InstanceNotFinishedError,
    InstanceNotFoundError,
    InvalidOptionError,
    Middleware,
    Outbound,
    Query,
    QueryWith,
    Signal,
    UnsupportedInWorkflowError,
    Update,
    UsageError,
    Workflow,
)
from perdure.extension import CATCH_ALL, DEFAULT_QUEUE, AnyQuery, check_id, check_queue
from perdure_backends import Backend, Listing, Liveness, QueueControl
from perdure_backends import history as h
from perdure_backends.records import (
    Action,
    ControlResult,
    InstanceRecord,
    ListFilter,
    Message,
    Offer,
    Pending,
    QueueLimit,
    RemoveResult,
    SendResult,
    SessionRecord,
    StartOutcome,
    StartRequest,
    StartResult,
    Status,
)

from ._asking import ActivityHandle, UpdateHandle, ask
from ._batcher import Batcher
from ._durations import as_seconds
from ._results import ResultWatcher, outcome_of
from ._services import Services
from ._starting import start_request

if TYPE_CHECKING:
    from perdure._middleware import Kind
    from typing_extensions import TypeForm

P = ParamSpec("P")
R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)
T = TypeVar("T")
A = TypeVar("A")
U = TypeVar("U")

_HISTORY_PAGE: Final = 500


class Client:
    """Talks to a store; needs no worker. Cheap to make, bound to the running event loop.

    Args:
        backend: an open store.
        converter: converts payloads; must fit the workers'.
        patience: seconds during which an unavailable store is tried again.
        middleware: sees what leaves; the first one is the outermost.
    """

    def __init__(
        self,
        backend: Backend,
        *,
        converter: DataConverter | None = None,
        patience: Duration = 30.0,
        middleware: Sequence[Middleware] = (),
        services: Services | None = None,
    ) -> None:
        self._backend = backend
        self._converter = converter if converter is not None else DataConverter()
        self._services = services if services is not None else Services()
        seconds = patience if isinstance(patience, (int, float)) else patience.total_seconds()
        self._starts: Batcher[StartRequest, StartOutcome] = Batcher(backend.start, patience=seconds)
        self._sends: Batcher[Message, SendResult] = Batcher(backend.send, patience=seconds)
        self._results = ResultWatcher(backend)
        self._middleware = tuple(middleware)

    # --- starting ---------------------------------------------------------------------------------

    async def start(self, workflow: Workflow[P, R], *args: P.args, **kwargs: P.kwargs) -> Handle[R]:
        """Starts an instance and returns its handle once the store has accepted it.

        Id, queue, time-out and id policies are options of the workflow:
        ``client.start(checkout.options(id="order-17"), order)``.

        Raises:
            ArgumentsError: the arguments do not fit.
            InstanceExistsError: the id is used, and the policy says so.
            BackendError: the store could not accept it.
        """
        bound = workflow.definition.signature.bind(args, kwargs)
        return await self._start(workflow, bound)

    async def start_call(self, call: Call[R]) -> Handle[R]:
        """Starts what ``workflow.bind(...)`` kept. Raises as :meth:`start`."""
        target: object = call.target
        if not isinstance(target, Workflow):
            raise UsageError(f"{call!r} is not a call of a workflow")
        return await self._start(cast("Workflow[..., R]", target), call.arguments)

    async def run(self, workflow: Workflow[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Starts an instance and waits for its result. Raises as :meth:`start` and ``result``."""
        handle = await self.start(workflow, *args, **kwargs)
        return await handle.result()

    async def signal_with_start(
        self, call: Call[R], signal: Signal[T], payload: T, *, request_id: str | None = None
    ) -> Handle[R]:
        """Starts an instance unless it is running, and sends it a signal, in one step.

        ``client.signal_with_start(cart.options(id="cart-7").bind(), add_item, item)``

        Args:
            request_id: a repeat with the same id is accepted once.

        Raises:
            UsageError: the call has no id, or is no workflow's.
            InstanceExistsError, BackendError: as :meth:`start`.
        """
        encoded = signal.serializer(self._converter).encode_checked(payload)

        def entry(instance_id: str) -> h.Event:
            headers = self._headers("signal", signal.name, instance_id)
            return h.SignalReceived(signal.name, encoded, headers)

        message_id = request_id if request_id is not None else self._services.new_id()
        return await self._start_with(call, message_id, entry)

    async def update_with_start(
        self,
        call: Call[R],
        update: Update[A, U],
        argument: A,
        *,
        id: str | None = None,
        timeout: Duration | None = None,
    ) -> tuple[Handle[R], U]:
        """Starts an instance unless it is running, sends it an update, and waits for its result.

        Args:
            id: id of the update: a repeat gets the first answer.
            timeout: seconds after which to stop waiting for the update.

        Raises:
            UsageError: the call has no id, or is no workflow's.
            UpdateError, TimeoutError, InstanceExistsError, BackendError: as ``update``, ``start``.
        """
        update_id = id if id is not None else self._services.new_id()
        encoded = update.argument_serializer(self._converter).encode_checked(argument)

        def entry(instance_id: str) -> h.Event:
            headers = self._headers("update", update.name, instance_id)
            return h.UpdateReceived(update_id, update.name, encoded, headers)

        handle = await self._start_with(call, f"update/{update_id}", entry)
        sent = UpdateHandle(self, handle.id, update, update_id)
        return handle, await sent.result(timeout)

    async def _start_with(
        self, call: Call[R], message_id: str, entry: Callable[[str], h.Event]
    ) -> Handle[R]:
        target: object = call.target
        if not isinstance(target, Workflow):
            raise UsageError(f"{call!r} is not a call of a workflow")
        workflow = cast("Workflow[..., R]", target)
        instance_id = workflow.default_options.id
        if instance_id is None:
            raise UsageError("give the instance an id: workflow.options(id=…).bind(…)")
        if workflow.default_options.if_running == "error":
            workflow = workflow.options(if_running="use_existing")
        message = Message(
            instance_id=instance_id,
            message_id=message_id,
            entry=h.encode_event(entry(instance_id)),
        )
        return await self._start(workflow, call.arguments, (message,))

    async def start_by_name(
        self,
        name: str,
        input: bytes = b"[]",
        *,
        id: str | None = None,
        version: int = 1,
        queue: str = DEFAULT_QUEUE,
    ) -> Handle[Any]:
        """Starts a workflow of which only the name is known.

        Args:
            input: its arguments as a JSON array, unchecked here.
        """

        async def unknown() -> None: ...

        workflow: Workflow[[], None] = _declared(name, version)(unknown)
        return await self._start_encoded(
            workflow.options(id=id, queue=check_queue(queue)), self._converter.wrap(input), None
        )

    async def _start(
        self,
        workflow: Workflow[..., R],
        arguments: tuple[Any, ...],
        messages: tuple[Message, ...] = (),
    ) -> Handle[R]:
        converted = workflow.definition.signature.converted(self._converter)
        return await self._start_encoded(
            workflow, converted.encode(arguments, checked=True), workflow, messages
        )

    async def _start_encoded(
        self,
        workflow: Workflow[..., Any],
        payload: bytes,
        typed: Workflow[..., Any] | None,
        messages: tuple[Message, ...] = (),
    ) -> Handle[Any]:
        _outside_workflow("start()")
        options = workflow.default_options
        run_id = self._services.new_id()
        instance_id = options.id if options.id is not None else run_id
        request = start_request(
            workflow,
            instance_id=instance_id,
            run_id=run_id,
            request_id=run_id,
            queue=options.queue or DEFAULT_QUEUE,
            input=payload,
            seed=self._services.rng.getrandbits(53),
            headers=self._headers("workflow", workflow.name, instance_id),
            messages=messages,
        )
        outcome = await self._starts.call(request)
        if outcome.result is StartResult.RUNNING_EXISTS:
            raise InstanceExistsError(
                f"an instance with id {instance_id!r} is running; choose another id, or "
                "options(if_running='use_existing') or 'replace'",
                instance_id=instance_id,
            )
        if outcome.result is StartResult.FINISHED_EXISTS:
            raise InstanceExistsError(
                f"the id {instance_id!r} was used by a finished instance, and the start says "
                "if_finished='reject'",
                instance_id=instance_id,
            )
        self._check_sent(instance_id, outcome.delivered)
        return Handle(self, instance_id, outcome.run_id, typed)

    # --- handles ----------------------------------------------------------------------------------

    def handle(self, instance_id: str, workflow: Workflow[P, R]) -> Handle[R]:
        """A handle of an instance that was started elsewhere; nothing is looked up."""
        return Handle(self, check_id(instance_id), None, workflow)

    def handle_by_id(self, instance_id: str) -> Handle[Any]:
        """An untyped handle: results come as plain JSON data."""
        return Handle(self, check_id(instance_id), None, None)

    def activity(self, token: str, activity: Activity[..., R]) -> ActivityHandle[R]:
        """An attempt that ended with ``complete_later()``, by its ``activity_info().token``.

        Raises:
            UsageError: the token is none.
        """
        if not re.fullmatch(r".+/\d+/[^/]+", token):
            raise UsageError(f"{token!r} is not the token of an activity's attempt")
        return ActivityHandle(self, token, activity)

    async def limit_queue(
        self, queue: str, per_second: float | None, *, burst: int | None = None
    ) -> None:
        """Limits how many activities of a queue start in a second, over all workers together.

        Args:
            per_second: starts in a second on average; ``None`` takes the limit away.
            burst: how many may start at once; what a second allows by default, at least one.

        Raises:
            UsageError: the store can't limit queues.
            InvalidOptionError: a value is out of range.
        """
        backend = self._backend
        if not isinstance(backend, QueueControl):
            raise UsageError(f"the store {backend.url} can't limit queues")
        check_queue(queue)
        if per_second is None:
            await backend.set_queue_limit(queue, None)
            return
        most = burst if burst is not None else max(1, round(per_second))
        if not (per_second > 0 and math.isfinite(per_second)) or most < 1:
            raise InvalidOptionError("per_second must be more than 0, burst 1 or more")
        limit = QueueLimit(queue=queue, per_second=per_second, burst=most)
        await backend.set_queue_limit(queue, limit)

    # --- looking ----------------------------------------------------------------------------------

    async def list(
        self, filter: ListFilter | None = None, *, page_size: int = 100
    ) -> AsyncIterator[InstanceRecord]:
        """Instances by filter, newest first, read page by page.

        Raises:
            UsageError: the store can't list.
        """
        if not isinstance(self._backend, Listing):
            raise UsageError(f"the store {self._backend.url} can't list instances")
        after: str | None = None
        chosen = filter if filter is not None else ListFilter()
        while True:
            page = await self._backend.list_instances(chosen, after, page_size)
            for record in page.instances:
                yield record
            after = page.after
            if after is None:
                return

    async def workers(self) -> Sequence[SessionRecord]:
        """Sessions of workers, the oldest first, with what they offer.

        Raises:
            UsageError: the store can't say.
        """
        if not isinstance(self._backend, Liveness):
            raise UsageError(f"the store {self._backend.url} can't list sessions")
        return await self._backend.list_sessions()

    async def unoffered(self, record: InstanceRecord, pending: Pending) -> Sequence[str]:
        """What a running instance waits for that no worker offers, in words; empty if nothing."""
        if record.status is not Status.RUNNING:
            return []
        sessions = [session.start for session in await self.workers()]
        missing: list[str] = []
        offer = Offer(record.workflow, record.version)
        if not any(
            (offer in s.workflows or Offer(CATCH_ALL, 0) in s.workflows)
            and record.queue in s.queues
            for s in sessions
        ):
            missing.append(
                f"no worker offers workflow {record.workflow!r} version {record.version} "
                f"on queue {record.queue!r}"
            )
        for activity in pending.activities:
            if activity.state != "running" and not any(
                (activity.name in s.activities or CATCH_ALL in s.activities)
                and activity.queue in s.queues
                for s in sessions
            ):
                missing.append(f"no worker offers {activity.name!r} on queue {activity.queue!r}")
        return missing

    # --- for handles ------------------------------------------------------------------------------

    @property
    def converter(self) -> DataConverter:
        """What payloads are converted with."""
        return self._converter

    @property
    def backend(self) -> Backend:
        """The store."""
        return self._backend

    async def _send(self, instance_id: str, event: h.Event, request_id: str | None) -> None:
        _outside_workflow("signal()")
        message = Message(
            instance_id=instance_id,
            message_id=request_id if request_id is not None else self._services.new_id(),
            entry=h.encode_event(event),
        )
        self._check_sent(instance_id, await self._sends.call(message))

    def not_found(self, instance_id: str) -> InstanceNotFoundError:
        """The error for an id that nobody has."""
        return _not_found(instance_id)

    def new_id(self) -> str:
        """A fresh id."""
        return self._services.new_id()

    def _headers(self, kind: Kind, name: str, instance_id: str) -> dict[str, bytes]:
        headers: dict[str, bytes] = {}
        for one in self._middleware:
            one.outbound(Outbound(kind, name, headers, instance_id))
        return headers

    def _check_sent(self, instance_id: str, result: SendResult) -> None:
        if result is SendResult.NOT_FOUND:
            raise _not_found(instance_id)
        if result is SendResult.FINISHED:
            raise InstanceFinishedError(
                f"instance {instance_id!r} has finished", instance_id=instance_id
            )
        if result is SendResult.FULL:
            raise InstanceError(
                f"instance {instance_id!r} has too many unread messages; wait until it has read "
                "some",
                instance_id=instance_id,
            )


class Handle(Generic[R_co]):
    """One instance, seen from outside."""

    def __init__(
        self,
        client: Client,
        instance_id: str,
        run_id: str | None,
        workflow: Workflow[..., R_co] | None,
    ) -> None:
        self._client = client
        self._workflow = workflow
        self.id = instance_id
        self.run_id = run_id

    async def result(self, timeout: Duration | None = None) -> R_co:
        """Waits for the result, over continue-as-new too, as long as the instance lives.

        Args:
            timeout: seconds after which to stop waiting; the instance goes on.

        Raises:
            TimeoutError: it has not finished within ``timeout``.
            WorkflowError: it ended without a result (failed, cancelled, terminated, timed out).
            InstanceNotFoundError: there is no such instance.
        """
        seconds = (
            timeout
            if timeout is None or isinstance(timeout, (int, float))
            else timeout.total_seconds()
        )
        run_id = self.run_id
        if run_id is None:
            run_id = (await self.describe()).run_id
        try:
            async with asyncio.timeout(seconds):
                record = await self._client._results.wait(run_id)  # pyright: ignore[reportPrivateUsage]
        except TimeoutError:
            raise TimeoutError(
                f"instance {self.id!r} has not finished within {seconds:g} s; it goes on"
            ) from None
        if record is None:
            raise _not_found(self.id)
        value: R_co = outcome_of(record, self._workflow, self._client.converter)
        return value

    async def signal(self, signal: Signal[T], payload: T, *, request_id: str | None = None) -> None:
        """Sends a signal; returns once the store has accepted it.

        Args:
            request_id: a repeat with the same id is accepted once.

        Raises:
            InstanceNotFoundError, InstanceFinishedError: nobody is there to read it.
            PayloadError: the payload is not of the signal's type.
        """
        encoded = signal.serializer(self._client.converter).encode_checked(payload)
        await self._client._send(  # pyright: ignore[reportPrivateUsage]
            self.id,
            h.SignalReceived(
                signal.name,
                encoded,
                self._client._headers("signal", signal.name, self.id),  # pyright: ignore[reportPrivateUsage]
            ),
            request_id,
        )

    @overload
    async def query(
        self, query: QueryWith[A, T], argument: A, /, *, timeout: Duration = 10.0
    ) -> T: ...
    @overload
    async def query(self, query: Query[T], /, *, timeout: Duration = 10.0) -> T: ...
    async def query(self, query: AnyQuery[Any], /, *argument: Any, timeout: Duration = 10.0) -> Any:
        """Asks the workflow's code; answered from its state after the last committed turn.

        Any worker that has the workflow answers, for finished instances too.

        Args:
            timeout: seconds to wait for an answer.

        Raises:
            QueryError: there is no handler, it raised, or the worker's code does not fit.
            TimeoutError: no worker answered in time; the message says what to look for.
            InstanceNotFoundError: there is no such instance.
        """
        _outside_workflow("query()")
        client = self._client
        if query.takes_argument != bool(argument):
            raise ArgumentsError(
                f"{query!r} takes {'an' if query.takes_argument else 'no'} argument"
            )
        payload: bytes | None = None
        if argument:
            payload = query.argument_serializer(client.converter).encode_checked(argument[0])
        headers = client._headers("query", query.name, self.id)  # pyright: ignore[reportPrivateUsage]
        answer = await ask(
            client,
            self.id,
            h.QueryAsked(query.name, payload, headers),
            as_seconds(timeout, "timeout"),
            client.new_id(),
        )
        return query.serializer(client.converter).decode(answer)

    async def published(self, type: TypeForm[T]) -> T | None:
        """The state that the workflow published last; needs no worker. ``None`` if it has not.

        Args:
            type: of the published value.
        """
        record = await self.describe()
        if record.published is None:
            return None
        serializer = self._client.converter.serializer(type, "published state")
        value: T = serializer.decode(record.published)
        return value

    async def update(
        self,
        update: Update[A, T],
        argument: A,
        *,
        id: str | None = None,
        timeout: Duration | None = None,
    ) -> T:
        """Sends an update and waits for its result.

        Args:
            id: id of the update: a repeat with it is carried out once and gets the first answer.
            timeout: seconds after which to stop waiting; the update goes on.

        Raises:
            UpdateRejectedError: it was refused; nothing has happened.
            UpdateFailedError: its handler raised, or the instance ended first.
            InstanceNotFoundError, InstanceFinishedError: nobody is there to carry it out.
        """
        sent = await self.send_update(update, argument, id=id)
        return await sent.result(timeout)

    async def start_update(
        self,
        update: Update[A, T],
        argument: A,
        *,
        id: str | None = None,
        timeout: Duration | None = None,
    ) -> UpdateHandle[T]:
        """Sends an update and returns once it was accepted. Raises as :meth:`update`."""
        sent = await self.send_update(update, argument, id=id)
        await sent.accepted(timeout)
        return sent

    async def send_update(
        self, update: Update[A, T], argument: A, *, id: str | None = None
    ) -> UpdateHandle[T]:
        """Sends an update and returns once the store has it; no worker has seen it yet."""
        client = self._client
        update_id = check_id(id) if id is not None else client.new_id()
        encoded = update.argument_serializer(client.converter).encode_checked(argument)
        headers = client._headers("update", update.name, self.id)  # pyright: ignore[reportPrivateUsage]
        event = h.UpdateReceived(update_id, update.name, encoded, headers)
        await client._send(self.id, event, f"update/{update_id}")  # pyright: ignore[reportPrivateUsage]
        return UpdateHandle(client, self.id, update, update_id)

    def update_handle(self, update: Update[Any, T], id: str) -> UpdateHandle[T]:
        """The handle of an update that was sent elsewhere; nothing is looked up."""
        return UpdateHandle(self._client, self.id, update, id)

    async def cancel(self, reason: str = "", *, request_id: str | None = None) -> None:
        """Asks the workflow to cancel: its code sees ``CancelledError`` and may clean up."""
        await self._client._send(  # pyright: ignore[reportPrivateUsage]
            self.id, h.CancelRequested(reason), request_id
        )

    async def terminate(self, reason: str = "terminated by an operator") -> None:
        """Ends the instance at once, without its code; wins over a turn in flight."""
        await self._control(Action.TERMINATE, reason)

    async def suspend(self, reason: str = "") -> None:
        """Halts the instance: messages and results gather, timers wait."""
        await self._control(Action.SUSPEND, reason)

    async def resume(self) -> None:
        """Lets a suspended instance go on."""
        await self._control(Action.RESUME, "")

    async def unpark(self) -> None:
        """Lets a parked instance be tried again, by every build."""
        await self._control(Action.UNPARK, "")

    async def _control(self, action: Action, reason: str) -> None:
        result = await self._client.backend.control(self.id, action, reason)
        if result is ControlResult.NOT_FOUND:
            raise _not_found(self.id)
        if result is ControlResult.FINISHED:
            raise InstanceFinishedError(f"instance {self.id!r} has finished", instance_id=self.id)

    async def describe(self) -> InstanceRecord:
        """What the store knows of it.

        Raises:
            InstanceNotFoundError: there is no such instance.
        """
        record = await self._client.backend.describe(self.id, self.run_id)
        if record is None:
            raise _not_found(self.id)
        return record

    async def state(self) -> str:
        """One word: ``running``, ``suspended``, ``parked``, ``completed``, ``failed`` …"""
        return (await self.describe()).state

    async def pending(self) -> Pending:
        """Activities, timers and messages that it waits for."""
        return await self._client.backend.pending((await self.describe()).run_id)

    async def history(self) -> AsyncIterator[h.Turn]:
        """Its turns in order, read page by page."""
        run_id = (await self.describe()).run_id
        after = 0
        while True:
            records = await self._client.backend.read_history(run_id, after, _HISTORY_PAGE)
            if not records:
                return
            for record in records:
                turn = h.decode_turn(record)
                after = turn.number
                yield turn

    async def remove(self) -> None:
        """Removes the finished instance with its history.

        Raises:
            InstanceNotFinishedError: it is still running; terminate it first.
            InstanceNotFoundError: there is no such instance.
        """
        result = await self._client.backend.remove(self.id)
        if result is RemoveResult.NOT_FOUND:
            raise _not_found(self.id)
        if result is RemoveResult.RUNNING:
            raise InstanceNotFinishedError(
                f"instance {self.id!r} is running; terminate it first", instance_id=self.id
            )

    def __repr__(self) -> str:
        return f"<handle of {self.id!r}>"


def _not_found(instance_id: str) -> InstanceNotFoundError:
    return InstanceNotFoundError(
        f"there is no instance with id {instance_id!r}", instance_id=instance_id
    )


def _declared(name: str, version: int) -> Any:
    from perdure import workflow

    return workflow.declare(name=name, version=version)


def _outside_workflow(what: str) -> None:
    from perdure._context import find_context

    if find_context() is not None:
        raise UnsupportedInWorkflowError(
            f"client.{what} was called inside a workflow; call the sub-workflow, send with "
            "Signal.send(), or use the client in an activity"
        )
