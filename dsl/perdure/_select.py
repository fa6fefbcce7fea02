"""Waiting for the first of several things, in the order in which they are given.

PYTEST_DONT_REWRITE
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar, cast, overload

from ._channels import Channel
from ._context import current
from ._errors import UsageError
from ._messages import Signal
from ._timers import ResettableTimer

T = TypeVar("T")
R = TypeVar("R")
D = TypeVar("D")
R_co = TypeVar("R_co", covariant=True)

if TYPE_CHECKING:  # building the union costs more than all the rest of this module
    Source = Awaitable[T] | Signal[T] | Channel[T] | asyncio.Queue[T]


class Case(Generic[R_co]):
    """One thing that :func:`select` may take; made by :func:`case` and :func:`sending`."""

    __slots__ = ("handler", "ready", "signal", "take")

    def __init__(
        self,
        ready: Callable[[], bool],
        take: Callable[[], Any],
        handler: Callable[[Any], R_co] | None,
        signal: Signal[Any] | None = None,
    ) -> None:
        self.ready = ready
        self.take = take
        self.handler = handler
        self.signal = signal

    def run(self) -> R_co:
        """Takes the value and gives it to the handler, if there is one."""
        value = self.take()
        return cast("R_co", value) if self.handler is None else self.handler(value)


@overload
def case(source: Source[T], handler: Callable[[T], R]) -> Case[R]: ...
@overload
def case(source: Source[T]) -> Case[T]: ...
@overload
def case(source: ResettableTimer, handler: Callable[[None], R]) -> Case[R]: ...
@overload
def case(source: ResettableTimer) -> Case[None]: ...
def case(
    source: Source[Any] | ResettableTimer, handler: Callable[[Any], Any] | None = None
) -> Case[Any]:
    """A case of :func:`select`: ``case(approval, on_approval)``.

    Args:
        source: a durable call, future, task or coroutine (ready when it is done), a
            :class:`Signal`, :class:`Channel` or ``asyncio.Queue`` (ready when it has something),
            or a :class:`ResettableTimer`.
        handler: gets the value; what it returns is what ``select`` returns. Without one, the value
            itself is.
    """
    if isinstance(source, Signal):
        context = current("case()")
        return Case(
            lambda: context.signal_waits(source), source.receive_nowait, handler, signal=source
        )
    if isinstance(source, Channel):
        return Case(source.can_receive, source.receive_nowait, handler)
    if isinstance(source, asyncio.Queue):
        return Case(lambda: not source.empty(), source.get_nowait, handler)
    if isinstance(source, ResettableTimer):
        return Case(lambda: source.fired, lambda: None, handler)
    future: asyncio.Future[Any] = asyncio.ensure_future(source)
    return Case(future.done, future.result, handler)


@overload
def sending(channel: Channel[T], value: T, handler: Callable[[], R]) -> Case[R]: ...
@overload
def sending(channel: Channel[T], value: T) -> Case[None]: ...
def sending(
    channel: Channel[Any], value: Any, handler: Callable[[], Any] | None = None
) -> Case[Any]:
    """A case of :func:`select` that sends: ready when the channel takes the value at once.

    On a channel without capacity somebody must wait in ``receive()``; two selects don't meet.
    """
    return Case(
        channel.can_send,
        lambda: channel.send_nowait(value),
        None if handler is None else lambda _: handler(),
    )


class _NoDefault:
    pass


_NO_DEFAULT: Final = _NoDefault()


@overload
async def select(*cases: Case[R]) -> R: ...
@overload
async def select(*cases: Case[R], default: Callable[[], D]) -> R | D: ...
async def select(*cases: Case[Any], default: Any = _NO_DEFAULT) -> Any:
    """Takes the first case that is ready, tested in the order given; waits until one is.

    Nothing is taken from the others: signals, values and results stay where they are. A case whose
    future failed raises its error. Wrap it in ``asyncio.timeout`` for a limit, or give a timer as
    the last case.

    Args:
        cases: from :func:`case` and :func:`sending`.
        default: called at once when no case is ready, instead of waiting.

    Raises:
        UsageError: neither a case nor a default was given.
        OutsideWorkflowError: no workflow runs here.
    """
    context = current("select()")
    if not cases and isinstance(default, _NoDefault):
        raise UsageError("select() needs at least one case, or a default")
    while True:
        for one in cases:
            if one.ready():
                return one.run()
        if not isinstance(default, _NoDefault):
            return default()
        signals = [one.signal for one in cases if one.signal is not None]
        with context.listening(signals):
            await context.wait_until(lambda: any(one.ready() for one in cases))
