"""What a client and its handles share: the store, the converter, and what is sent together.

PYTEST_DONT_REWRITE
"""

from __future__ import annotations

from collections.abc import Sequence

from perdure import (
    DataConverter,
    InstanceError,
    InstanceFinishedError,
    InstanceNotFoundError,
    Middleware,
    UnsupportedInWorkflowError,
)
from perdure.extension import Kind, outbound_headers
from perdure_backends import Backend
from perdure_backends import history as h
from perdure_backends.records import (
    ActivityResult,
    Heartbeat,
    HeartbeatResult,
    Message,
    QueryRequest,
    SendResult,
    StartOutcome,
    StartRequest,
)

from ._batcher import Batcher
from ._results import ResultWatcher
from ._services import Services
from ._telemetry import Telemetry


class Link:
    """See :class:`perdure_runtime.Client` for the arguments; ``patience`` in seconds."""

    def __init__(
        self,
        backend: Backend,
        converter: DataConverter,
        middleware: Sequence[Middleware],
        services: Services,
        patience: float,
        telemetry: Telemetry,
    ) -> None:
        self.backend = backend
        self.converter = converter
        self.middleware = tuple(middleware)
        self.services = services
        self.telemetry = telemetry
        self.starts: Batcher[StartRequest, StartOutcome] = Batcher(backend.start, patience=patience)
        self.sends: Batcher[Message, SendResult] = Batcher(backend.send, patience=patience)
        self.asks: Batcher[QueryRequest, SendResult] = Batcher(backend.ask, patience=patience)
        self.settles: Batcher[ActivityResult, bool] = Batcher(backend.settle, patience=patience)
        self.beats: Batcher[Heartbeat, HeartbeatResult] = Batcher(
            backend.heartbeat, patience=patience
        )
        self.results = ResultWatcher(backend)

    def new_id(self) -> str:
        """A fresh id."""
        return self.services.new_id()

    def headers(self, kind: Kind, name: str, instance_id: str) -> dict[str, bytes]:
        """What middleware and telemetry send along."""
        headers = outbound_headers(self.middleware, kind, name, instance_id)
        self.telemetry.inject(headers)
        return headers

    async def send(self, instance_id: str, event: h.Event, message_id: str) -> None:
        """Sends a message to an instance.

        Raises:
            InstanceNotFoundError, InstanceFinishedError, InstanceError: it was not accepted.
        """
        refuse_inside_workflows("signal()")
        message = Message(
            instance_id=instance_id, message_id=message_id, entry=h.encode_event(event)
        )
        self.check_sent(instance_id, await self.sends.call(message))

    def check_sent(self, instance_id: str, result: SendResult) -> None:
        """Raises unless a message was accepted."""
        if result is SendResult.NOT_FOUND:
            raise not_found(instance_id)
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


def not_found(instance_id: str) -> InstanceNotFoundError:
    """The error for an id that nobody has."""
    return InstanceNotFoundError(
        f"there is no instance with id {instance_id!r}", instance_id=instance_id
    )


def refuse_inside_workflows(what: str) -> None:
    """Clients do I/O: they are not for workflow code.

    Raises:
        UnsupportedInWorkflowError: a workflow runs here.
    """
    from perdure._context import find_context

    if find_context() is not None:
        raise UnsupportedInWorkflowError(
            f"client.{what} was called inside a workflow; call the sub-workflow, send with "
            "Signal.send(), or use the client in an activity"
        )
