"""Sagas: steps that are undone, in reverse, when a later one fails.

PYTEST_DONT_REWRITE
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Any, ParamSpec

from ._combine import shielded
from ._errors import CompensationError, ContinueAsNew, Evicted

P = ParamSpec("P")


class Saga:
    """``async with Saga() as saga: …; saga.add(undo, …)``.

    When the block raises (cancellation included), the compensations that were added run in
    reverse, one after the other, each as durable as any other call; then the error goes on. They
    are not interrupted by a cancellation. One that fails does not keep the others from running:
    :class:`CompensationError` tells of it at the end. A block that ends well drops them.
    """

    def __init__(self) -> None:
        self._undo: list[Callable[[], Awaitable[Any]]] = []

    def add(self, undo: Callable[P, Awaitable[Any]], /, *args: P.args, **kwargs: P.kwargs) -> None:
        """Adds a compensation: an activity, a workflow or a coroutine function, and its arguments.

        Add it *before* the step that it undoes when that step may have taken effect although it
        failed; the compensation must then bear that there is nothing to undo.
        """
        self._undo.append(lambda: undo(*args, **kwargs))

    async def compensate(self) -> None:
        """Undoes all that was added, the last one first.

        Raises:
            CompensationError: compensations failed; all of them were tried.
        """
        errors: list[Exception] = []
        while self._undo:
            undo = self._undo.pop()
            try:
                await undo()
            except Exception as error:
                errors.append(error)
        if errors:
            raise CompensationError(errors)

    async def __aenter__(self) -> Saga:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if exc is None or isinstance(exc, ContinueAsNew):
            self._undo.clear()
        elif not isinstance(exc, (Evicted, GeneratorExit)):
            try:
                await shielded(self.compensate())
            except CompensationError as error:
                raise error from exc
