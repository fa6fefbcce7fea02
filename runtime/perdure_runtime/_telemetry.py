"""What worker and client report while they work. By default nobody listens.

PYTEST_DONT_REWRITE
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import NamedTuple, Protocol

from perdure_backends import Backend
from perdure_backends import history as h
from perdure_backends.records import ActivityTask, TurnCommit, TurnTask

from ._core import SpanNote


class WorkerState(Protocol):
    """What can be asked of a worker at any time, from its own thread or another one."""

    @property
    def build(self) -> str:
        """The id of its code."""
        ...

    @property
    def session_id(self) -> str | None:
        """Its session; ``None`` while it is not running."""
        ...

    @property
    def queues(self) -> Sequence[str]:
        """The queues that it serves."""
        ...

    @property
    def backend(self) -> Backend:
        """Its store."""
        ...

    @property
    def cached_instances(self) -> int:
        """Instances in memory."""
        ...

    @property
    def slots(self) -> dict[str, tuple[int, int]]:
        """Slots in use and in all, for ``turns`` and ``activities``."""
        ...


class CommittedTurn(NamedTuple):
    """A turn that the store has acknowledged.

    Attributes:
        task: the claim under which it ran.
        started: the first event of the run.
        ran: seconds that its code took.
        stored: seconds that its commit took.
        spans: those that ended in it.
    """

    task: TurnTask
    commit: TurnCommit
    started: h.WorkflowStarted | None
    ran: float
    stored: float
    spans: Sequence[SpanNote]


class Telemetry:
    """Told by workers and clients what they do. Override what you need; nothing may raise.

    Called on the worker's or client's event loop and in its way: be quick. What needs time goes
    into a queue of your own. :class:`perdure_runtime.otel.OpenTelemetry` is one.

    Attributes:
        traces: whether runs note spans, and send their trace along with what they call.
        stable_ids: whether spans of runs are emitted under the ids that follow from the run.
        times_store: whether :meth:`store_called` is wanted.
    """

    traces: bool = False
    stable_ids: bool = False
    times_store: bool = False

    # --- clients

    def calling(
        self, operation: str, name: str, instance_id: str
    ) -> AbstractContextManager[object]:
        """Around a client's call: ``start``, ``signal``, ``update``, ``query``, ``result`` …

        Args:
            name: of the workflow or message; empty where there is none.
        """
        return contextlib.nullcontext()

    def inject(self, headers: dict[str, bytes]) -> None:
        """Adds to the headers of what a client sends, within :meth:`calling`."""

    # --- workers

    def worker_began(self, worker: WorkerState) -> None:
        """A worker takes up its work; for gauges."""

    def worker_ended(self, worker: WorkerState) -> None:
        """It has ended, or was given up."""

    def turn_claimed(self, task: TurnTask, *, cached: bool) -> None:
        """An instance was claimed that was in memory already, or was not."""

    def run_replayed(self, task: TurnTask, events: int, seconds: float) -> None:
        """A claimed instance was brought up from its history."""

    def turn_committed(self, turn: CommittedTurn) -> None:
        """The store has acknowledged a turn."""

    def turn_refused(self, task: TurnTask, reason: str) -> None:
        """A turn was not taken: ``stale``, ``gone``, ``behind``, or ``unavailable``."""

    def run_parked(self, task: TurnTask, reason: str) -> None:
        """An instance was put aside."""

    def run_evicted(self, reason: str) -> None:
        """An instance left memory: ``finished``, ``capacity``, ``sleeping``, ``lost``."""

    def attempt(self, task: ActivityTask) -> AbstractContextManager[tuple[str, str] | None]:
        """Around an attempt of an activity; gives the ids of its trace and span."""
        return contextlib.nullcontext()

    def attempt_ended(self, task: ActivityTask, outcome: str, seconds: float) -> None:
        """An attempt ended: ``completed``, ``failed``, ``retried``, ``cancelled`` or ``later``."""

    def session_lost(self) -> None:
        """The worker's lease has ended without its doing."""

    def others_lost(self, count: int) -> None:
        """Sessions of other workers were found dead."""

    def store_called(self, operation: str, seconds: float, error: str | None) -> None:
        """A method of the store has returned, or raised an error of that type."""


NOBODY = Telemetry()
"""Listens to nothing."""
