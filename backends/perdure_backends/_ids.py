"""Random ids, many to one read of the system's generator.

PYTEST_DONT_REWRITE
"""

from __future__ import annotations

import os
import threading
from typing import Final

_BYTES: Final = 16
_BATCH: Final = 256


class RandomIds:
    """Ids of 32 hexadecimal digits. A call to the system for each would cost more than a turn.

    Safe between threads; a forked child starts with a buffer of its own.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._buffer: list[str] = []
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._buffer.clear)

    def __call__(self) -> str:
        """A fresh id."""
        try:
            return self._buffer.pop()
        except IndexError:
            return self._refill()

    def _refill(self) -> str:
        with self._lock:
            text = os.urandom(_BYTES * _BATCH).hex()
            width = 2 * _BYTES
            self._buffer += [text[i : i + width] for i in range(0, len(text), width)]
            return self._buffer.pop()


new_id: Final = RandomIds()
"""A fresh id of 32 hexadecimal digits."""


def new_token() -> str:
    """A random lease token of 16 hexadecimal digits."""
    return new_id()[:16]
