"""Time in tests: it stands still, jumps to what comes next, and runs while real work is done.

PYTEST_DONT_REWRITE
"""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Final

START: Final = datetime(2025, 1, 1, tzinfo=UTC)
"""Where tests begin unless they say otherwise."""


class VirtualClock:
    """Microseconds since the epoch.

    Args:
        start: when it begins.
    """

    def __init__(self, start: datetime) -> None:
        self._base = to_microseconds(start)
        self._running_since: int | None = None

    def __call__(self) -> int:
        """The time."""
        if self._running_since is None:
            return self._base
        return self._base + (time.monotonic_ns() - self._running_since) // 1000

    @property
    def now(self) -> datetime:
        """The time as a ``datetime`` in UTC."""
        return to_datetime(self())

    def jump(self, to: int) -> None:
        """Goes on to a later time; never back."""
        self._base = max(to, self())
        if self._running_since is not None:
            self._running_since = time.monotonic_ns()

    def run(self) -> None:
        """Lets time pass as it really does."""
        if self._running_since is None:
            self._running_since = time.monotonic_ns()

    def stop(self) -> None:
        """Lets it stand still."""
        self._base = self()
        self._running_since = None


def to_microseconds(moment: datetime) -> int:
    """A time with a zone (UTC where it has none) as microseconds since the epoch."""
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    since = moment - datetime(1970, 1, 1, tzinfo=UTC)
    return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds


def to_datetime(microseconds: int) -> datetime:
    """The other way round."""
    seconds, rest = divmod(microseconds, 1_000_000)
    return datetime.fromtimestamp(seconds, UTC).replace(microsecond=rest)
