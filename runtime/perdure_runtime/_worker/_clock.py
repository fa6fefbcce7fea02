"""The store's time, between its answers.

PYTEST_DONT_REWRITE
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable


class StoreClock:
    """The store's time at its last answer plus monotonic time since; it never goes back.

    Args:
        source: says the store's time, where it is known.
    """

    def __init__(self, source: Callable[[], int] | None = None) -> None:
        self._source = source
        self._loop = asyncio.get_running_loop()
        self._base = 0
        self._at = 0.0
        self._last = 0

    def update(self, store_time: int) -> None:
        """The store has just said what time it is.

        Answers may overtake each other. No turn may be earlier than what any of them said: the
        timer that it is about is due by that.
        """
        self._last = max(self._last, store_time)
        self._base = store_time
        self._at = self._loop.time()

    def now(self) -> int:
        """Microseconds since the epoch."""
        if self._source is not None:
            return self._source()
        now = self._base + int((self._loop.time() - self._at) * 1_000_000)
        self._last = max(self._last, now)
        return self._last
