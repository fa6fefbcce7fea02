"""Typed messages that both sides import: the workflow receives what a client sends.

PYTEST_DONT_REWRITE
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from ._context import current
from ._conversion import DataConverter, Serializer
from ._futures import SignalFuture
from ._names import check_name

if TYPE_CHECKING:
    from typing_extensions import TypeForm

T = TypeVar("T")


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
        self._serializers: dict[int, tuple[DataConverter, Serializer]] = {}

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
        found = self._serializers.get(id(converter))
        if found is None or found[0] is not converter:
            made = converter.serializer(self.type, f"signal {self.name!r}")
            found = self._serializers[id(converter)] = (converter, made)
        return found[1]

    def __repr__(self) -> str:
        return f"Signal({self.name!r})"
