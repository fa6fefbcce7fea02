"""Source lines of workflow code: where a command was issued, where a task waits.

PYTEST_DONT_REWRITE
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterable
from types import FrameType
from typing import Any, Final

import perdure

_OURS: Final = (
    os.path.dirname(perdure.__file__) + os.sep,
    os.path.dirname(os.path.dirname(__file__)) + os.sep,
    os.path.dirname(asyncio.__file__) + os.sep,
)


_SUITE: Final = os.path.join(os.path.dirname(os.path.dirname(__file__)), "conformance") + os.sep
"""Workflows of the shipped test suite: ours, but users' code all the same."""


def is_ours(filename: str) -> bool:
    """Whether a file is Perdure's or asyncio's, and not code that somebody wrote with them."""
    return filename.startswith(_OURS) and not filename.startswith(_SUITE)


def source_line(frame: FrameType | None) -> str:
    """``file:line`` of the innermost frame that is neither ours nor asyncio's."""
    while frame is not None:
        if not is_ours(frame.f_code.co_filename):
            return f"{frame.f_code.co_filename}:{frame.f_lineno}"
        frame = frame.f_back
    return ""


def waiting_lines(tasks: Iterable[asyncio.Task[Any]]) -> list[str]:
    """Where each task waits: ``name at file:line``."""
    lines: list[str] = []
    for task in tasks:
        line = _waiting_line(task.get_coro())
        if line:
            lines.append(f"{task.get_name()} at {line}")
    return lines


def _waiting_line(awaitable: Any) -> str:
    """The innermost line of user code on the chain of awaits."""
    found = ""
    while awaitable is not None:
        frame: FrameType | None = getattr(awaitable, "cr_frame", None) or getattr(
            awaitable, "gi_frame", None
        )
        if frame is not None and not is_ours(frame.f_code.co_filename):
            found = f"{frame.f_code.co_filename}:{frame.f_lineno}"
        awaitable = getattr(awaitable, "cr_await", None) or getattr(awaitable, "gi_yieldfrom", None)
    return found
