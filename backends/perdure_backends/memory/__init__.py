"""The store in this process's memory: for tests, scripts and simulation. Nothing is kept.

PYTEST_DONT_REWRITE
"""

from __future__ import annotations

from .._urls import option_error
from ._backend import MemoryBackend as MemoryBackend

__all__ = ["MemoryBackend", "from_url"]


def from_url(location: str, options: dict[str, str]) -> MemoryBackend:
    """``memory://``: a new, empty store each time."""
    if options or location:
        raise option_error("memory", set(options) or {location}, ())
    return MemoryBackend()
