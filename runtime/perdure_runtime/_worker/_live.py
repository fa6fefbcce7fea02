"""An instance in a worker's memory.

PYTEST_DONT_REWRITE
"""

from __future__ import annotations

import asyncio
import collections
import enum
from typing import NamedTuple

from perdure_backends.history import Received
from perdure_backends.records import TurnTask

from .._core import Execution


class Phase(enum.Enum):
    """What happens to an instance right now."""

    LOADING = "loading"
    IDLE = "idle"
    QUEUED = "queued"
    COMMITTING = "committing"


class Arrival(NamedTuple):
    """Something for the next turn: from the inbox (``seq`` > 0), or a result of this worker."""

    seq: int
    entry: bytes | Received
    number: int = 0
    token: str = ""


class Live:
    """A run that this worker holds in memory, with or without its lease."""

    __slots__ = (
        "execution",
        "in_flight",
        "last_seq",
        "local",
        "owned",
        "pending",
        "phase",
        "replayed",
        "running_here",
        "spent",
        "submitted_at",
        "task",
        "turn",
    )

    def __init__(self, task: TurnTask) -> None:
        self.task = task
        self.execution: Execution | None = None
        self.phase = Phase.LOADING
        self.owned = True
        self.turn = task.turn
        self.last_seq = 0
        # Brought up from its history, and no turn of this copy committed so far.
        self.replayed = False
        # Seconds that the code of the current turn has taken, and when its commit was sent.
        self.spent = 0.0
        self.submitted_at = 0.0
        self.pending: collections.deque[Arrival] = collections.deque()
        # What the turn was given whose commit is on its way.
        self.in_flight: list[Arrival] = []
        # Activities of this run that this worker executes; while there are any, the lease stays.
        self.running_here = 0
        # Local activities of the turn that is being run, by number.
        self.local: dict[int, asyncio.Task[None]] = {}

    @property
    def run_id(self) -> str:
        """The run."""
        return self.task.run_id

    def add_inbox(self, task: TurnTask) -> None:
        """Takes what a claim brought, without what is known already."""
        self.task = task
        for item in task.inbox:
            if item.seq > self.last_seq:
                self.last_seq = item.seq
                self.pending.append(Arrival(item.seq, item.entry))


def log_fields(task: TurnTask) -> dict[str, object]:
    """What log records say of an instance."""
    return {
        "instance_id": task.instance_id,
        "run_id": task.run_id,
        "workflow": task.workflow,
        "queue": task.queue,
    }
