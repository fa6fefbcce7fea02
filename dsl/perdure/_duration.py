"""Durations: seconds as numbers, or ``timedelta``, wherever one is asked for.

PYTEST_DONT_REWRITE
"""

from __future__ import annotations

import math
from datetime import timedelta
from typing import TypeAlias

from ._errors import InvalidOptionError

Duration: TypeAlias = float | timedelta
"""Seconds, or a ``timedelta``."""


def seconds(duration: Duration, what: str = "duration") -> float:
    """``duration`` in seconds.

    Raises:
        InvalidOptionError: it is negative, infinite or not a number.
    """
    value = duration.total_seconds() if isinstance(duration, timedelta) else float(duration)
    if not (value >= 0 and math.isfinite(value)):
        raise InvalidOptionError(
            f"{what} must be a finite number of seconds, 0 or more: {duration!r}"
        )
    return value
