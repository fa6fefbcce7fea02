"""States of runs and beginnings of ids as SQL says them; the same in every store with tables.

PYTEST_DONT_REWRITE
"""

from __future__ import annotations

from typing import Final

HIGHEST: Final = "\U0010ffff" * 4
"""Behind all that an id can go on with."""

_UNFINISHED: Final = "r.status <> 'completed' AND r.status <> 'continued_as_new'"
"""Said again and again: it is what the index by state has, and so which rows it can find."""

_HELD: Final = {
    "running": "r.suspended = 0 AND r.park IS NULL",
    "suspended": "r.suspended = 1",
    "parked": "r.suspended = 0 AND r.park IS NOT NULL",
}
"""What a state means where it is not the status: of runs that are running."""


def in_state(state: str, parameter: str) -> str:
    """The condition for runs in a state; ``parameter`` stands for :func:`status_in` of it."""
    parts = [f"r.status = {parameter}"]
    if state in _HELD:
        parts.append(_HELD[state])
    if state not in ("completed", "continued_as_new"):
        parts.append(_UNFINISHED)
    return " AND ".join(parts)


def status_in(state: str) -> str:
    """The status of runs in a state."""
    return "running" if state in _HELD else state
