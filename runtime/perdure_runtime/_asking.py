"""Queries and updates at the client: sending, waiting for answers, and what they mean.

PYTEST_DONT_REWRITE
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

from perdure import (
    Activity,
    ActivityGoneError,
    BackendUnavailableError,
    Duration,
    Failure,
    InternalError,
    QueryError,
    Update,
    UpdateFailedError,
    UpdateRejectedError,
)
from perdure.extension import cause_of, record_error
from perdure_backends import history as h
from perdure_backends._wakeups import ANSWERS
from perdure_backends.records import (
    ActivityResult,
    Heartbeat,
    HeartbeatResult,
    QueryAnswer,
    QueryRequest,
    SendResult,
    Status,
    UpdateAnswer,
)

from ._durations import as_seconds
from ._link import Link, not_found

if TYPE_CHECKING:
    from perdure_backends import Backend

R = TypeVar("R")
T = TypeVar("T")
R_co = TypeVar("R_co", covariant=True)

_log: Final = logging.getLogger("perdure.runtime")

_SLOW_LOOK: Final = 0.25


async def until(backend: Backend, look: Callable[[], Awaitable[T | None]]) -> T:
    """Looks when a store says that something was answered, and now and then, until it was."""
    with backend.wakeups.listen(ANSWERS) as waiter:
        while True:
            try:
                found = await look()
            except BackendUnavailableError as error:
                _log.warning("answers can't be asked for, trying again: %s", error)
                found = None
            if found is not None:
                return found
            await waiter.wait(_SLOW_LOOK)


async def ask(
    link: Link, instance_id: str, asked: h.QueryAsked, timeout: float, new_id: str
) -> bytes:
    """The encoded answer to a query.

    Raises:
        QueryError: it can't be answered.
        TimeoutError: nobody answered in time.
        InstanceNotFoundError: there is no such instance.
    """
    backend = link.backend
    request = QueryRequest(
        id=new_id,
        instance_id=instance_id,
        entry=h.encode_event(asked),
        lifetime=round(timeout * 1e6),
    )
    if await link.asks.call(request) is SendResult.NOT_FOUND:
        raise not_found(instance_id)

    async def look() -> QueryAnswer | None:
        try:
            return (await backend.read_answers([new_id]))[0]
        except BackendUnavailableError:
            # Reading takes an answer away, and this reading may have: asked once more.
            await link.asks.call(request)
            raise

    try:
        async with asyncio.timeout(timeout):
            answer = await until(backend, look)
    except TimeoutError:
        raise TimeoutError(await _why_no_answer(link, instance_id, asked.name, timeout)) from None
    if answer.failure is not None:
        error = QueryError(asked.name, instance_id, answer.failure)
        error.__cause__ = cause_of(answer.failure, link.converter)
        raise error
    if answer.result is None:
        raise InternalError(f"query {asked.name!r} was answered with nothing")
    return answer.result


async def _why_no_answer(link: Link, instance_id: str, name: str, timeout: float) -> str:
    record = await link.backend.describe(instance_id)
    reason = f"query {name!r} of {instance_id!r} was not answered within {timeout:g} s"
    if record is None:
        return reason
    if record.turn == 0:
        return f"{reason}: the instance has not had its first turn yet"
    return (
        f"{reason}; is a worker running that has workflow {record.workflow!r} version "
        f"{record.version} and serves queue {record.queue!r}? Published state needs none: "
        "handle.published(…)"
    )


class UpdateHandle(Generic[R_co]):
    """An update that was sent: its id, and its result."""

    def __init__(
        self, link: Link, instance_id: str, update: Update[Any, R_co], update_id: str
    ) -> None:
        self._link = link
        self._update = update
        self.instance_id = instance_id
        self.id = update_id

    async def result(self, timeout: Duration | None = None) -> R_co:
        """Waits for the result.

        Args:
            timeout: seconds after which to stop waiting; the update goes on.

        Raises:
            UpdateRejectedError: it was refused; nothing has happened.
            UpdateFailedError: its handler raised, or the instance ended first.
            TimeoutError: there is no result within ``timeout``.
        """
        answer = await self._wait(timeout, accepted=False)
        if answer.result is None:
            raise InternalError(f"update {self._update.name!r} was completed with nothing")
        value: R_co = self._update.result_serializer(self._link.converter).decode(answer.result)
        return value

    async def accepted(self, timeout: Duration | None = None) -> None:
        """Waits until it was accepted. Raises as :meth:`result`."""
        await self._wait(timeout, accepted=True)

    async def _wait(self, timeout: Duration | None, *, accepted: bool) -> UpdateAnswer:
        seconds = None if timeout is None else as_seconds(timeout, "timeout")

        async def look() -> UpdateAnswer | None:
            return await self._look(accepted=accepted)

        try:
            async with asyncio.timeout(seconds):
                answer = await until(self._link.backend, look)
        except TimeoutError:
            raise TimeoutError(
                f"update {self._update.name!r} of {self.instance_id!r} has no answer within "
                f"{seconds:g} s; it goes on under the id {self.id!r}"
            ) from None
        if answer.failure is not None:
            cls = UpdateRejectedError if answer.stage == "rejected" else UpdateFailedError
            error = cls(self._update.name, self.instance_id, answer.failure)
            error.__cause__ = cause_of(answer.failure, self._link.converter)
            raise error
        return answer

    async def _look(self, *, accepted: bool) -> UpdateAnswer | None:
        backend = self._link.backend

        def final(answer: UpdateAnswer | None) -> bool:
            return answer is not None and (accepted or answer.stage != "accepted")

        answer = (await backend.read_updates(self.instance_id, [self.id]))[0]
        if final(answer):
            return answer
        record = await backend.describe(self.instance_id)
        if record is not None and record.status is Status.RUNNING:
            return None
        # It may have been answered by the very turn that ended the instance.
        answer = (await backend.read_updates(self.instance_id, [self.id]))[0]
        if final(answer):
            return answer
        how = "was removed" if record is None else f"has ended ({record.status.value})"
        failure = Failure("InstanceFinishedError", f"the instance {how} without an answer")
        if answer is not None:
            return UpdateAnswer(update_id=self.id, stage="completed", failure=failure)
        return UpdateAnswer(update_id=self.id, stage="rejected", failure=failure)

    def __repr__(self) -> str:
        return f"<update {self._update.name!r} {self.id!r} of {self.instance_id!r}>"


class ActivityHandle(Generic[R]):
    """An attempt that completes later, seen from whoever knows its outcome."""

    def __init__(self, link: Link, token: str, activity: Activity[..., R]) -> None:
        run_id, number, secret = token.rsplit("/", 2)
        self._link = link
        self._activity = activity
        self._run_id = run_id
        self._number = int(number)
        self._token = secret

    async def complete(self, value: R) -> None:
        """Gives the activity's result.

        Raises:
            ActivityGoneError: the attempt does not wait any more.
            PayloadError: the value is not of the annotated type.
        """
        signature = self._activity.definition.signature.converted(self._link.converter)
        payload = signature.result.encode_checked(value)
        await self._settle(entry=h.encode_event(h.ActivityCompleted(self._number, payload)))

    async def fail(self, error: BaseException) -> None:
        """Fails the attempt; the activity's retry policy decides what follows.

        Raises:
            ActivityGoneError: the attempt does not wait any more.
        """
        await self._settle(failure=record_error(error, self._link.converter))

    async def heartbeat(self, details: Any = None) -> bool:
        """Says that it is being worked on; ``False`` when nobody wants the outcome any more."""
        payload = self._link.converter.serializer(Any, "heartbeat").encode(details)
        beat = Heartbeat(
            run_id=self._run_id,
            number=self._number,
            token=self._token,
            details=None if details is None else payload,
            alive=True,
        )
        return await self._link.beats.call(beat) is HeartbeatResult.GO_ON

    async def _settle(self, **outcome: Any) -> None:
        result = ActivityResult(
            run_id=self._run_id, number=self._number, token=self._token, **outcome
        )
        if not await self._link.settles.call(result):
            raise ActivityGoneError(
                f"this attempt of activity {self._activity.name!r} does not wait any more: it was "
                "settled, has timed out, was cancelled, or its workflow has ended"
            )
