"""Middleware: one small protocol around what clients, workflows and activities do.

PYTEST_DONT_REWRITE
"""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable, Sequence
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeAlias, TypeVar

import msgspec

from ._conversion import DataConverter, Serializer

if TYPE_CHECKING:
    from typing_extensions import TypeForm

R = TypeVar("R")
T = TypeVar("T")

Kind: TypeAlias = Literal["workflow", "activity", "signal", "query", "update"]


class Outbound(msgspec.Struct):
    """Something that is about to leave a client or a workflow.

    Attributes:
        kind: what it asks for.
        name: of the workflow, activity or message.
        headers: bytes by name, stored with it and given to the receiving side; change them freely.
        instance_id: whom it goes to, or who is started; ``None`` where that is not chosen yet, and
            for activities.
    """

    kind: Kind
    name: str
    headers: dict[str, bytes]
    instance_id: str | None = None


class Inbound(msgspec.Struct, frozen=True):
    """Something that is about to run. Fields as for :class:`Outbound`.

    Attributes:
        instance_id: the instance in which, or for which, it runs.
    """

    kind: Kind
    name: str
    headers: dict[str, bytes]
    instance_id: str


class Middleware:
    """Override what you need. Given to workers and clients; the first one is the outermost.

    What concerns workflows runs within them, at each replay too: it must be deterministic and may
    use durable calls. A method that raises fails what it is around.
    """

    def outbound(self, call: Outbound) -> None:
        """Before something leaves: at the client, or from workflow code."""

    async def workflow(self, call: Inbound, proceed: Callable[[], Awaitable[Any]]) -> Any:
        """Around a workflow's function, inside the workflow. Returns its result."""
        return await proceed()

    async def activity(self, call: Inbound, proceed: Callable[[], Awaitable[Any]]) -> Any:
        """Around an attempt of an activity, in the worker. Returns its result."""
        return await proceed()

    def message(self, call: Inbound, proceed: Callable[[], Any]) -> Any:
        """Around a handler of signals, queries or updates, inside the workflow.

        Returns what the handler returns: for ``async def`` handlers the coroutine.
        """
        return proceed()


def outbound_headers(
    middleware: Sequence[Middleware], kind: Kind, name: str, instance_id: str | None = None
) -> dict[str, bytes]:
    """The headers that middleware sends along with something that leaves."""
    headers: dict[str, bytes] = {}
    if middleware:
        call = Outbound(kind, name, headers, instance_id)
        for one in middleware:
            one.outbound(call)
    return headers


def inside(
    layers: Sequence[Callable[[Inbound, Callable[[], R]], R]],
    call: Inbound,
    innermost: Callable[[], R],
) -> Callable[[], R]:
    """``innermost`` within the layers, of which the first is the outermost."""
    proceed = innermost
    for layer in reversed(layers):
        proceed = functools.partial(layer, call, proceed)
    return proceed


class Propagate(Middleware, Generic[T]):
    """Carries a context variable along with every call: client → workflow → activity → ….

    Args:
        variable: sent where it is set, set where it arrives.
        type: type of its value, by which it is stored.
        name: of the header; the variable's name by default.
        converter: applied to the value; plain JSON by default.
    """

    def __init__(
        self,
        variable: ContextVar[T],
        type: TypeForm[T],
        *,
        name: str | None = None,
        converter: DataConverter | None = None,
    ) -> None:
        self._variable = variable
        self._name = name if name is not None else variable.name
        chosen = converter if converter is not None else DataConverter()
        self._serializer: Serializer = chosen.serializer(type, f"context variable {self._name!r}")

    def outbound(self, call: Outbound) -> None:
        """See :meth:`Middleware.outbound`."""
        try:
            value = self._variable.get()
        except LookupError:
            return
        call.headers[self._name] = self._serializer.encode(value)

    async def workflow(self, call: Inbound, proceed: Callable[[], Awaitable[Any]]) -> Any:
        """See :meth:`Middleware.workflow`."""
        self._arrive(call)
        return await proceed()

    async def activity(self, call: Inbound, proceed: Callable[[], Awaitable[Any]]) -> Any:
        """See :meth:`Middleware.activity`."""
        self._arrive(call)
        return await proceed()

    def message(self, call: Inbound, proceed: Callable[[], Any]) -> Any:
        """See :meth:`Middleware.message`."""
        self._arrive(call)
        return proceed()

    def _arrive(self, call: Inbound) -> None:
        payload = call.headers.get(self._name)
        if payload is not None:
            self._variable.set(self._serializer.decode(payload))
