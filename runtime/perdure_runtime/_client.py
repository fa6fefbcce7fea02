"""The client: starts instances, sends them messages, waits for results, steers and lists.

PYTEST_DONT_REWRITE
"""

from __future__ import annotations

import math
import re
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any, ParamSpec, TypeVar, cast

from perdure import (
    Activity,
    Call,
    DataConverter,
    Duration,
    InstanceExistsError,
    InvalidOptionError,
    Middleware,
    Signal,
    Update,
    UsageError,
    Workflow,
)
from perdure import workflow as define
from perdure.extension import CATCH_ALL, DEFAULT_QUEUE, check_id, check_queue
from perdure_backends import Backend, Listing, Liveness, QueueControl
from perdure_backends import history as h
from perdure_backends.records import (
    InstanceRecord,
    ListFilter,
    Message,
    Offer,
    Pending,
    QueueLimit,
    RemoveResult,
    SessionRecord,
    StartOutcome,
    StartResult,
    Status,
)

from ._asking import ActivityHandle, UpdateHandle
from ._durations import as_seconds
from ._handle import Handle
from ._link import Link, refuse_inside_workflows
from ._services import Services
from ._starting import start_request
from ._telemetry import NOBODY, Telemetry

FINISHED_STATES = tuple(status.value for status in Status if status is not Status.RUNNING)
"""Words for the ways in which a run can end."""

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")
A = TypeVar("A")
U = TypeVar("U")


class Client:
    """Talks to a store; needs no worker. Cheap to make, bound to the running event loop.

    Args:
        backend: an open store.
        converter: converts payloads; must fit the workers'.
        patience: seconds during which an unavailable store is tried again.
        middleware: sees what leaves; the first one is the outermost.
        telemetry: told of each call, such as :class:`perdure_runtime.otel.OpenTelemetry`.
    """

    def __init__(
        self,
        backend: Backend,
        *,
        converter: DataConverter | None = None,
        patience: Duration = 30.0,
        middleware: Sequence[Middleware] = (),
        telemetry: Telemetry | None = None,
        services: Services | None = None,
    ) -> None:
        self._link = Link(
            backend,
            converter if converter is not None else DataConverter(),
            middleware,
            services if services is not None else Services(),
            as_seconds(patience, "patience"),
            telemetry if telemetry is not None else NOBODY,
        )

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
        encoded = signal.serializer(self._link.converter).encode_checked(payload)

        def entry(instance_id: str) -> h.Event:
            headers = self._link.headers("signal", signal.name, instance_id)
            return h.SignalReceived(signal.name, encoded, headers)

        message_id = request_id if request_id is not None else self._link.services.new_id()
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
        update_id = id if id is not None else self._link.services.new_id()
        encoded = update.argument_serializer(self._link.converter).encode_checked(argument)

        def entry(instance_id: str) -> h.Event:
            headers = self._link.headers("update", update.name, instance_id)
            return h.UpdateReceived(update_id, update.name, encoded, headers)

        handle = await self._start_with(call, f"update/{update_id}", entry)
        sent = UpdateHandle(self._link, handle.id, update, update_id)
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

        named = define.named(name, version=version).options(id=id, queue=check_queue(queue))
        return await self._start_encoded(named, self._link.converter.wrap(input), None)

    async def _start(
        self,
        workflow: Workflow[..., R],
        arguments: tuple[Any, ...],
        messages: tuple[Message, ...] = (),
    ) -> Handle[R]:
        converted = workflow.definition.signature.converted(self._link.converter)
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
        refuse_inside_workflows("start()")
        options = workflow.default_options
        run_id = self._link.services.new_id()
        instance_id = options.id if options.id is not None else run_id
        with self._link.telemetry.calling("start", workflow.name, instance_id):
            request = start_request(
                workflow,
                instance_id=instance_id,
                run_id=run_id,
                request_id=run_id,
                queue=options.queue or DEFAULT_QUEUE,
                input=payload,
                seed=self._link.services.rng.getrandbits(53),
                headers=self._link.headers("workflow", workflow.name, instance_id),
                messages=messages,
            )
            outcome = await self._link.starts.call(request)
            self._check_started(instance_id, outcome)
        return Handle(self._link, instance_id, outcome.run_id, typed)

    def _check_started(self, instance_id: str, outcome: StartOutcome) -> None:
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
        self._link.check_sent(instance_id, outcome.delivered)

    # --- handles ----------------------------------------------------------------------------------

    def handle(self, instance_id: str, workflow: Workflow[P, R]) -> Handle[R]:
        """A handle of an instance that was started elsewhere; nothing is looked up."""
        return Handle(self._link, check_id(instance_id), None, workflow)

    def handle_by_id(self, instance_id: str) -> Handle[Any]:
        """An untyped handle: results come as plain JSON data."""
        return Handle(self._link, check_id(instance_id), None, None)

    def activity(self, token: str, activity: Activity[..., R]) -> ActivityHandle[R]:
        """An attempt that ended with ``complete_later()``, by its ``activity_info().token``.

        Raises:
            UsageError: the token is none.
        """
        if not re.fullmatch(r".+/\d+/[^/]+", token):
            raise UsageError(f"{token!r} is not the token of an activity's attempt")
        return ActivityHandle(self._link, token, activity)

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
        backend = self._link.backend
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
        if not isinstance(self._link.backend, Listing):
            raise UsageError(f"the store {self._link.backend.url} can't list instances")
        after: str | None = None
        chosen = filter if filter is not None else ListFilter()
        while True:
            page = await self._link.backend.list_instances(chosen, after, page_size)
            for record in page.instances:
                yield record
            after = page.after
            if after is None:
                return

    async def prune(
        self,
        older_than: Duration,
        *,
        states: Sequence[str] = FINISHED_STATES,
        workflow: str | None = None,
        page_size: int = 100,
        dry_run: bool = False,
    ) -> AsyncIterator[str]:
        """Removes instances that finished long ago, with all that belongs to them.

        One after the other, so that nobody waits for long; gives the id of each that is removed.
        An instance that was started anew under its id is kept.

        Args:
            older_than: how long they must have been finished.
            states: in which they ended; all ends by default.
            workflow: only instances of this one.
            dry_run: remove nothing, only say which.

        Raises:
            InvalidOptionError: ``older_than`` is not above 0.
            UsageError: the store can't list.
        """
        age = round(as_seconds(older_than, "older_than") * 1e6)
        chosen = ListFilter(
            states=tuple(states),
            workflow=workflow,
            finished_before=await self._link.backend.now() - age,
        )
        async for record in self.list(chosen, page_size=page_size):
            if not dry_run:
                result = await self._link.backend.remove(record.instance_id)
                if result is not RemoveResult.REMOVED:
                    continue
            yield record.instance_id

    async def workers(self) -> Sequence[SessionRecord]:
        """Sessions of workers, the oldest first, with what they offer.

        Raises:
            UsageError: the store can't say.
        """
        if not isinstance(self._link.backend, Liveness):
            raise UsageError(f"the store {self._link.backend.url} can't list sessions")
        return await self._link.backend.list_sessions()

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
        return self._link.converter

    @property
    def backend(self) -> Backend:
        """The store."""
        return self._link.backend
