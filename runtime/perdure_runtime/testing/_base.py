"""What test environments have in common: a worker that learns what it needs, a client, stand-ins.

PYTEST_DONT_REWRITE
"""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType
from typing import Any, Final, ParamSpec, Self, TypeVar, cast, overload

from perdure import Activity, Call, DataConverter, Middleware, Signal, Workflow
from perdure_backends import Backend

from .._client import Client
from .._handle import Handle
from .._registry import activities_of
from .._services import Services
from .._worker import Worker
from ._discovery import reachable
from ._mocks import Mock

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")

CONVERTER: Final = DataConverter()
"""One for all, for what a signature is converted to is kept by converter."""


class EveryQueue(tuple[str, ...]):
    """The queues of a worker that serves all of them."""

    __slots__ = ()

    def __contains__(self, queue: object) -> bool:
        return True


class Definitions:
    """A worker with a client, and the definitions that it is given or finds.

    Args:
        backend: an open store.
        options: of the :class:`Worker`.
    """

    __test__ = False

    def __init__(
        self,
        backend: Backend,
        *,
        converter: DataConverter | None = None,
        middleware: Sequence[Middleware] = (),
        services: Services | None = None,
        **options: Any,
    ) -> None:
        converter = converter if converter is not None else CONVERTER
        self._worker = Worker(
            backend,
            build="test",
            converter=converter,
            middleware=middleware,
            services=services,
            **options,
        )
        self._client = Client(
            backend, converter=converter, middleware=middleware, services=services
        )
        self._known: set[int] = set()
        self._mocked: dict[int, Mock[Any, Any]] = {}

    async def __aenter__(self) -> Self:
        await self._worker.__aenter__()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._worker.__aexit__(exc_type, exc, traceback)

    @property
    def worker(self) -> Worker:
        """The worker."""
        return self._worker

    @property
    def client(self) -> Client:
        """The client."""
        return self._client

    async def run(self, workflow: Workflow[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Starts an instance and returns its result.

        Raises:
            WorkflowError: it ended without a result.
            ArgumentsError: the arguments do not fit.
        """
        handle = await self.start(workflow, *args, **kwargs)
        return await handle.result()

    async def start(self, workflow: Workflow[P, R], *args: P.args, **kwargs: P.kwargs) -> Handle[R]:
        """Starts an instance. Raises as :meth:`Client.start`."""
        self.learn(workflow)
        return await self._client.start(workflow, *args, **kwargs)

    async def signal_with_start(self, call: Call[R], signal: Signal[T], payload: T) -> Handle[R]:
        """See :meth:`Client.signal_with_start`."""
        target: object = call.target
        if isinstance(target, Workflow):
            self.learn(cast("Workflow[..., Any]", target))
        return await self._client.signal_with_start(call, signal, payload)

    def handle(self, instance_id: str, workflow: Workflow[P, R]) -> Handle[R]:
        """A handle by id: of a sub-workflow, say."""
        return self._client.handle(instance_id, workflow)

    def register(self, *definitions: object) -> None:
        """Gives the worker workflows, activities, or objects with activity methods.

        Raises:
            RegistrationError: one is not of these, or its types can't be converted.
        """
        for one in definitions:
            if isinstance(one, Workflow):
                self.learn(cast("Workflow[..., Any]", one))
                continue
            for found in activities_of(one):
                self._put(found)

    @overload
    def mock(self, original: Activity[P, R]) -> Mock[P, R]: ...
    @overload
    def mock(self, original: Workflow[P, R]) -> Mock[P, R]: ...
    def mock(self, original: Activity[P, R] | Workflow[P, R]) -> Mock[P, R]:
        """Puts a stand-in in the place of an activity or sub-workflow; asked again, the same one.

        ``env.mock(charge).returns(Receipt("r1"))``
        """
        definition = original.definition
        known = self._mocked.get(id(definition))
        if known is not None:
            return known
        mock = self._mocked[id(definition)] = Mock(original)
        self._known.add(id(definition))
        self._worker.put(mock.definition())
        return mock

    def learn(self, workflow: Workflow[..., Any]) -> None:
        """Has the worker know a workflow, and what its code reaches."""
        if id(workflow.definition) in self._known:
            return
        self._put(workflow)
        for found in reachable(workflow):
            self._put(found)

    def _put(self, definition: Activity[..., Any] | Workflow[..., Any]) -> None:
        if id(definition.definition) in self._known:
            return
        registry = self._worker.registry
        if isinstance(definition, Workflow):
            version = definition.definition.version
            taken = registry.has_workflow(definition.name, version)
        else:
            taken = registry.has_activity(definition.name)
        self._known.add(id(definition.definition))
        if not taken:
            self._worker.put(definition)
