"""Typed messages that both sides import: the workflow receives what a client sends.

PYTEST_DONT_REWRITE
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, Generic, TypeVar, overload

from ._context import current
from ._conversion import DataConverter, Serializer
from ._futures import SignalFuture
from ._names import check_name

if TYPE_CHECKING:
    from typing_extensions import TypeForm

A = TypeVar("A")
H = TypeVar("H")
# Covariant although handlers take it: `print(f"{await handle.query(progress)}")` asks for a
# Query[object] in mypy's eyes, and what a handler returns is checked against the query itself.
R_co = TypeVar("R_co", covariant=True)
T = TypeVar("T")


class _Serializers:
    """One type's serializers, by converter."""

    def __init__(self) -> None:
        self._made: dict[int, tuple[DataConverter, Serializer]] = {}

    def serializer(self, converter: DataConverter, type: Any, what: str) -> Serializer:
        found = self._made.get(id(converter))
        if found is None or found[0] is not converter:
            made = converter.serializer(type, what)
            found = self._made[id(converter)] = (converter, made)
        return found[1]


class Signal(Generic[T]):
    """A message from anywhere to a workflow: ``approval = Signal("approval", Approval)``.

    Signals are kept in the order in which the store accepted them, none is dropped, and it does
    not matter whether the workflow listened when they came.

    Args:
        name: what identifies it in histories.
        type: type of its payload; any type expression, ``int | None`` too.
    """

    def __init__(self, name: str, type: TypeForm[T]) -> None:
        self.name = check_name(name)
        self.type: Any = type
        self._types = _Serializers()

    async def receive(self) -> T:
        """Waits for the next one, inside a workflow.

        Raises:
            OutsideWorkflowError: no workflow runs here.
        """
        value: T = await current(f"{self!r}.receive()").receive(self)
        return value

    def receive_nowait(self) -> T:
        """The next one, if it is there already.

        Raises:
            asyncio.QueueEmpty: none is there.
            OutsideWorkflowError: no workflow runs here.
        """
        value: T = current(f"{self!r}.receive_nowait()").receive_nowait(self)
        return value

    def handler(
        self, function: Callable[[T], Coroutine[Any, Any, None] | None]
    ) -> Callable[[T], Coroutine[Any, Any, None] | None]:
        """Registers ``function`` for each one, those that wait already first, inside a workflow.

        A coroutine function runs as a task of its own for each signal.
        """
        current(f"{self!r}.handler").on_signal(self, function)
        return function

    def send(self, instance_id: str, payload: T) -> SignalFuture:
        """Sends it to another instance, inside a workflow; the future is done when accepted.

        Awaiting the future raises :class:`SignalError` when there is no such running instance.
        """
        return current(f"{self!r}.send()").send_signal(self, instance_id, payload)

    def serializer(self, converter: DataConverter) -> Serializer:
        """The payload's serializer under a converter (made once).

        Raises:
            RegistrationError: the type can't be converted.
        """
        return self._types.serializer(converter, self.type, f"signal {self.name!r}")

    def __repr__(self) -> str:
        return f"Signal({self.name!r})"


def any_signal_handler(function: Callable[[str, Any], H]) -> Callable[[str, Any], H]:
    """Registers ``function(name, payload)`` for all signals without a handler of their own.

    Payloads are plain JSON data. Signals that wait already come first; those that ``receive()``
    waits for go there.
    """
    current("any_signal_handler").on_any_signal(function)
    return function


class AnyQuery(Generic[R_co]):
    """What queries have in common."""

    takes_argument = False

    def __init__(self, name: str, argument: Any, type: Any) -> None:
        self.name = check_name(name)
        self.type = type
        self.argument_type = argument
        self._types = _Serializers()
        self._arguments = _Serializers()

    def serializer(self, converter: DataConverter) -> Serializer:
        """The answer's serializer under a converter (made once)."""
        return self._types.serializer(converter, self.type, f"answer to {self.name!r}")

    def argument_serializer(self, converter: DataConverter) -> Serializer:
        """The argument's serializer under a converter (made once)."""
        what = f"argument of {self.name!r}"
        return self._arguments.serializer(converter, self.argument_type, what)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name!r})"


class Query(AnyQuery[R_co]):
    """A question to an instance: ``progress = Query("progress", int)``.

    Answered by the function that the workflow registers with ``@progress.handler``, from the
    state after the last committed turn, on finished instances too. The function must not change
    anything; what schedules, waits or mutates is refused.

    Args:
        name: what identifies it.
        type: type of the answer.
    """

    def __init__(self, name: str, type: TypeForm[R_co]) -> None:
        super().__init__(name, None, type)

    def handler(self, function: Callable[[], R_co]) -> Callable[[], R_co]:
        """Registers the function that answers, inside a workflow, before its first ``await``."""
        current(f"{self!r}.handler").on_query(self, function)
        return function


class QueryWith(AnyQuery[R_co], Generic[A, R_co]):
    """A query with an argument: ``stock = QueryWith("stock", str, int)``.

    Args:
        name: what identifies it.
        argument: type of the argument.
        type: type of the answer.
    """

    takes_argument = True

    def __init__(self, name: str, argument: TypeForm[A], type: TypeForm[R_co]) -> None:
        super().__init__(name, argument, type)

    def handler(self, function: Callable[[A], R_co]) -> Callable[[A], R_co]:
        """See :meth:`Query.handler`; the function gets the argument."""
        current(f"{self!r}.handler").on_query(self, function)
        return function


class Update(Generic[A, R_co]):
    """A request that an instance carries out: ``price = Update("price", Price, Receipt)``.

    Validated before it is accepted, answered with a result or a typed failure, and carried out
    once for each update id. A refused one leaves no trace in the history.

    Args:
        name: what identifies it.
        argument: type of its argument.
        result: type of its result.
    """

    def __init__(self, name: str, argument: TypeForm[A], result: TypeForm[R_co]) -> None:
        self.name = check_name(name)
        self.argument_type: Any = argument
        self.result_type: Any = result
        self._arguments = _Serializers()
        self._results = _Serializers()

    @overload
    def handler(
        self, function: Callable[[A], Coroutine[Any, Any, R_co]]
    ) -> Callable[[A], Coroutine[Any, Any, R_co]]: ...
    @overload
    def handler(self, function: Callable[[A], R_co]) -> Callable[[A], R_co]: ...
    def handler(self, function: Callable[[A], Any]) -> Callable[[A], Any]:
        """Registers the function that carries it out, before the workflow's first ``await``.

        A coroutine function runs as a task of its own and may do all that the workflow may.
        """
        current(f"{self!r}.handler").on_update(self, function)
        return function

    def validator(self, function: Callable[[A], None]) -> Callable[[A], None]:
        """Registers a check: what it raises refuses the update. It must not change anything."""
        current(f"{self!r}.validator").validate_update(self, function)
        return function

    def argument_serializer(self, converter: DataConverter) -> Serializer:
        """The argument's serializer under a converter (made once)."""
        what = f"update {self.name!r}"
        return self._arguments.serializer(converter, self.argument_type, what)

    def result_serializer(self, converter: DataConverter) -> Serializer:
        """The result's serializer under a converter (made once)."""
        what = f"result of {self.name!r}"
        return self._results.serializer(converter, self.result_type, what)

    def __repr__(self) -> str:
        return f"Update({self.name!r})"
