"""Activities: functions with side effects, run by workers and recorded by workflows.

PYTEST_DONT_REWRITE
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Coroutine
from datetime import timedelta
from typing import (
    Any,
    Concatenate,
    Final,
    Generic,
    Literal,
    ParamSpec,
    TypeAlias,
    TypeVar,
    cast,
    overload,
)

import msgspec

from ._call import Call
from ._context import find_context
from ._duration import Duration, seconds
from ._errors import DefinitionError, InvalidOptionError, OutsideWorkflowError
from ._futures import ActivityFuture
from ._names import CATCH_ALL, check_name, check_queue, default_name
from ._retry import Retry
from ._signature import AnySignature, Signature, describe

P = ParamSpec("P")
Q = ParamSpec("Q")
R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)

Executor: TypeAlias = Literal["thread", "process"]
CancellationType: TypeAlias = Literal["try", "wait", "abandon"]


class ActivityOptions(msgspec.Struct, frozen=True):
    """How an activity is run. Durations are seconds or ``timedelta``.

    Attributes:
        queue: the queue whose workers run it; the workflow's own queue by default.
        retry: when to try again.
        start_to_close: longest time of one attempt; no limit by default.
        schedule_to_close: longest time of all attempts together; no limit by default.
        schedule_to_start: longest wait for a worker; no limit by default.
        heartbeat: longest time between two heartbeats; none are asked for by default.
        cancellation: what cancelling its future does: ``try`` cancels at once and sends the
            request, ``wait`` stays pending until it is confirmed, ``abandon`` sends nothing.
        priority: of the activities that wait in a queue, the greatest priority goes first.
        local: run it in the workflow's own worker, within the turn, without the queue: for short
            calls. Nothing is recorded until all local calls of the turn have ended, so a crash
            repeats them. Of the time-outs only ``start_to_close`` holds.
    """

    queue: str | None = None
    retry: Retry = Retry()
    start_to_close: Duration | None = None
    schedule_to_close: Duration | None = None
    schedule_to_start: Duration | None = None
    heartbeat: Duration | None = None
    cancellation: CancellationType = "try"
    priority: int = 0
    local: bool = False

    def __post_init__(self) -> None:
        if self.local and self.queue is not None:
            raise InvalidOptionError(
                "a local activity goes through no queue: give one or the other"
            )
        if self.queue is not None:
            check_queue(self.queue)
        if self.cancellation not in ("try", "wait", "abandon"):
            raise InvalidOptionError(
                f"cancellation is 'try', 'wait' or 'abandon', not {self.cancellation!r}"
            )
        for field in ("start_to_close", "schedule_to_close", "schedule_to_start", "heartbeat"):
            value: float | timedelta | None = getattr(self, field)
            if value is not None and seconds(value, field) == 0:
                raise InvalidOptionError(f"{field} must be longer than 0")


class ActivityDefinition(msgspec.Struct, frozen=True, eq=False):
    """What ``@activity`` found out about a function; shared by all option variants."""

    name: str
    function: Callable[..., Any]
    signature: Signature
    is_async: bool
    executor: Executor
    implemented: bool
    aliases: tuple[str, ...]


class Activity(Generic[P, R_co]):
    """A typed activity. Calling it inside a workflow schedules it and returns its future."""

    def __init__(
        self, definition: ActivityDefinition, options: ActivityOptions, receiver: object = None
    ) -> None:
        self.definition = definition
        self.default_options = options
        self.receiver = receiver
        self.__doc__ = definition.function.__doc__
        self.__name__ = definition.function.__name__
        self.__qualname__ = definition.function.__qualname__
        self.__module__ = definition.function.__module__
        self.__wrapped__ = definition.function

    @property
    def name(self) -> str:
        """The name under which it is registered and recorded."""
        return self.definition.name

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> ActivityFuture[R_co]:
        """Schedules the activity. Arguments are encoded now; later mutation has no effect.

        Raises:
            OutsideWorkflowError: no workflow runs here.
            ArgumentsError: the arguments do not fit the signature.
        """
        context = find_context()
        if context is None:
            raise OutsideWorkflowError(
                f"activity {self.name!r} was called outside a workflow, where there is no history "
                f"to record it; call `{self.__name__}.fn(...)` for the plain function"
            )
        return context.schedule_activity(self, args, kwargs)

    def options(
        self,
        *,
        queue: str | None = None,
        retry: Retry | None = None,
        start_to_close: Duration | None = None,
        schedule_to_close: Duration | None = None,
        schedule_to_start: Duration | None = None,
        heartbeat: Duration | None = None,
        cancellation: CancellationType | None = None,
        priority: int | None = None,
        local: bool | None = None,
    ) -> Activity[P, R_co]:
        """The same activity with other options; what is ``None`` stays as it is."""
        given = {
            "queue": queue,
            "retry": retry,
            "start_to_close": start_to_close,
            "schedule_to_close": schedule_to_close,
            "schedule_to_start": schedule_to_start,
            "heartbeat": heartbeat,
            "cancellation": cancellation,
            "priority": priority,
            "local": local,
        }
        changed = {key: value for key, value in given.items() if value is not None}
        options = msgspec.structs.replace(self.default_options, **cast("dict[str, Any]", changed))
        changed_activity: Activity[P, R_co] = self._variant(options, self.receiver)
        return changed_activity

    def bind(self, *args: P.args, **kwargs: P.kwargs) -> Call[R_co]:
        """The call as a value, for later.

        Raises:
            ArgumentsError: the arguments do not fit the signature.
        """
        return Call(self, self.definition.signature.bind(args, kwargs))

    def __get__(
        self: Activity[Concatenate[Any, Q], R_co], instance: object, owner: Any = None
    ) -> Activity[Q, R_co]:
        """Binds an activity that is a method, through its class or through an instance."""
        return cast("Activity[Q, R_co]", self._variant(self.default_options, instance))

    def _variant(self, options: ActivityOptions, receiver: object) -> Any:
        return type(self)(self.definition, options, receiver)

    def _plain(self) -> Callable[..., Any]:
        if self.receiver is not None:
            bound: Callable[..., Any] = self.definition.function.__get__(self.receiver)
            return bound
        return self.definition.function

    def __repr__(self) -> str:
        return f"<activity {self.name!r}>"


class AsyncActivity(Activity[P, R_co]):
    """An activity whose function is ``async def``; it runs on the worker's event loop."""

    @property
    def fn(self) -> Callable[P, Coroutine[Any, Any, R_co]]:
        """The plain function."""
        return self._plain()

    def __get__(
        self: AsyncActivity[Concatenate[Any, Q], R_co], instance: object, owner: Any = None
    ) -> AsyncActivity[Q, R_co]:
        return cast("AsyncActivity[Q, R_co]", self._variant(self.default_options, instance))


class SyncActivity(Activity[P, R_co]):
    """An activity whose function is a plain ``def``; it runs in a thread or process pool."""

    @property
    def fn(self) -> Callable[P, R_co]:
        """The plain function."""
        return self._plain()

    def __get__(
        self: SyncActivity[Concatenate[Any, Q], R_co], instance: object, owner: Any = None
    ) -> SyncActivity[Q, R_co]:
        return cast("SyncActivity[Q, R_co]", self._variant(self.default_options, instance))


class _Decorator:
    """``@activity`` with options."""

    def __init__(self, build: Callable[[Callable[..., Any]], Activity[..., Any]]) -> None:
        self._build = build

    # A coroutine function is also a plain callable: the overlap is what the order resolves.
    @overload
    def __call__(  # type: ignore[overload-overlap]  # see above
        self,
        function: Callable[P, Coroutine[Any, Any, R]],  # pyright: ignore[reportOverlappingOverload]
        /,
    ) -> AsyncActivity[P, R]: ...
    @overload
    def __call__(self, function: Callable[P, R], /) -> SyncActivity[P, R]: ...
    def __call__(self, function: Callable[..., Any], /) -> Activity[..., Any]:
        return self._build(function)


class ActivityDecorator:
    """The type of :data:`activity`."""

    @overload
    def __call__(  # type: ignore[overload-overlap]  # as above
        self,
        function: Callable[P, Coroutine[Any, Any, R]],  # pyright: ignore[reportOverlappingOverload]
        /,
    ) -> AsyncActivity[P, R]: ...
    @overload
    def __call__(self, function: Callable[P, R], /) -> SyncActivity[P, R]: ...
    @overload
    def __call__(
        self,
        /,
        *,
        name: str | None = None,
        aliases: tuple[str, ...] = (),
        executor: Executor = "thread",
        queue: str | None = None,
        retry: Retry = ...,
        start_to_close: Duration | None = None,
        schedule_to_close: Duration | None = None,
        schedule_to_start: Duration | None = None,
        heartbeat: Duration | None = None,
        cancellation: CancellationType = "try",
        priority: int = 0,
        local: bool = False,
    ) -> _Decorator: ...
    def __call__(
        self,
        function: Callable[..., Any] | None = None,
        /,
        *,
        name: str | None = None,
        aliases: tuple[str, ...] = (),
        executor: Executor = "thread",
        **options: Any,
    ) -> Any:
        """Makes a function an activity, bare or with options (see :class:`ActivityOptions`).

        Args:
            name: registered name; the qualified name without the module by default.
            aliases: earlier names under which old histories may ask for it.
            executor: where a plain ``def`` runs: ``thread`` or ``process``.

        Raises:
            DefinitionError: an annotation is missing, or the function is no activity by its form.
            InvalidOptionError: an option is out of range.
        """
        resolved = ActivityOptions(**options)
        if name is not None:
            check_name(name)

        def build(target: Callable[..., Any]) -> Activity[..., Any]:
            return _build(target, name, aliases, executor, resolved, implemented=True)

        return build(function) if function is not None else _Decorator(build)

    @overload
    def declare(  # type: ignore[overload-overlap]  # as above
        self,
        function: Callable[P, Coroutine[Any, Any, R]],  # pyright: ignore[reportOverlappingOverload]
        /,
    ) -> AsyncActivity[P, R]: ...
    @overload
    def declare(self, function: Callable[P, R], /) -> SyncActivity[P, R]: ...
    @overload
    def declare(self, /, *, name: str | None = None, queue: str | None = None) -> _Decorator: ...
    def declare(
        self,
        function: Callable[..., Any] | None = None,
        /,
        *,
        name: str | None = None,
        queue: str | None = None,
    ) -> Any:
        """Declares an activity that another process implements; the body is ``...``."""

        def build(target: Callable[..., Any]) -> Activity[..., Any]:
            options = ActivityOptions(queue=queue)
            return _build(target, name, (), "thread", options, implemented=False)

        return build(function) if function is not None else _Decorator(build)

    def dynamic(
        self, function: Callable[[list[Any]], Coroutine[Any, Any, Any]], /
    ) -> AsyncActivity[..., Any]:
        """Makes an ``async def`` the catch-all of a worker: it runs every activity without another.

        It gets the arguments as one list of plain JSON data; ``activity_info().activity`` says
        what was called.
        """
        return cast(
            "AsyncActivity[..., Any]",
            _build(
                function, CATCH_ALL, (), "thread", ActivityOptions(), implemented=True, any=True
            ),
        )

    def named(self, name: str) -> AsyncActivity[..., Any]:
        """An activity of which only the name is known: untyped, arguments and result plain JSON."""
        return cast(
            "AsyncActivity[..., Any]",
            _build(_by_name, name, (), "thread", ActivityOptions(), implemented=False, any=True),
        )


async def _by_name(arguments: list[Any]) -> Any:
    raise NotImplementedError(arguments)


def _build(
    function: Callable[..., Any],
    name: str | None,
    aliases: tuple[str, ...],
    executor: Executor,
    options: ActivityOptions,
    *,
    implemented: bool,
    any: bool = False,
) -> Activity[..., Any]:
    if not inspect.isfunction(function):
        raise DefinitionError(
            f"@activity takes a function, not {function!r}; under @staticmethod or @classmethod, "
            "put @activity inside"
        )
    if inspect.isasyncgenfunction(function) or inspect.isgeneratorfunction(function):
        raise DefinitionError(
            f"activity {describe(function)} is a generator; return a list, or split the work"
        )
    is_async = inspect.iscoroutinefunction(function)
    if executor not in ("thread", "process"):
        raise InvalidOptionError(f"executor is 'thread' or 'process', not {executor!r}")
    if executor == "process" and is_async:
        raise DefinitionError(
            f"activity {describe(function)} is `async def` and can't run in a process pool; "
            "write it as a plain `def`"
        )
    method = _is_method(function)
    signature = (AnySignature if any else Signature)(function, "activity", method=method)
    if executor == "process" and signature.injected:
        raise DefinitionError(
            f"activity {describe(function)} runs in another process, which has none of the "
            "worker's resources"
        )
    definition = ActivityDefinition(
        name=check_name(name if name is not None else default_name(function)),
        function=function,
        signature=signature,
        is_async=is_async,
        executor=executor,
        implemented=implemented,
        aliases=tuple(check_name(alias) for alias in aliases),
    )
    return (AsyncActivity if is_async else SyncActivity)(definition, options)


def _is_method(function: Callable[..., Any]) -> bool:
    """Whether the function was defined in a class body and takes ``self``."""
    outer = function.__qualname__.rpartition(".")[0]
    in_class = bool(outer) and not outer.endswith("<locals>")
    parameters = list(inspect.signature(function).parameters)
    return in_class and bool(parameters) and parameters[0] == "self"


activity: Final = ActivityDecorator()
