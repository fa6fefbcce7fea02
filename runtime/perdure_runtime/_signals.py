"""SIGINT and SIGTERM as a wish to end in good order.

PYTEST_DONT_REWRITE
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Callable, Generator


@contextlib.contextmanager
def on_signals(stop: Callable[[], None]) -> Generator[None]:
    """Calls ``stop`` on the running loop for each of them, in place of what they do else."""
    loop = asyncio.get_running_loop()
    handled: list[signal.Signals] = []
    for number in (signal.SIGTERM, signal.SIGINT):
        try:
            loop.add_signal_handler(number, stop)
            handled.append(number)
        except (NotImplementedError, RuntimeError, ValueError):
            pass  # Windows, or not the main thread: the caller stops it
    try:
        yield
    finally:
        for number in handled:
            loop.remove_signal_handler(number)
