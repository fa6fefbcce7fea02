"""Stops workflow code that does not yield.

A thread watches how long the current turn has been running. At the limit it logs the stack and
raises :class:`TurnBlockedError` into the turn; where that can't help (the code sits in a C call),
it gives up at twice the limit, so that the session ends and other workers take over.

PYTEST_DONT_REWRITE
"""

from __future__ import annotations

import logging
import sys
import threading
import time
import traceback
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Final, TypeVar

from .._core import Fault

T = TypeVar("T")

_log: Final = logging.getLogger("perdure.runtime")


class TurnBlockedError(BaseException):
    """Raised into a turn that ran longer than the limit."""


class Watchdog:
    """Guards turns of one thread.

    Args:
        limit: seconds that a turn may run.
        give_up: called from the watching thread when raising did not end the turn.
    """

    def __init__(self, limit: float, give_up: Callable[[str], None]) -> None:
        self._limit = limit
        self._give_up = give_up
        self._lock = threading.Lock()
        self._since: float | None = None
        self._what = ""
        self._thread_id = 0
        self._raised = False
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Starts watching the calling thread."""
        self._thread_id = threading.get_ident()
        self._thread = threading.Thread(target=self._watch, name="perdure-watchdog", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Ends the watching thread."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()

    @contextmanager
    def guard(self, what: str) -> Generator[None]:
        """Around one turn. Raises :class:`TurnBlockedError` inside it at the limit."""
        self._what = what
        self._raised = False
        self._since = time.monotonic()
        try:
            yield
        except TurnBlockedError:
            pass
        finally:
            with self._lock:
                self._since = None
        if self._raised:
            # Also when the code has come to an end: what it did then, it did too late, and the
            # exception may have been taken for its outcome.
            self._absorb()
            raise TurnBlockedError

    def _absorb(self) -> None:
        """Lets an exception that is still on its way arrive here and nowhere else."""
        try:
            for _ in range(1000):
                pass
        except TurnBlockedError:
            pass

    def _watch(self) -> None:
        import ctypes  # here, in a thread of its own: it takes a while

        reported: float | None = None
        given_up: float | None = None
        while not self._stop.wait(min(self._limit / 4, 0.5)):
            if sys.gettrace() is not None or "pydevd" in sys.modules:
                continue  # somebody stands at a breakpoint
            with self._lock:
                since = self._since
                if since is None:
                    continue
                running = time.monotonic() - since
                if running < self._limit:
                    continue
                first = reported != since
                if first:
                    reported = since
                    self._raised = True
                    ctypes.pythonapi.PyThreadState_SetAsyncExc(
                        ctypes.c_ulong(self._thread_id), ctypes.py_object(TurnBlockedError)
                    )
            if first:
                _log.error(
                    "workflow %s has run for %.1f s without yielding:\n%s",
                    self._what,
                    running,
                    self._stack(),
                )
            elif running > 2 * self._limit and given_up != since:
                given_up = since
                self._give_up(self._what)

    def _stack(self) -> str:
        frame = sys._current_frames().get(self._thread_id)  # pyright: ignore[reportPrivateUsage]
        return "".join(traceback.format_stack(frame)) if frame is not None else ""


def guarded(watchdog: Watchdog | None, what: str, step: Callable[[], T]) -> T | Fault:
    """What ``step`` returns; a fault when it runs too long or breaks down."""
    try:
        if watchdog is None:
            return step()
        with watchdog.guard(what):
            return step()
    except TurnBlockedError:
        pass
    except Exception as error:
        _log.exception("internal error in a turn of %r", what)
        return Fault("internal", f"{type(error).__name__}: {error}", {}, error)
    return Fault(
        "blocked",
        "the workflow's code ran too long without yielding (an endless loop, a blocking call); "
        "move slow work into an activity",
    )
