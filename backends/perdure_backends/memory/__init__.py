"""The store in this process's memory: for tests, scripts and simulation. Nothing is kept.

PYTEST_DONT_REWRITE
"""

from __future__ import annotations

from perdure import InvalidOptionError

from .._urls import Location, Options
from ._backend import MemoryBackend as MemoryBackend

__all__ = ["MemoryBackend", "from_url"]


def from_url(location: Location) -> MemoryBackend:
    """``memory://``: a new, empty store each time.

    Raises:
        InvalidOptionError: there is more than that.
    """
    Options("memory", location).done()
    if location.path:
        raise InvalidOptionError(f"memory: there is nothing at {location.path!r}; write memory://")
    return MemoryBackend()
