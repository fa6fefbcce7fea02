"""A store in memory that says what happens in it.

PYTEST_DONT_REWRITE
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import NamedTuple

from perdure_backends import history as h
from perdure_backends.memory import MemoryBackend
from perdure_backends.records import CommitOutcome, CommitResult, TurnCommit

from ._clock import to_datetime


class Happened(NamedTuple):
    """Something that a workflow did or was told, once it was committed.

    Attributes:
        time: of its turn.
        instance_id: the instance.
        event: such as ``ActivityScheduled`` or ``TimerFired`` (see ``perdure_backends.history``).
    """

    time: datetime
    instance_id: str
    event: h.AnyEvent


Listener = Callable[[Happened], None]


class ObservedStore(MemoryBackend):
    """Tells listeners of each event of each committed turn.

    Args:
        clock: microseconds since the epoch.
    """

    def __init__(self, clock: Callable[[], int]) -> None:
        super().__init__(clock=clock)
        self.listeners: list[Listener] = []

    async def commit(self, commits: Sequence[TurnCommit]) -> list[CommitOutcome]:
        """See :meth:`Backend.commit`."""
        instances: dict[str, str] = {}
        if self.listeners:
            runs = [one.run_id for one in commits]
            records = zip(runs, await self.describe_runs(runs), strict=True)
            instances = {run: record.instance_id for run, record in records if record is not None}
        outcomes = await super().commit(commits)
        if self.listeners:
            for commit, outcome in zip(commits, outcomes, strict=True):
                if outcome.result is CommitResult.APPLIED and commit.record:
                    self._tell(instances.get(commit.run_id, ""), commit.record)
        return outcomes

    def _tell(self, instance_id: str, record: bytes) -> None:
        turn = h.decode_turn(record)
        for event in turn.events:
            happened = Happened(to_datetime(turn.time), instance_id, event)
            for listener in list(self.listeners):
                listener(happened)
