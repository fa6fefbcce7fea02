"""Handlers of messages: how they are called, and which of them still run.

PYTEST_DONT_REWRITE
"""

from __future__ import annotations

import asyncio
import contextvars
import functools
import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from perdure import ContinueAsNew, Evicted, Failure, Inbound, ReadOnlyError, Update
from perdure.extension import AnyQuery, Kind, inside, record_error
from perdure_backends import history as h

from ._purity import snapshot

if TYPE_CHECKING:
    from perdure import DataConverter

    from ._execution import Execution

Outcome = Callable[[Any, BaseException | None], None]

STACKS = "perdure.stacks"
"""A query that every workflow answers: where each of its tasks waits."""


class Handlers:
    """Calls handlers, through middleware, and knows the tasks of those that still run."""

    def __init__(self, execution: Execution) -> None:
        self._execution = execution
        self._running: dict[int, tuple[asyncio.Task[Any], str]] = {}

    @property
    def busy(self) -> bool:
        """Whether any still runs."""
        return bool(self._running)

    @property
    def running(self) -> list[str]:
        """What still runs, such as ``update 'price'``."""
        return [name for _, name in self._running.values()]

    def cancel(self, reason: str) -> None:
        """Asks all that still run to cancel."""
        for task, _ in list(self._running.values()):
            task.cancel(reason)

    def call(
        self,
        kind: Kind,
        name: str,
        headers: dict[str, bytes],
        handler: Callable[[], Any],
        ended: Outcome,
    ) -> None:
        """Calls a handler; an ``async def`` one becomes a task of its own.

        Args:
            ended: gets the result, or what it raised.
        """
        context = contextvars.copy_context()
        try:
            outcome = context.run(self.through, kind, name, headers, handler)
            if inspect.iscoroutine(outcome):
                task: asyncio.Task[Any] = context.run(
                    functools.partial(
                        self._execution.loop.create_task, outcome, name=f"{kind} {name}"
                    )
                )
                self._running[hash(task)] = (task, f"{kind} {name!r}")
                task.add_done_callback(functools.partial(self._ended, ended))
                return
        except (Exception, ContinueAsNew, asyncio.CancelledError) as error:
            ended(None, error)
        else:
            ended(outcome, None)

    def through(
        self, kind: Kind, name: str, headers: dict[str, bytes], handler: Callable[[], Any]
    ) -> Any:
        """Calls a handler through the middleware."""
        call = Inbound(kind, name, headers, self._execution.instance_id)
        return inside([one.message for one in self._execution.middleware], call, handler)()

    def _ended(self, ended: Outcome, task: asyncio.Task[Any]) -> None:
        self._running.pop(hash(task), None)
        if self._execution.loop.closing:
            return
        if task.cancelled():
            ended(None, asyncio.CancelledError("the handler was cancelled"))
            return
        error = task.exception()
        if not isinstance(error, Evicted):
            ended(task.result() if error is None else None, error)


class Queries:
    """The functions that answer queries."""

    def __init__(self, execution: Execution, converter: DataConverter) -> None:
        self._execution = execution
        self._converter = converter
        self._handlers: dict[str, tuple[AnyQuery[Any], Callable[..., Any]]] = {}

    def register(self, query: AnyQuery[Any], handler: Callable[..., Any]) -> None:
        """From now on ``handler`` answers."""
        self._handlers[query.name] = (query, handler)

    def answer(
        self, name: str, argument: bytes | None, headers: dict[str, bytes]
    ) -> bytes | Failure:
        """The encoded answer, or why there is none."""
        if name == STACKS:
            return self._stacks()
        found = self._handlers.get(name)
        if found is None:
            known = ", ".join(sorted(self._handlers)) or "none"
            return Failure("UnknownQuery", f"the workflow has no handler for it (it has: {known})")
        query, handler = found
        try:
            values: list[Any] = []
            if query.takes_argument:
                serializer = query.argument_serializer(self._converter)
                values = [serializer.decode(argument if argument is not None else b"null")]
            value = _read_only(
                self._execution,
                handler,
                lambda: self._execution.handlers.through(
                    "query", name, headers, lambda: handler(*values)
                ),
            )
            return query.serializer(self._converter).encode_checked(value)
        except Exception as error:
            return record_error(error, self._converter)

    def _stacks(self) -> bytes:
        lines = self._converter.serializer(list[str], "stacks")
        return lines.encode(self._execution.stacks())


class Updates:
    """The functions that check and carry out updates, and the updates that are not answered."""

    def __init__(self, execution: Execution, converter: DataConverter) -> None:
        self._execution = execution
        self._converter = converter
        self._handlers: dict[str, tuple[Update[Any, Any], Callable[[Any], Any]]] = {}
        self._checks: dict[str, Callable[[Any], Any]] = {}
        self.open: dict[str, str] = {}
        self.touched = False  # in this turn

    def register(self, update: Update[Any, Any], handler: Callable[[Any], Any]) -> None:
        """From now on ``handler`` carries it out."""
        self._handlers[update.name] = (update, handler)

    def register_check(self, update: Update[Any, Any], check: Callable[[Any], Any]) -> None:
        """From now on ``check`` refuses what it does not like."""
        self._checks[update.name] = check

    @property
    def listening(self) -> bool:
        """Whether an update could make the run go on."""
        return bool(self._handlers)

    def accept(self, event: h.UpdateReceived, *, replaying: bool) -> Failure | None:
        """An update came; the failure says why it is refused."""
        self.touched = True
        found = self._handlers.get(event.name)
        if found is None:
            known = ", ".join(sorted(self._handlers)) or "none"
            return Failure(
                "UnknownUpdate",
                f"the workflow has no handler for it (it has: {known}); handlers are to be "
                "registered before the workflow's first await",
                retryable=False,
            )
        update, handler = found
        try:
            value = update.argument_serializer(self._converter).decode(event.payload)
            check = self._checks.get(event.name)
            if check is not None and not replaying:
                _read_only(self._execution, check, lambda: check(value))
        except Exception as error:
            return record_error(error, self._converter)
        self.open[event.update_id] = event.name
        self._execution.handlers.call(
            "update",
            event.name,
            event.headers,
            lambda: handler(value),
            functools.partial(self._ended, update, event.update_id),
        )
        return None

    def _ended(
        self,
        update: Update[Any, Any],
        update_id: str,
        value: Any,
        error: BaseException | None,
    ) -> None:
        execution = self._execution
        if isinstance(error, ContinueAsNew):
            execution.fail_by(None, error)
            return
        result: bytes | None = None
        if error is None:
            try:
                serializer = update.result_serializer(self._converter)
                encode = serializer.encode if execution.replaying else serializer.encode_checked
                result = encode(value)
            except Exception as problem:
                error = problem
        failure = (
            None
            if error is None
            else record_error(error, self._converter, with_stack=not execution.replaying)
        )
        self.touched = True
        del self.open[update_id]
        number = execution.command_number()
        execution.issue(h.UpdateAnswered(number, update_id, result, failure))


def _read_only(execution: Execution, function: Callable[..., Any], call: Callable[[], Any]) -> Any:
    """Calls something that must not schedule, wait or change; ``function`` holds what it sees.

    Raises:
        ReadOnlyError: it did, or it is ``async``.
    """
    before = snapshot(function)
    execution.loop.read_only = True
    try:
        value = call()
    except ReadOnlyError:
        execution.tainted = True
        raise
    finally:
        execution.loop.read_only = False
    if inspect.iscoroutine(value):
        value.close()
        raise ReadOnlyError("query handlers and validators are plain functions, not `async def`")
    if snapshot(function) != before:
        execution.tainted = True
        raise ReadOnlyError("a query handler or validator has changed the workflow's variables")
    return value
