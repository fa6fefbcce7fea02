"""Source lines of workflow code: where a command was issued, where a task waits.

PYTEST_DONT_REWRITE
"""

from __future__ import annotations

import asyncio
import functools
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


_ours: Final[dict[str, bool]] = {}


def is_ours(filename: str) -> bool:
    """Whether a file is Perdure's or asyncio's, and not code that somebody wrote with them."""
    found = _ours.get(filename)
    if found is None:
        found = filename.startswith(_OURS) and not filename.startswith(_SUITE)
        _ours[filename] = found
    return found


Place = tuple[str, int]
"""A file and a line."""


@functools.cache  # there are as many as places in the code that issue something
def brief_line(place: Place | None) -> str:
    """``folder/file.py:12``: what a history keeps of a place."""
    if place is None:
        return ""
    folder, name = os.path.split(place[0])
    return f"{os.path.basename(folder)}/{name}:{place[1]}" if folder else f"{name}:{place[1]}"


def source_place(frame: FrameType | None) -> Place | None:
    """The innermost frame that is neither ours nor asyncio's, up to the workflow's loop."""
    known = _ours.get  # each command of each workflow comes by here
    while frame is not None:
        code = frame.f_code
        ours = known(code.co_filename)
        if ours is None:
            ours = is_ours(code.co_filename)
        if not ours:
            return code.co_filename, frame.f_lineno
        if code.co_name == "run_ready":
            return None
        frame = frame.f_back
    return None


def raising_place(error: BaseException | None) -> Place | None:
    """Where user code raised an exception, or let it through."""
    found: Place | None = None
    step = error.__traceback__ if error is not None else None
    while step is not None:
        name = step.tb_frame.f_code.co_filename
        if not is_ours(name):
            found = name, step.tb_lineno
        step = step.tb_next
    return found


def waiting_lines(tasks: Iterable[asyncio.Task[Any]]) -> list[str]:
    """Where each task waits: ``name at file:line``."""
    lines: list[str] = []
    for task in tasks:
        frames = waiting_frames(task.get_coro())
        if frames:
            code = frames[-1].f_code
            lines.append(f"{task.get_name()} at {code.co_filename}:{frames[-1].f_lineno}")
    return lines


def waiting_frames(awaitable: Any) -> list[FrameType]:
    """The frames of user code on a chain of awaits, the innermost last."""
    found: list[FrameType] = []
    while awaitable is not None:
        frame: FrameType | None = getattr(awaitable, "cr_frame", None) or getattr(
            awaitable, "gi_frame", None
        )
        if frame is not None and not is_ours(frame.f_code.co_filename):
            found.append(frame)
        awaitable = getattr(awaitable, "cr_await", None) or getattr(awaitable, "gi_yieldfrom", None)
    return found
