"""One instance, seen from outside.

PYTEST_DONT_REWRITE
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar, overload

from perdure import (
    ArgumentsError,
    Duration,
    InstanceFinishedError,
    InstanceNotFinishedError,
    Query,
    QueryWith,
    Signal,
    Update,
    Workflow,
)
from perdure.extension import AnyQuery, check_id
from perdure_backends import Backend
from perdure_backends import history as h
from perdure_backends.records import Action, ControlResult, InstanceRecord, Pending, RemoveResult

from ._asking import UpdateHandle, ask
from ._durations import as_seconds
from ._link import Link, not_found, refuse_inside_workflows
from ._results import outcome_of

if TYPE_CHECKING:
    from typing_extensions import TypeForm

A = TypeVar("A")
T = TypeVar("T")
R_co = TypeVar("R_co", covariant=True)

_HISTORY_PAGE: Final = 500


async def stored_turns(backend: Backend, run_id: str) -> AsyncGenerator[h.Turn]:
    """The turns of a run in order, read page by page.

    Raises:
        NewerHistoryError: a record can't be read by this code.
        BackendError: the store can't be read.
    """
    after = 0
    while True:
        records = await backend.read_history(run_id, after, _HISTORY_PAGE)
        if not records:
            return
        for record in records:
            turn = h.decode_turn(record)
            after = turn.number
            yield turn


class Handle(Generic[R_co]):
    """One instance, seen from outside."""

    def __init__(
        self,
        link: Link,
        instance_id: str,
        run_id: str | None,
        workflow: Workflow[..., R_co] | None,
    ) -> None:
        self._link = link
        self._workflow = workflow
        self.id = instance_id
        self.run_id = run_id

    async def result(self, timeout: Duration | None = None) -> R_co:
        """Waits for the result, over continue-as-new too, as long as the instance lives.

        Args:
            timeout: seconds after which to stop waiting; the instance goes on.

        Raises:
            TimeoutError: it has not finished within ``timeout``.
            WorkflowError: it ended without a result (failed, cancelled, terminated, timed out).
            InstanceNotFoundError: there is no such instance.
        """
        seconds = (
            timeout
            if timeout is None or isinstance(timeout, (int, float))
            else timeout.total_seconds()
        )
        run_id = self.run_id
        if run_id is None:
            run_id = (await self.describe()).run_id
        try:
            with self._link.telemetry.calling("result", "", self.id):
                async with asyncio.timeout(seconds):
                    end = await self._link.results.wait(run_id)
        except TimeoutError:
            raise TimeoutError(
                f"instance {self.id!r} has not finished within {seconds:g} s; it goes on"
            ) from None
        if end is None:
            raise not_found(self.id)
        value: R_co = outcome_of(end, self._workflow, self._link.converter)
        return value

    async def signal(self, signal: Signal[T], payload: T, *, request_id: str | None = None) -> None:
        """Sends a signal; returns once the store has accepted it.

        Args:
            request_id: a repeat with the same id is accepted once.

        Raises:
            InstanceNotFoundError, InstanceFinishedError: nobody is there to read it.
            PayloadError: the payload is not of the signal's type.
        """
        encoded = signal.serializer(self._link.converter).encode_checked(payload)
        message_id = request_id if request_id is not None else self._link.new_id()
        with self._link.telemetry.calling("signal", signal.name, self.id):
            headers = self._link.headers("signal", signal.name, self.id)
            event = h.SignalReceived(signal.name, encoded, headers)
            await self._link.send(self.id, event, message_id)

    @overload
    async def query(
        self, query: QueryWith[A, T], argument: A, /, *, timeout: Duration = 10.0
    ) -> T: ...
    @overload
    async def query(self, query: Query[T], /, *, timeout: Duration = 10.0) -> T: ...
    async def query(self, query: AnyQuery[Any], /, *argument: Any, timeout: Duration = 10.0) -> Any:
        """Asks the workflow's code; answered from its state after the last committed turn.

        Any worker that has the workflow answers, for finished instances too.

        Args:
            timeout: seconds to wait for an answer.

        Raises:
            QueryError: there is no handler, it raised, or the worker's code does not fit.
            TimeoutError: no worker answered in time; the message says what to look for.
            InstanceNotFoundError: there is no such instance.
        """
        refuse_inside_workflows("query()")
        link = self._link
        if query.takes_argument != bool(argument):
            raise ArgumentsError(
                f"{query!r} takes {'an' if query.takes_argument else 'no'} argument"
            )
        payload: bytes | None = None
        if argument:
            payload = query.argument_serializer(link.converter).encode_checked(argument[0])
        with link.telemetry.calling("query", query.name, self.id):
            headers = link.headers("query", query.name, self.id)
            answer = await ask(
                link,
                self.id,
                h.QueryAsked(query.name, payload, headers),
                as_seconds(timeout, "timeout"),
                link.new_id(),
            )
        return query.serializer(link.converter).decode(answer)

    async def published(self, type: TypeForm[T]) -> T | None:
        """The state that the workflow published last; needs no worker. ``None`` if it has not.

        Args:
            type: of the published value.
        """
        record = await self.describe()
        if record.published is None:
            return None
        serializer = self._link.converter.serializer(type, "published state")
        value: T = serializer.decode(record.published)
        return value

    async def update(
        self,
        update: Update[A, T],
        argument: A,
        *,
        id: str | None = None,
        timeout: Duration | None = None,
    ) -> T:
        """Sends an update and waits for its result.

        Args:
            id: id of the update: a repeat with it is carried out once and gets the first answer.
            timeout: seconds after which to stop waiting; the update goes on.

        Raises:
            UpdateRejectedError: it was refused; nothing has happened.
            UpdateFailedError: its handler raised, or the instance ended first.
            InstanceNotFoundError, InstanceFinishedError: nobody is there to carry it out.
        """
        with self._link.telemetry.calling("update", update.name, self.id):
            sent = await self._send_update(update, argument, id)
            return await sent.result(timeout)

    async def start_update(
        self,
        update: Update[A, T],
        argument: A,
        *,
        id: str | None = None,
        timeout: Duration | None = None,
    ) -> UpdateHandle[T]:
        """Sends an update and returns once it was accepted. Raises as :meth:`update`."""
        with self._link.telemetry.calling("update", update.name, self.id):
            sent = await self._send_update(update, argument, id)
            await sent.accepted(timeout)
            return sent

    async def send_update(
        self, update: Update[A, T], argument: A, *, id: str | None = None
    ) -> UpdateHandle[T]:
        """Sends an update and returns once the store has it; no worker has seen it yet."""
        with self._link.telemetry.calling("update", update.name, self.id):
            return await self._send_update(update, argument, id)

    async def _send_update(
        self, update: Update[A, T], argument: A, id: str | None
    ) -> UpdateHandle[T]:
        link = self._link
        update_id = check_id(id) if id is not None else link.new_id()
        encoded = update.argument_serializer(link.converter).encode_checked(argument)
        headers = link.headers("update", update.name, self.id)
        event = h.UpdateReceived(update_id, update.name, encoded, headers)
        await link.send(self.id, event, f"update/{update_id}")
        return UpdateHandle(link, self.id, update, update_id)

    def update_handle(self, update: Update[Any, T], id: str) -> UpdateHandle[T]:
        """The handle of an update that was sent elsewhere; nothing is looked up."""
        return UpdateHandle(self._link, self.id, update, id)

    async def cancel(self, reason: str = "", *, request_id: str | None = None) -> None:
        """Asks the workflow to cancel: its code sees ``CancelledError`` and may clean up."""
        message_id = request_id if request_id is not None else self._link.new_id()
        with self._link.telemetry.calling("cancel", "", self.id):
            await self._link.send(self.id, h.CancelRequested(reason), message_id)

    async def terminate(self, reason: str = "terminated by an operator") -> None:
        """Ends the instance at once, without its code; wins over a turn in flight."""
        await self._control(Action.TERMINATE, reason)

    async def suspend(self, reason: str = "") -> None:
        """Halts the instance: messages and results gather, timers wait."""
        await self._control(Action.SUSPEND, reason)

    async def resume(self) -> None:
        """Lets a suspended instance go on."""
        await self._control(Action.RESUME, "")

    async def unpark(self) -> None:
        """Lets a parked instance be tried again, by every build."""
        await self._control(Action.UNPARK, "")

    async def _control(self, action: Action, reason: str) -> None:
        with self._link.telemetry.calling(action.value, "", self.id):
            result = await self._link.backend.control(self.id, action, reason)
        if result is ControlResult.NOT_FOUND:
            raise not_found(self.id)
        if result is ControlResult.FINISHED:
            raise InstanceFinishedError(f"instance {self.id!r} has finished", instance_id=self.id)

    async def describe(self) -> InstanceRecord:
        """What the store knows of it.

        Raises:
            InstanceNotFoundError: there is no such instance.
        """
        record = await self._link.backend.describe(self.id, self.run_id)
        if record is None:
            raise not_found(self.id)
        return record

    async def state(self) -> str:
        """One word: ``running``, ``suspended``, ``parked``, ``completed``, ``failed`` …"""
        return (await self.describe()).state

    async def pending(self) -> Pending:
        """Activities, timers and messages that it waits for."""
        return await self._link.backend.pending((await self.describe()).run_id)

    async def history(self) -> AsyncIterator[h.Turn]:
        """Its turns in order, read page by page."""
        async for turn in stored_turns(self._link.backend, (await self.describe()).run_id):
            yield turn

    async def remove(self) -> None:
        """Removes the finished instance with its history.

        Raises:
            InstanceNotFinishedError: it is still running; terminate it first.
            InstanceNotFoundError: there is no such instance.
        """
        with self._link.telemetry.calling("remove", "", self.id):
            result = await self._link.backend.remove(self.id)
        if result is RemoveResult.NOT_FOUND:
            raise not_found(self.id)
        if result is RemoveResult.RUNNING:
            raise InstanceNotFinishedError(
                f"instance {self.id!r} is running; terminate it first", instance_id=self.id
            )

    def __repr__(self) -> str:
        return f"<handle of {self.id!r}>"
