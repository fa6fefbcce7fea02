"""Workflows: ``async def`` functions whose awaits are recorded.

PYTEST_DONT_REWRITE
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Coroutine
from typing import (
    Any,
    Final,
    Generic,
    Literal,
    NoReturn,
    ParamSpec,
    TypeAlias,
    TypeVar,
    cast,
    overload,
)

import msgspec

from ._call import Call
from ._context import current, find_context
from ._duration import Duration, seconds
from ._errors import ContinueAsNew, DefinitionError, InvalidOptionError, OutsideWorkflowError
from ._futures import WorkflowFuture
from ._names import CATCH_ALL, check_id, check_name, check_queue, default_name
from ._retry import Retry
from ._signature import AnySignature, Signature, describe

P = ParamSpec("P")
R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)

RunningPolicy: TypeAlias = Literal["error", "use_existing", "replace"]
FinishedPolicy: TypeAlias = Literal["allow", "reject"]
MismatchPolicy: TypeAlias = Literal["park", "fail", "retry"]
ParentClosePolicy: TypeAlias = Literal["terminate", "cancel", "abandon"]
HandlerPolicy: TypeAlias = Literal["wait", "warn", "abandon"]


class WorkflowOptions(msgspec.Struct, frozen=True):
    """How an instance is started. Durations are seconds or ``timedelta``.

    Attributes:
        id: the instance's id; a random one by default.
        queue: the queue whose workers run it; ``default``, or the parent's, by default.
        run_timeout: longest life of one run; no limit by default.
        if_running: what a start does while the id is in use: ``error``, ``use_existing``
            (returns the running one) or ``replace`` (terminates it first).
        if_finished: what a start does when the id was used by a finished instance: ``allow``
            or ``reject``.
        on_mismatch: what happens when code and history disagree: ``park`` (kept, reported, and
            continued by fitting code), ``fail`` or ``retry``; the worker's choice by default.
        parent_close: what happens to a sub-workflow when its parent ends first: ``cancel``
            (default: it may clean up), ``terminate`` or ``abandon``.
        retry: of a sub-workflow: when a failed one is started again; never by default.
        unfinished_handlers: what a workflow that returns (or continues as new) does with handlers
            of signals and updates that still run: ``wait`` for them (default), ``warn`` and leave
            them, or ``abandon`` them. One that fails or is cancelled leaves them in any case.
    """

    id: str | None = None
    queue: str | None = None
    run_timeout: Duration | None = None
    if_running: RunningPolicy = "error"
    if_finished: FinishedPolicy = "allow"
    on_mismatch: MismatchPolicy | None = None
    parent_close: ParentClosePolicy = "cancel"
    retry: Retry | None = None
    unfinished_handlers: HandlerPolicy = "wait"

    def __post_init__(self) -> None:
        if self.id is not None:
            check_id(self.id)
        if self.queue is not None:
            check_queue(self.queue)
        if self.run_timeout is not None and seconds(self.run_timeout, "run_timeout") == 0:
            raise InvalidOptionError("run_timeout must be longer than 0")
        _choice("if_running", self.if_running, ("error", "use_existing", "replace"))
        _choice("if_finished", self.if_finished, ("allow", "reject"))
        _choice("on_mismatch", self.on_mismatch, (None, "park", "fail", "retry"))
        _choice("parent_close", self.parent_close, ("terminate", "cancel", "abandon"))
        _choice("unfinished_handlers", self.unfinished_handlers, ("wait", "warn", "abandon"))


def _choice(name: str, value: object, allowed: tuple[str | None, ...]) -> None:
    if value not in allowed:
        raise InvalidOptionError(f"{name} is one of {', '.join(map(repr, allowed))}, not {value!r}")


class WorkflowDefinition(msgspec.Struct, frozen=True, eq=False):
    """What ``@workflow`` found out about a function; shared by all option variants."""

    name: str
    version: int
    function: Callable[..., Coroutine[Any, Any, Any]]
    signature: Signature
    implemented: bool
    aliases: tuple[str, ...]


class Workflow(Generic[P, R_co]):
    """A typed workflow. Started by a client, or called inside a workflow as a sub-workflow."""

    def __init__(self, definition: WorkflowDefinition, options: WorkflowOptions) -> None:
        self.definition = definition
        self.default_options = options
        self.__doc__ = definition.function.__doc__
        self.__name__ = definition.function.__name__
        self.__qualname__ = definition.function.__qualname__
        self.__module__ = definition.function.__module__
        self.__wrapped__ = definition.function

    @property
    def name(self) -> str:
        """The name under which it is registered and recorded."""
        return self.definition.name

    @property
    def fn(self) -> Callable[P, Coroutine[Any, Any, R_co]]:
        """The plain function."""
        return self.definition.function

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> WorkflowFuture[R_co]:
        """Starts a sub-workflow and returns the future of its result.

        Raises:
            OutsideWorkflowError: no workflow runs here.
            ArgumentsError: the arguments do not fit the signature.
        """
        context = find_context()
        if context is None:
            raise OutsideWorkflowError(
                f"workflow {self.name!r} was called outside a workflow; start it with "
                f"`await client.start({self.__name__}, ...)`, or call `{self.__name__}.fn(...)` "
                "for the plain function"
            )
        return context.start_child(self, args, kwargs)

    def options(
        self,
        *,
        id: str | None = None,
        queue: str | None = None,
        run_timeout: Duration | None = None,
        if_running: RunningPolicy | None = None,
        if_finished: FinishedPolicy | None = None,
        on_mismatch: MismatchPolicy | None = None,
        parent_close: ParentClosePolicy | None = None,
        retry: Retry | None = None,
    ) -> Workflow[P, R_co]:
        """The same workflow with other options; what is ``None`` stays as it is."""
        given: dict[str, Any] = {
            "id": id,
            "queue": queue,
            "run_timeout": run_timeout,
            "if_running": if_running,
            "if_finished": if_finished,
            "on_mismatch": on_mismatch,
            "parent_close": parent_close,
            "retry": retry,
        }
        changed = {key: value for key, value in given.items() if value is not None}
        return Workflow(self.definition, msgspec.structs.replace(self.default_options, **changed))

    def bind(self, *args: P.args, **kwargs: P.kwargs) -> Call[R_co]:
        """The call as a value, for later starts.

        Raises:
            ArgumentsError: the arguments do not fit the signature.
        """
        return Call(self, self.definition.signature.bind(args, kwargs))

    def continue_as_new(self, *args: P.args, **kwargs: P.kwargs) -> NoReturn:
        """Ends this run and starts the next one, with a fresh history, under the same id.

        Messages that were not read yet move to the new run. ``except Exception`` does not stop
        it; code after the call does not run.
        """
        context = current("continue_as_new()")
        raise ContinueAsNew(self, context.encode_input(self, args, kwargs))

    def __repr__(self) -> str:
        return f"<workflow {self.name!r} version {self.definition.version}>"


class _Decorator:
    def __init__(self, build: Callable[[Callable[..., Any]], Workflow[..., Any]]) -> None:
        self._build = build

    def __call__(self, function: Callable[P, Coroutine[Any, Any, R]], /) -> Workflow[P, R]:
        made: Workflow[P, Any] = cast("Workflow[P, Any]", self._build(function))
        return made


class WorkflowDecorator:
    """The type of :data:`workflow`."""

    @overload
    def __call__(self, function: Callable[P, Coroutine[Any, Any, R]], /) -> Workflow[P, R]: ...
    @overload
    def __call__(
        self,
        /,
        *,
        name: str | None = None,
        version: int = 1,
        aliases: tuple[str, ...] = (),
        queue: str | None = None,
        run_timeout: Duration | None = None,
        on_mismatch: MismatchPolicy | None = None,
        parent_close: ParentClosePolicy = "cancel",
        retry: Retry | None = None,
        unfinished_handlers: HandlerPolicy = "wait",
    ) -> _Decorator: ...
    def __call__(
        self,
        function: Callable[..., Any] | None = None,
        /,
        *,
        name: str | None = None,
        version: int = 1,
        aliases: tuple[str, ...] = (),
        **options: Any,
    ) -> Any:
        """Makes an ``async def`` a workflow, bare or with options.

        Args:
            name: registered name; the qualified name without the module by default.
            version: stored with each instance at its start; workers offer the versions they have.
            aliases: earlier names under which instances may have been started.
            options: see :class:`WorkflowOptions`.

        Raises:
            DefinitionError: not an ``async def``, or an annotation is missing.
            InvalidOptionError: an option is out of range.
        """
        resolved = WorkflowOptions(**options)

        def build(target: Callable[..., Any]) -> Workflow[..., Any]:
            return _build(target, name, version, aliases, resolved, implemented=True)

        return build(function) if function is not None else _Decorator(build)

    @overload
    def declare(self, function: Callable[P, Coroutine[Any, Any, R]], /) -> Workflow[P, R]: ...
    @overload
    def declare(
        self, /, *, name: str | None = None, version: int = 1, queue: str | None = None
    ) -> _Decorator: ...
    def declare(
        self,
        function: Callable[..., Any] | None = None,
        /,
        *,
        name: str | None = None,
        version: int = 1,
        queue: str | None = None,
    ) -> Any:
        """Declares a workflow that another process implements; the body is ``...``."""

        def build(target: Callable[..., Any]) -> Workflow[..., Any]:
            options = WorkflowOptions(queue=queue)
            return _build(target, name, version, (), options, implemented=False)

        return build(function) if function is not None else _Decorator(build)

    def dynamic(
        self, function: Callable[[list[Any]], Coroutine[Any, Any, Any]], /
    ) -> Workflow[..., Any]:
        """Makes an ``async def`` the catch-all of a worker: it runs every workflow without another.

        It gets the arguments as one list of plain JSON data; ``info().workflow`` and
        ``info().version`` say what was started.
        """
        return _build(function, CATCH_ALL, 1, (), WorkflowOptions(), implemented=True, any=True)

    def named(self, name: str, *, version: int = 1) -> Workflow[..., Any]:
        """A workflow of which only the name is known: untyped, arguments and result plain JSON."""
        return _build(_by_name, name, version, (), WorkflowOptions(), implemented=False, any=True)


async def _by_name(arguments: list[Any]) -> Any:
    raise NotImplementedError(arguments)


def _build(
    function: Callable[..., Any],
    name: str | None,
    version: int,
    aliases: tuple[str, ...],
    options: WorkflowOptions,
    *,
    implemented: bool,
    any: bool = False,
) -> Workflow[..., Any]:
    if not inspect.isfunction(function) or not inspect.iscoroutinefunction(function):
        raise DefinitionError(f"@workflow takes an `async def` function, not {function!r}")
    if version < 1:
        raise InvalidOptionError(f"version must be 1 or more, not {version}")
    definition = WorkflowDefinition(
        name=check_name(name if name is not None else default_name(function)),
        version=version,
        function=function,
        signature=(AnySignature if any else Signature)(function, "workflow", method=False),
        implemented=implemented,
        aliases=tuple(check_name(alias) for alias in aliases),
    )
    if definition.signature.parameters[:1] and definition.signature.parameters[0].name == "self":
        raise DefinitionError(
            f"workflow {describe(function)} takes `self`; workflows are plain functions, their "
            "state lives in local variables"
        )
    return Workflow(definition, options)


workflow: Final = WorkflowDecorator()
