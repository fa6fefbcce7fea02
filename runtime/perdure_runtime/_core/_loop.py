"""The deterministic event loop on which workflow code runs.

Laws:

1. Callbacks run in the order in which they were scheduled, until none is left; then the turn is
   over. Time stands still meanwhile.
2. Timers are not waited for here: arming and disarming is handed to the owner, who records them.
3. Tasks and futures hash to a number derived from the replay seed and their creation number, so
   that sets of them (a ``TaskGroup``'s, ``asyncio.wait``'s) iterate alike at each replay. Plain
   1, 2, 3 … would collide in asyncio's process-wide registry of tasks.
4. The loop owns its tasks and async generators: garbage collection never runs user code.
5. Whatever can't be replayed (threads, sockets, processes, signals) raises an error that says
   what to do instead.

PYTEST_DONT_REWRITE
"""

from __future__ import annotations

import asyncio
import collections
import contextvars
import logging
import sys
from asyncio import events as _events
from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import AbstractContextManager
from typing import Any, Final, NoReturn, TypeVar, cast

from perdure import Evicted, ReadOnlyError, UnsupportedInWorkflowError

T = TypeVar("T")
_log: Final = logging.getLogger("perdure.runtime")
_MASK: Final = (1 << 60) - 1
_TASKS_FILE: Final = asyncio.tasks.__file__
_SWAPS_TASK: Final = sys.version_info >= (3, 14)


class LoopFuture(asyncio.Future[T]):
    """A future of this loop, with a hash that is the same at each replay."""

    def __init__(self, *, loop: WorkflowLoop) -> None:
        self._identity = loop.next_identity()
        super().__init__(loop=loop)

    def __hash__(self) -> int:
        return self._identity


class LoopTask(asyncio.Task[T]):
    """A task of this loop, with a hash that is the same at each replay."""

    def __init__(self, coro: Any, *, loop: WorkflowLoop, **options: Any) -> None:
        # Before the base class registers the task in a set of its own.
        self._identity = loop.next_identity()
        super().__init__(coro, loop=loop, **options)

    def __hash__(self) -> int:
        return self._identity


class WorkflowLoop(asyncio.AbstractEventLoop):
    """An event loop without time, selector or threads.

    Args:
        seed: the run's replay seed.
        arm: called with a timer's handle and its delay in microseconds (more than 0).
        disarm: called with the handle of a timer that is cancelled before it ran.
    """

    def __init__(
        self,
        seed: int,
        arm: Callable[[asyncio.TimerHandle, int], None],
        disarm: Callable[[asyncio.TimerHandle], None],
    ) -> None:
        self.workflow_context: Any = None
        self.faults: list[BaseException] = []
        self.microseconds = 0
        self.closing = False
        self.read_only = False
        self.guard: Any = None
        self._seed = seed & _MASK
        self._arm = arm
        self._disarm = disarm
        self._created = 0
        self._named = 0
        self._ready: collections.deque[asyncio.Handle] = collections.deque()
        self._tasks: dict[int, LoopTask[Any]] = {}
        self._generators: list[AsyncGenerator[Any, Any]] = []
        self._prune_at = 64
        self._eager = False
        self._handler: Callable[[asyncio.AbstractEventLoop, dict[str, Any]], object] | None = None

    # --- running

    def entered(self) -> AbstractContextManager[None]:
        """Makes this the running loop of the thread, even inside a turn of another one."""
        return _Entered(self)

    def run_ready(self) -> None:
        """Runs callbacks until none is left. The loop must be entered."""
        ready = self._ready
        while ready:
            handle = ready.popleft()
            if not handle.cancelled():
                try:
                    handle._run()  # pyright: ignore[reportPrivateUsage]
                except (SystemExit, KeyboardInterrupt):
                    # Raised by workflow code; its task holds it as its outcome.
                    pass

    def next_identity(self) -> int:
        """The hash of the next future or task."""
        self._created += 1
        return (self._created * 0x9E3779B97F4A7C15 ^ self._seed) & _MASK

    # --- scheduling

    def time(self) -> float:
        """The turn's time in seconds since the epoch."""
        return self.microseconds / 1_000_000

    def call_soon(  # type: ignore[override]  # typeshed's has TypeVarTuple arguments
        self,
        callback: Callable[..., object],
        *args: Any,
        context: contextvars.Context | None = None,
    ) -> asyncio.Handle:
        """Runs ``callback`` behind everything that is ready."""
        if self.read_only:
            _refuse_read_only()
        handle = asyncio.Handle(callback, args, self, context)
        self._ready.append(handle)
        return handle

    def call_later(  # type: ignore[override]  # as above
        self,
        delay: float,
        callback: Callable[..., object],
        *args: Any,
        context: contextvars.Context | None = None,
    ) -> asyncio.TimerHandle:
        """Runs ``callback`` after a durable timer of ``delay`` seconds."""
        return self._timer(round(delay * 1_000_000), callback, args, context)

    def call_at(  # type: ignore[override]  # as above
        self,
        when: float,
        callback: Callable[..., object],
        *args: Any,
        context: contextvars.Context | None = None,
    ) -> asyncio.TimerHandle:
        """Runs ``callback`` when :meth:`time` has reached ``when``."""
        return self._timer(round(when * 1_000_000) - self.microseconds, callback, args, context)

    def _timer(
        self,
        delay: int,
        callback: Callable[..., object],
        args: tuple[Any, ...],
        context: contextvars.Context | None,
    ) -> asyncio.TimerHandle:
        if self.read_only:
            _refuse_read_only()
        when = (self.microseconds + delay) / 1_000_000
        handle = asyncio.TimerHandle(when, callback, args, self, context)
        if delay <= 0:
            self._ready.append(handle)
        else:
            self._arm(handle, delay)
        return handle

    def run_timer(self, handle: asyncio.TimerHandle) -> None:
        """A timer came due: its callback is ready."""
        self._ready.append(handle)

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        self._disarm(handle)

    def create_future(self) -> asyncio.Future[Any]:
        """A future of this loop."""
        if self.read_only:
            _refuse_read_only()
        return LoopFuture(loop=self)

    def create_task(  # type: ignore[override]  # typeshed's differs between versions
        self,
        coro: Coroutine[Any, Any, T],
        *,
        name: str | None = None,
        context: contextvars.Context | None = None,
        **kwargs: Any,
    ) -> asyncio.Task[T]:
        """A task of this loop, named by it."""
        if self.closing:
            coro.close()
            raise Evicted
        if self.read_only:
            coro.close()
            _refuse_read_only()
        _refuse_as_completed(coro)
        if unknown := set(kwargs) - {"eager_start"}:
            raise TypeError(f"create_task() got unexpected arguments {sorted(unknown)}")
        if self._eager and sys.version_info >= (3, 12):
            kwargs.setdefault("eager_start", True)
        if name is None:
            self._named += 1
            name = f"Task-{self._named}"
        task: LoopTask[T] = LoopTask(coro, loop=self, name=name, context=context, **kwargs)
        if not task.done():
            self._tasks[task._identity] = task  # pyright: ignore[reportPrivateUsage]
            task.add_done_callback(self._forget)
        return task

    def _forget(self, task: asyncio.Future[Any]) -> None:
        self._tasks.pop(hash(task), None)

    def tasks(self) -> list[asyncio.Task[Any]]:
        """Tasks that have not ended, in the order of their creation."""
        return list(self._tasks.values())

    def set_task_factory(self, factory: Any) -> None:
        """Takes ``asyncio.eager_task_factory`` or ``None``."""
        eager = getattr(asyncio, "eager_task_factory", object())
        if factory is not None and factory is not eager:
            raise UnsupportedInWorkflowError(
                "task factories other than asyncio.eager_task_factory make tasks whose order "
                "can't be repeated at a replay"
            )
        self._eager = factory is not None

    def get_task_factory(self) -> Any:
        """``asyncio.eager_task_factory`` or ``None``."""
        return getattr(asyncio, "eager_task_factory", None) if self._eager else None

    # --- async generators

    def own_generator(self, generator: AsyncGenerator[Any, Any]) -> None:
        """Takes charge of an async generator at its first iteration."""
        self._generators.append(generator)
        if len(self._generators) >= self._prune_at:
            self._generators = [g for g in self._generators if _unfinished(g)]
            self._prune_at = max(64, 2 * len(self._generators))

    def evict(self) -> list[str]:
        """Closes what is left of coroutines and generators.

        Returns:
            What swallowed that, by name.
        """
        self.closing = True
        if not self._tasks and not self._generators:
            return []
        stubborn: list[str] = []
        with self.entered():
            for task in self.tasks():
                coroutine = cast("Any", task.get_coro())
                task._log_destroy_pending = False  # type: ignore[attr-defined]  # pyright: ignore
                try:
                    coroutine.close()
                except RuntimeError as error:
                    stubborn.append(f"{task.get_name()}: {error}")
                except BaseException:  # whatever user code raises while it is closed
                    pass
            for generator in self._take_generators():
                try:
                    generator.aclose().send(None)
                except (StopIteration, StopAsyncIteration):
                    pass
                except BaseException:
                    pass
        return stubborn

    def _take_generators(self) -> list[AsyncGenerator[Any, Any]]:
        """The async generators that have not ended, in the order of their first iteration."""
        generators = [g for g in self._generators if _unfinished(g)]
        self._generators.clear()
        return generators

    # --- state and errors

    def is_running(self) -> bool:
        """Whether it is the running loop of this thread."""
        return _events._get_running_loop() is self  # pyright: ignore[reportPrivateUsage]

    def is_closed(self) -> bool:
        """Whether the instance is being, or was, taken out of memory."""
        return self.closing

    def get_debug(self) -> bool:
        """Always ``False``: asyncio's debug mode reads clocks."""
        return False

    def set_debug(self, enabled: bool) -> None:
        """Ignored."""

    def get_exception_handler(self) -> Any:
        """The handler set by workflow code."""
        return self._handler

    def set_exception_handler(self, handler: Any) -> None:
        """Sets a handler for errors that nobody awaits."""
        self._handler = handler

    def default_exception_handler(self, context: dict[str, Any]) -> None:
        """Logs what nobody awaited."""
        _log.error(
            "%s", context.get("message", "unhandled error"), exc_info=context.get("exception")
        )

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        """Errors that no await received; one in a task's step is a fault that parks."""
        handle = context.get("handle")
        error = context.get("exception")
        callback = getattr(handle, "_callback", None)
        if isinstance(error, BaseException) and isinstance(
            getattr(callback, "__self__", None), asyncio.Task
        ):
            self.faults.append(error)
        elif self.closing:
            return
        elif self._handler is not None:
            self._call_handler(context)
        elif self.workflow_context is None or not self.workflow_context.replaying:
            self.default_exception_handler(context)

    def _call_handler(self, context: dict[str, Any]) -> None:
        """Calls the user's handler, in the context of what failed where that is known (3.12+)."""
        if self._handler is None:
            return
        source = context.get("task") or context.get("future") or context.get("handle")
        get_context = getattr(source, "get_context", None)
        if get_context is not None:
            get_context().run(self._handler, self, context)
        else:
            self._handler(self, context)

    def dissolve(self) -> None:
        """Lets go of the closed run. What is destroyed later may still complain here."""
        self.workflow_context = self.guard = None
        self._arm = self._disarm = _ignore
        self._ready.clear()
        self._tasks.clear()

    def close(self) -> None:
        """Not for workflow code."""
        _refuse("close")

    async def shutdown_asyncgens(self) -> None:
        """Closes the loop's async generators in the order of their first iteration."""
        for generator in self._take_generators():
            await generator.aclose()


class _Entered:
    """A class, for a generator would cost as much again, and every turn enters its loop."""

    __slots__ = ("_guard", "_hooks", "_loop", "_outer", "_task")

    def __init__(self, loop: WorkflowLoop) -> None:
        self._loop = loop

    def __enter__(self) -> None:
        loop = self._loop
        self._outer = outer = _events._get_running_loop()  # pyright: ignore[reportPrivateUsage]
        self._task: asyncio.Task[Any] | None = None
        if _SWAPS_TASK and outer is not None:
            self._task = _swap_current_task(outer, None)
        self._hooks = sys.get_asyncgen_hooks()
        sys.set_asyncgen_hooks(firstiter=loop.own_generator, finalizer=None)
        self._guard = loop.guard
        if self._guard is not None:
            self._guard.enter()
        _events._set_running_loop(loop)  # pyright: ignore[reportPrivateUsage]

    def __exit__(self, *_: object) -> None:
        if self._guard is not None:
            self._guard.leave()
        outer = self._outer
        _events._set_running_loop(outer)  # pyright: ignore[reportPrivateUsage]
        sys.set_asyncgen_hooks(*self._hooks)
        if _SWAPS_TASK and outer is not None:
            _swap_current_task(outer, self._task)


def _ignore(*_: object) -> None:
    """Timers of a run that is gone."""


_INSTEAD: Final = {
    "run_in_executor": "put the work into an activity (plain `def` activities run in threads)",
    "call_soon_threadsafe": "threads can't reach a workflow: send it a signal",
    "run_forever": "the runtime drives this loop",
    "run_until_complete": "await it",
    "stop": "return from the workflow",
    "close": "return from the workflow",
    "shutdown_default_executor": "the runtime drives this loop",
    "set_default_executor": "put the work into an activity",
    "getaddrinfo": "network access belongs into an activity",
    "getnameinfo": "network access belongs into an activity",
    "create_connection": "network access belongs into an activity",
    "create_server": "network access belongs into an activity",
    "create_unix_connection": "network access belongs into an activity",
    "create_unix_server": "network access belongs into an activity",
    "create_datagram_endpoint": "network access belongs into an activity",
    "start_tls": "network access belongs into an activity",
    "connect_accepted_socket": "network access belongs into an activity",
    "sendfile": "network access belongs into an activity",
    "sock_recv": "network access belongs into an activity",
    "sock_recv_into": "network access belongs into an activity",
    "sock_recvfrom": "network access belongs into an activity",
    "sock_recvfrom_into": "network access belongs into an activity",
    "sock_sendall": "network access belongs into an activity",
    "sock_sendto": "network access belongs into an activity",
    "sock_connect": "network access belongs into an activity",
    "sock_accept": "network access belongs into an activity",
    "sock_sendfile": "network access belongs into an activity",
    "add_reader": "file and socket access belongs into an activity",
    "remove_reader": "file and socket access belongs into an activity",
    "add_writer": "file and socket access belongs into an activity",
    "remove_writer": "file and socket access belongs into an activity",
    "connect_read_pipe": "file and socket access belongs into an activity",
    "connect_write_pipe": "file and socket access belongs into an activity",
    "subprocess_shell": "processes belong into an activity",
    "subprocess_exec": "processes belong into an activity",
    "add_signal_handler": "operating system signals belong to the worker; use a perdure.Signal",
    "remove_signal_handler": "operating system signals belong to the worker",
}


def _refuse_read_only() -> NoReturn:
    raise ReadOnlyError(
        "a query handler or validator tried to wake, schedule or wait for something; it may only "
        "look at variables"
    )


def _refuse(name: str) -> NoReturn:
    raise UnsupportedInWorkflowError(
        f"workflow code called {name}() of its event loop, which can't be replayed: "
        f"{_INSTEAD[name]}"
    )


def _refusing(name: str) -> Callable[..., NoReturn]:
    def method(*_: Any, **__: Any) -> NoReturn:
        _refuse(name)

    method.__name__ = name
    method.__doc__ = f"Refused: {_INSTEAD[name]}."
    return method


for _name in _INSTEAD:
    setattr(WorkflowLoop, _name, _refusing(_name))
# Set after the class was made, so its abstract methods have to be recounted.
WorkflowLoop.__abstractmethods__ = frozenset()  # type: ignore[attr-defined]


def _refuse_as_completed(coro: Coroutine[Any, Any, Any]) -> None:
    """asyncio's ``as_completed`` starts coroutines in the order of a set of them."""
    frame = sys._getframe(2)  # pyright: ignore[reportPrivateUsage]
    for _ in range(4):
        if frame is None or frame.f_code.co_filename != _TASKS_FILE:
            return
        if "as_completed" in frame.f_code.co_name or "AsCompleted" in _qualname(frame.f_code):
            coro.close()
            raise UnsupportedInWorkflowError(
                "asyncio.as_completed() starts coroutines in an order that can't be repeated at a "
                "replay; use perdure.as_completed(), or pass futures and tasks"
            )
        frame = cast("Any", frame.f_back)


def _unfinished(generator: Any) -> bool:
    return generator.ag_frame is not None


def _qualname(code: Any) -> str:
    return str(getattr(code, "co_qualname", code.co_name))


def _swap_current_task(loop: Any, task: Any) -> Any:
    swap: Any = getattr(asyncio.tasks, "_swap_current_task")  # noqa: B009  # private in typeshed
    return swap(loop, task)
