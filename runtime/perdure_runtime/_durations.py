"""Durations of options as the store's microseconds.

PYTEST_DONT_REWRITE
"""

from __future__ import annotations

from perdure import Duration, InvalidOptionError


def microseconds(duration: Duration | None) -> int | None:
    """Whole microseconds; ``None`` stays ``None``."""
    if duration is None:
        return None
    value = duration if isinstance(duration, (int, float)) else duration.total_seconds()
    return round(value * 1_000_000)


def as_seconds(duration: Duration, what: str) -> float:
    """Seconds.

    Raises:
        InvalidOptionError: it is not above 0.
    """
    micros = microseconds(duration)
    if micros is None or micros <= 0:
        raise InvalidOptionError(f"{what} must be longer than 0, not {duration!r}")
    return micros / 1_000_000
