"""How often and how fast a failed activity is tried again.

PYTEST_DONT_REWRITE
"""

from __future__ import annotations

import math
from datetime import timedelta
from typing import ClassVar

import msgspec

from ._duration import Duration, seconds
from ._errors import InvalidOptionError
from ._failure import Failure


class Retry(msgspec.Struct, frozen=True):
    """A retry policy. Three attempts, 1 s apart, doubled, at most a minute, unless said otherwise.

    Args:
        attempts: how often the activity is tried in all, the first time included; 0 means for ever.
        interval: wait before the second attempt (seconds or ``timedelta``).
        backoff: factor by which each wait is longer than the one before it.
        max_interval: longest wait.
        jitter: share of each wait, 0 to 1, that is drawn at random (0.1 means 90–100 %).
        total: time from the first schedule after which no further attempt starts.
        non_retryable: type names of failures that end the retries at once.

    Raises:
        InvalidOptionError: a value is out of range.
    """

    attempts: int = 3
    interval: Duration = 1.0
    backoff: float = 2.0
    max_interval: Duration = 60.0
    jitter: float = 0.0
    total: Duration | None = None
    non_retryable: tuple[str, ...] = ()

    never: ClassVar[Retry]
    forever: ClassVar[Retry]

    def __post_init__(self) -> None:
        if self.attempts < 0:
            raise InvalidOptionError(f"attempts must be 0 (for ever) or more, not {self.attempts}")
        if not (self.backoff >= 1 and math.isfinite(self.backoff)):
            raise InvalidOptionError(f"backoff must be 1 or more, not {self.backoff}")
        if not 0 <= self.jitter <= 1:
            raise InvalidOptionError(f"jitter must lie between 0 and 1, not {self.jitter}")
        for field in ("interval", "max_interval", "total"):
            value: float | timedelta | None = getattr(self, field)
            if value is not None:
                seconds(value, field)

    def delay(self, attempt: int, *, draw: float = 0.0) -> float:
        """Seconds to wait after attempt number ``attempt`` (from 1) failed.

        Args:
            draw: a random number in [0, 1), used for the jitter.
        """
        # Capped exponent: 2.0 ** 1024 overflows, and the cap is reached long before.
        factor = self.backoff ** min(attempt - 1, 64)
        wait = min(seconds(self.interval) * factor, seconds(self.max_interval))
        return wait * (1 - self.jitter * draw)

    def next_delay(
        self, attempt: int, failure: Failure, *, elapsed: float, draw: float = 0.0
    ) -> float | None:
        """Seconds until the next attempt, or ``None`` when there is to be none.

        Args:
            attempt: number of the attempt that failed, from 1.
            elapsed: seconds since the activity was scheduled.
        """
        if not failure.retryable or failure.type in self.non_retryable:
            return None
        if self.attempts and attempt >= self.attempts:
            return None
        wait = self.delay(attempt, draw=draw)
        if self.total is not None and elapsed + wait > seconds(self.total):
            return None
        return wait


Retry.never = Retry(attempts=1)
Retry.forever = Retry(attempts=0)
