"""A timer: started, cancelled or fired.

PYTEST_DONT_REWRITE
"""

from __future__ import annotations

import asyncio
from typing import Any, ClassVar

from perdure_backends.history import TimerCancelled, TimerFired

from .._loop import WorkflowLoop
from ._base import Machine, Owner, State, Step


class TimerMachine(Machine):
    """Waits for a due time. What runs then is a handle of the loop, asyncio's own or ours."""

    transitions: ClassVar = {
        (State.ISSUED, Step.RESOLVE): State.DONE,
        (State.ISSUED, Step.CANCEL): State.DONE,
    }

    def __init__(
        self, owner: Owner, number: int, loop: WorkflowLoop, handle: asyncio.TimerHandle
    ) -> None:
        super().__init__(owner, number)
        self._loop = loop
        self.handle = handle

    def cancel(self) -> None:
        """The handle was cancelled before it ran."""
        if self.state is State.ISSUED:
            self.owner.issue(TimerCancelled(self.number))
            self.move(Step.CANCEL)

    def receive(self, event: Any) -> bool:
        """Fired."""
        if not isinstance(event, TimerFired):
            return False
        self.move(Step.RESOLVE)
        self._loop.run_timer(self.handle)
        return True

    def describe(self) -> str:
        """``a timer``."""
        return "a timer"
