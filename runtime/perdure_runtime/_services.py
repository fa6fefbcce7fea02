"""What the runtime is given from outside: ids, random numbers, and where leases are kept alive.

Nothing in worker and client reads a clock but their event loop's, or draws randomness but from
here. A simulation injects its own and runs a whole cluster on one loop with virtual time.

PYTEST_DONT_REWRITE
"""

from __future__ import annotations

import asyncio
import dataclasses
import random
import threading
from collections.abc import Callable, Coroutine
from typing import Any, Protocol

from perdure_backends import new_id


class Running(Protocol):
    """Something that was started and can be stopped."""

    async def stop(self) -> None:
        """Ends it and waits for the end."""
        ...


Main = Callable[[], Coroutine[Any, Any, None]]


class _ThreadRun:
    """A coroutine on a loop and thread of its own."""

    def __init__(self, main: Main, name: str) -> None:
        self._loop = asyncio.new_event_loop()
        self._task: asyncio.Task[None] | None = None
        self._started = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(main,), name=name, daemon=True)
        self._thread.start()
        self._started.wait()

    def _run(self, main: Main) -> None:
        loop = self._loop
        asyncio.set_event_loop(loop)
        self._task = loop.create_task(main())
        self._started.set()
        try:
            loop.run_until_complete(self._task)
        except asyncio.CancelledError:
            pass
        finally:
            asyncio.set_event_loop(None)
            loop.close()

    async def stop(self) -> None:
        task = self._task
        if task is not None:
            try:
                self._loop.call_soon_threadsafe(task.cancel)
            except RuntimeError:  # ended by itself
                pass
        await asyncio.get_running_loop().run_in_executor(None, self._thread.join)


class TaskRun:
    """A coroutine as a task of the running loop; for simulations."""

    def __init__(self, main: Main, name: str) -> None:
        self._task = asyncio.get_running_loop().create_task(main(), name=name)

    async def stop(self) -> None:
        """See :meth:`Running.stop`."""
        self._task.cancel()
        await asyncio.wait([self._task])


def _thread_run(main: Main, name: str) -> Running:
    return _ThreadRun(main, name)


@dataclasses.dataclass(frozen=True, slots=True)
class Services:
    """Injected into worker and client.

    Attributes:
        new_id: a fresh id of 32 hexadecimal digits.
        rng: for jitter and seeds; never for anything secret.
        run_aside: runs a coroutine where a blocked event loop does not stop it.
        watchdog: whether turns are guarded by a thread (not in simulations).
        guard: whether calls of workflow code are judged at all.
        shows_itself: whether workers publish schemas and rates (not in tests of their own time).
        clock: the store's time in microseconds, where it need not be estimated between its
            answers: in tests, which set it.
    """

    new_id: Callable[[], str] = new_id
    rng: random.Random = dataclasses.field(default_factory=random.SystemRandom)
    run_aside: Callable[[Main, str], Running] = _thread_run
    watchdog: bool = True
    guard: bool = True
    shows_itself: bool = True
    clock: Callable[[], int] | None = None
