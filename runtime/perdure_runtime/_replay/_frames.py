"""What the tasks of a workflow have in hand: their functions, lines and local variables.

PYTEST_DONT_REWRITE
"""

from __future__ import annotations

import asyncio
import dataclasses
import reprlib
import sys
from types import FrameType
from typing import Final

from .._core import Execution
from .._core._loop import WorkflowLoop
from .._core._sources import is_ours, waiting_frames

_MOST_TASKS: Final = 100
_LOOP_CODE: Final = WorkflowLoop.run_ready.__code__


@dataclasses.dataclass(frozen=True, slots=True)
class FrameView:
    """A function that has been entered and not left.

    Attributes:
        line: that runs, or awaits; from 1.
        variables: the local ones by name, as ``repr``, cut where they are long.
    """

    function: str
    file: str
    line: int
    variables: dict[str, str]


@dataclasses.dataclass(frozen=True, slots=True)
class TaskView:
    """A task of the workflow.

    Attributes:
        running: it runs at this moment; the others wait.
        frames: the user's functions, the innermost last.
    """

    name: str
    running: bool
    frames: list[FrameView]


def views(execution: Execution) -> list[TaskView]:
    """The tasks; first the one that runs. At most 100."""
    return [
        TaskView(name, running, [_view(frame) for frame in frames])
        for name, running, frames in tasks(execution)[:_MOST_TASKS]
    ]


def tasks(execution: Execution) -> list[tuple[str, bool, list[FrameType]]]:
    """By task: its name, whether it runs, its frames."""
    stack = _running_frames()
    running = asyncio.current_task(execution.loop) if stack else None
    found: list[tuple[str, bool, list[FrameType]]] = []
    for task in execution.loop.tasks():
        runs = task is running
        frames = stack if runs else waiting_frames(task.get_coro())
        if frames:
            found.append((task.get_name(), runs, frames))
    if stack and running is None:
        found.append(("callback", True, stack))
    return sorted(found, key=lambda one: not one[1])


def _running_frames() -> list[FrameType]:
    """The user's functions on this thread's stack, up to the workflow's loop."""
    found: list[FrameType] = []
    frame: FrameType | None = sys._getframe(1)  # pyright: ignore[reportPrivateUsage]
    while frame is not None and frame.f_code is not _LOOP_CODE:
        if not is_ours(frame.f_code.co_filename):
            found.append(frame)
        frame = frame.f_back
    return [] if frame is None else found[::-1]


def _view(frame: FrameType) -> FrameView:
    return FrameView(
        function=frame.f_code.co_qualname,
        file=frame.f_code.co_filename,
        line=frame.f_lineno,
        variables={name: shown(value) for name, value in frame.f_locals.items()},
    )


class _Repr(reprlib.Repr):
    """Longer than the standard's: a value should be recognised."""

    def __init__(self) -> None:
        super().__init__()
        self.maxstring = self.maxother = self.maxlong = 200
        self.maxlist = self.maxtuple = self.maxdict = self.maxset = self.maxdeque = 20


_repr: Final = _Repr()


def shown(value: object) -> str:
    """A value for people; whatever its ``__repr__`` raises is shown in its place."""
    try:
        return _repr.repr(value)
    except Exception as error:
        return f"<{type(value).__name__}: its repr raised {type(error).__name__}>"
