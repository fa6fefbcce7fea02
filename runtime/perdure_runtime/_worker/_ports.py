"""What the parts of a worker ask of each other.

PYTEST_DONT_REWRITE
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Protocol

from perdure_backends.history import Received
from perdure_backends.records import ActivityTask, NewActivity

from .._core import Execution, Fault, Scheduled
from ._live import Arrival, Live


class Activities(Protocol):
    """What turns need of the side that runs activities."""

    def reserve(self, new: NewActivity) -> str | None:
        """A slot for an activity that was just scheduled: its token, if there is one free."""
        ...

    def unreserve(self, tokens: Sequence[str]) -> None:
        """Slots of activities that were not committed."""
        ...

    def start_reserved(self, live: Live, task: ActivityTask) -> None:
        """Starts an activity whose slot was reserved; its record is committed."""
        ...

    def cancel(self, run_id: str, numbers: Sequence[int] | None) -> None:
        """Running activities that nobody wants any more; ``None`` means all of the run."""
        ...

    def settle_lost(self, run_id: str, arrivals: Sequence[Arrival]) -> None:
        """Results that could not ride in a turn go to the inbox."""
        ...

    def start_local(
        self, live: Live, scheduled: Scheduled, time: int, done: Callable[[Received | None], None]
    ) -> asyncio.Task[None]:
        """Runs a local activity; ``done`` gets its outcome, ``None`` when the worker stops."""
        ...


class Checker(Protocol):
    """Judges turns before they are committed."""

    async def check(self, execution: Execution, record: bytes) -> Fault | None:
        """Whether a turn must not be committed."""
        ...
