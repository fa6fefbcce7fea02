"""One attempt of an activity: its context, and how each kind of function is run.

PYTEST_DONT_REWRITE
"""

from __future__ import annotations

import asyncio
import contextvars
import functools
import importlib
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, cast

import msgspec
from perdure import (
    Activity,
    ActivityInfo,
    ApplicationError,
    DataConverter,
    Failure,
    Inbound,
    JsonConverter,
    Middleware,
    PayloadError,
    RemoteError,
    UsageError,
)
from perdure.extension import activity_context, inside, record_error
from perdure_backends.records import ActivityTask

if TYPE_CHECKING:
    from concurrent.futures import ProcessPoolExecutor

_PLAIN: Final = DataConverter()
_json_encoder: Final = msgspec.json.Encoder()


class Attempt:
    """What ``activity_info()``, ``heartbeat()`` and ``is_cancelled()`` reach.

    Called from the activity's own thread or coroutine.
    """

    def __init__(
        self,
        task: ActivityTask,
        activity: Activity[..., Any],
        resources: dict[str, Any],
        *,
        local: bool = False,
    ) -> None:
        self.task = task
        self.activity = activity
        self.resources = resources
        self.local = local
        self.reason: str | None = None
        self.details: bytes | None = None
        self.progress: bytes | None = None
        self.beaten = False
        self.unwanted = False
        self.cancel_sent = False
        self.job: asyncio.Task[None] | None = None
        self.trace: tuple[str, str] | None = None

    def info(self) -> ActivityInfo:
        """See :func:`perdure.activity_info`."""
        task = self.task
        return ActivityInfo(
            activity=task.name,
            instance_id=task.instance_id,
            run_id=task.run_id,
            number=task.number,
            attempt=task.attempt,
            idempotency_key=f"{task.run_id}/{task.number}",
            scheduled_at=_moment(task.scheduled_at),
            deadline=_moment(task.deadline) if task.deadline is not None else None,
            queue=task.queue,
            progress=self.last_heartbeat(),
            token="" if self.local else f"{task.run_id}/{task.number}/{task.token}",
            local=self.local,
        )

    def heartbeat(self, details: Any) -> None:
        """See :func:`perdure.heartbeat`."""
        if details is not None:
            self.details = self.progress = _json_encoder.encode(details)
        self.beaten = True

    def last_heartbeat(self) -> Any:
        """See :func:`perdure.last_heartbeat`."""
        details = self.progress if self.progress is not None else self.task.details
        return None if details is None else msgspec.json.decode(details)

    def cancelled(self) -> bool:
        """See :func:`perdure.is_cancelled`."""
        return self.reason is not None

    def trace_ids(self) -> tuple[str, str] | None:
        """See :meth:`perdure.extension.ActivityContext.trace_ids`."""
        return self.trace

    def cancel_reason(self) -> str | None:
        """See :func:`perdure.cancel_reason`."""
        return self.reason


def _moment(microseconds: int) -> datetime:
    return datetime.fromtimestamp(microseconds / 1e6, UTC)


class UndecodableArgumentsError(Exception):
    """The stored arguments do not fit this worker's code; another one's may."""


class Pools:
    """Threads and processes for plain ``def`` activities, made when first needed."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._threads: ThreadPoolExecutor | None = None
        self._processes: ProcessPoolExecutor | None = None

    def threads(self) -> ThreadPoolExecutor:
        """The thread pool."""
        if self._threads is None:
            self._threads = ThreadPoolExecutor(self._size, thread_name_prefix="perdure-activity")
        return self._threads

    def processes(self) -> ProcessPoolExecutor:
        """The process pool; its processes start fresh, they inherit nothing."""
        if self._processes is None:
            import multiprocessing  # they cost milliseconds, and few activities ask for processes
            from concurrent.futures import ProcessPoolExecutor

            context = multiprocessing.get_context("spawn")
            self._processes = ProcessPoolExecutor(mp_context=context)
        return self._processes

    def broken(self) -> None:
        """A process of the pool died: the next use makes a new pool."""
        if self._processes is not None:
            self._processes.shutdown(wait=False, cancel_futures=True)
            self._processes = None

    def close(self) -> None:
        """Ends the pools without waiting for what still runs in threads."""
        if self._threads is not None:
            self._threads.shutdown(wait=False, cancel_futures=True)
        if self._processes is not None:
            self._processes.shutdown(wait=False, cancel_futures=True)


async def run_attempt(
    attempt: Attempt,
    converter: DataConverter,
    pools: Pools,
    middleware: Sequence[Middleware] = (),
) -> bytes:
    """Runs the function and returns its encoded result.

    Raises:
        UndecodableArgumentsError: the arguments do not fit.
        CompletesLater: the outcome will come from elsewhere.
        BaseException: whatever the function raised, as it is.
    """
    definition = attempt.activity.definition
    signature = definition.signature.converted(converter)
    if definition.executor == "process":
        return await _run_in_process(attempt, converter, pools)
    try:
        args, kwargs = signature.decode(attempt.task.input)
    except PayloadError as error:
        raise UndecodableArgumentsError(str(error)) from error
    function: Callable[..., Any] = definition.function
    if attempt.activity.receiver is not None:
        function = function.__get__(attempt.activity.receiver)
    call = functools.partial(function, *args, **kwargs, **attempt.resources)
    activity_context.set(attempt)

    async def in_thread() -> Any:
        context = contextvars.copy_context()  # with what middleware has set
        return await _in_thread(pools.threads(), functools.partial(context.run, call))

    proceed: Callable[[], Awaitable[Any]] = call if definition.is_async else in_thread
    if middleware:
        task = attempt.task
        inbound = Inbound("activity", task.name, task.headers, task.instance_id)
        proceed = inside([one.activity for one in middleware], inbound, proceed)
    return signature.result.encode_checked(await proceed())


async def _in_thread(pool: ThreadPoolExecutor, call: Callable[[], Any]) -> Any:
    """Runs in a thread; a cancelled waiter keeps waiting, for the thread can't be stopped.

    What it returns after all counts, cancelled or not.
    """
    future = asyncio.get_running_loop().run_in_executor(pool, _StopSafe(call))
    while not future.done():
        try:
            await asyncio.wait([future])
        except asyncio.CancelledError:
            pass  # the function was told by its flag
    return future.result().get()


class _StopSafe:
    """A call whose ``StopIteration`` (which no future can hold) arrives as a RuntimeError."""

    def __init__(self, call: Callable[[], Any]) -> None:
        self._call = call
        self._value: Any = None
        self._error: BaseException | None = None

    def __call__(self) -> _StopSafe:
        try:
            self._value = self._call()
        except BaseException as error:
            self._error = error
        return self

    def get(self) -> Any:
        if self._error is not None:
            error, self._error = self._error, None
            raise error
        return self._value


# --- processes ------------------------------------------------------------------------------


async def _run_in_process(attempt: Attempt, converter: DataConverter, pools: Pools) -> bytes:
    function = attempt.activity.definition.function
    if attempt.activity.receiver is not None:
        raise UsageError(
            f"activity {attempt.task.name!r} is a method and can't run in a process pool: its "
            "instance would have to be copied; make it a plain function"
        )
    signature = attempt.activity.definition.signature
    plain = converter.unwrap(attempt.task.input)
    if not isinstance(converter.converter, JsonConverter):
        # The child converts as Perdure does by itself; a converter of the user's stays here.
        args, kwargs = signature.converted(converter).decode(attempt.task.input)
        plain = signature.converted(_PLAIN).encode(
            signature.bind(tuple(args), kwargs), checked=True
        )
    from concurrent.futures.process import BrokenProcessPool

    try:
        ok, payload = await asyncio.get_running_loop().run_in_executor(
            pools.processes(), run_in_child, function.__module__, function.__qualname__, plain
        )
    except BrokenProcessPool as error:
        pools.broken()
        raise ApplicationError(
            "its process died (os._exit, a segmentation fault, memory)", type="ProcessCrashed"
        ) from error
    if not ok:
        raise RemoteError(msgspec.json.decode(payload, type=Failure))
    if isinstance(converter.converter, JsonConverter):
        return converter.wrap(payload)
    value = signature.converted(_PLAIN).result.decode(payload)
    return signature.converted(converter).result.encode_checked(value)


def run_in_child(module: str, qualname: str, payload: bytes) -> tuple[bool, bytes]:
    """In the pool's process: finds the activity by name, runs it, encodes what comes out."""
    try:
        target: Any = importlib.import_module(module)
        for part in qualname.split("."):
            target = getattr(target, part)
        if not isinstance(target, Activity):
            raise UsageError(f"{module}.{qualname} is not an activity at module level")
        activity = cast("Activity[..., Any]", target)
        signature = activity.definition.signature.converted(_PLAIN)
        args, kwargs = signature.decode(payload)
        return True, signature.result.encode_checked(activity.definition.function(*args, **kwargs))
    except BaseException as error:
        failure = record_error(error, _PLAIN)
        if isinstance(error, UsageError):
            failure = msgspec.structs.replace(failure, retryable=False)
        return False, msgspec.json.encode(failure)
