"""Metrics: what workers do, and how their store looks.

Names follow OpenTelemetry's: dots, no unit in the name, seconds. Attributes are bounded: after the
first two hundred workflows, activities or queues, more of them count as ``other``.

PYTEST_DONT_REWRITE
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from typing import Final

from opentelemetry.metrics import CallbackOptions, Histogram, MeterProvider, Observation
from perdure import BackendError
from perdure_backends import Overseeing
from perdure_backends.records import ActivityTask, Overview, TurnTask

from .._telemetry import CommittedTurn, WorkerState

_log: Final = logging.getLogger("perdure.runtime")

_NAMES: Final = 200
"""Values that an attribute may take before others are counted together."""

_MOST: Final = 10_000

_SECONDS: Final = (
    *(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0),
    *(60.0, 300.0, 1800.0, 3600.0),
)
_LONG: Final = (*_SECONDS, 21_600.0, 86_400.0, 604_800.0, 2_592_000.0)
_EVENTS: Final = (10, 30, 100, 300, 1000, 3000, 10_000, 30_000, 100_000)


class _Bounded:
    """Values of attributes, bounded for each of them."""

    def __init__(self) -> None:
        self._seen: dict[str, set[str]] = {}

    def __call__(self, attribute: str, value: str) -> str:
        seen = self._seen.setdefault(attribute, set())
        if value in seen:
            return value
        if len(seen) >= _NAMES:
            return "other"
        seen.add(value)
        return value


class Metrics:
    """The instruments.

    Args:
        interval: seconds between looks at the store, for the gauges of what waits.
    """

    def __init__(self, provider: MeterProvider, version: str, interval: float | None) -> None:
        self._interval = interval
        self._bounded = _Bounded()
        self._workers: dict[int, WorkerState] = {}
        self._overviews: dict[int, Overview] = {}
        self._looking: dict[int, asyncio.Task[None]] = {}
        meter = provider.get_meter("perdure", version)

        def seconds(name: str, text: str, bounds: tuple[float, ...] = _SECONDS) -> Histogram:
            return meter.create_histogram(
                name, "s", text, explicit_bucket_boundaries_advisory=bounds
            )

        self._starts = meter.create_counter(
            "perdure.workflow.starts", "{run}", "Runs whose first turn was committed"
        )
        self._finishes = meter.create_counter(
            "perdure.workflow.finishes", "{run}", "Runs that ended, by outcome"
        )
        self._lifetime = seconds(
            "perdure.workflow.duration", "From the start of a run to its end", _LONG
        )
        self._parks = meter.create_counter(
            "perdure.workflow.parks", "{run}", "Instances put aside, by reason"
        )
        self._turn = seconds("perdure.turn.duration", "Time that a turn's code took")
        self._commit = seconds("perdure.turn.commit.duration", "Time that a turn's commit took")
        self._turn_wait = seconds("perdure.turn.wait", "Time that an instance waited for a worker")
        self._refusals = meter.create_counter(
            "perdure.turn.refusals", "{turn}", "Turns that the store did not take, by reason"
        )
        self._scheduled = meter.create_counter(
            "perdure.activity.schedules", "{activity}", "Activities that turns scheduled"
        )
        self._attempt = seconds(
            "perdure.activity.duration", "Time that attempts took, by outcome", _LONG
        )
        self._activity_wait = seconds(
            "perdure.activity.wait", "Time that activities waited for a worker, when due", _LONG
        )
        self._lookups = meter.create_counter(
            "perdure.cache.lookups", "{lookup}", "Claimed instances that were in memory, or not"
        )
        self._evictions = meter.create_counter(
            "perdure.cache.evictions", "{run}", "Instances that left memory, by reason"
        )
        self._replayed = meter.create_histogram(
            "perdure.replay.events",
            "{event}",
            "Events of replayed histories",
            explicit_bucket_boundaries_advisory=_EVENTS,
        )
        self._replay = seconds("perdure.replay.duration", "Time that replays took")
        self._sessions = meter.create_counter(
            "perdure.session.losses", "{session}", "Leases that were lost"
        )
        self._store = seconds("perdure.store.duration", "Time of the store's methods")
        gauges: tuple[tuple[str, str, str, Callable[[], Iterable[Observation]]], ...] = (
            ("perdure.cache.size", "{run}", "Instances in memory", self._cached),
            ("perdure.worker.slots", "{slot}", "Slots, by kind and state", self._slots),
            ("perdure.queue.depth", "{task}", "What waits for any worker", self._depths),
            ("perdure.queue.age", "s", "How long the first of it has waited", self._ages),
            ("perdure.instances", "{run}", "Runs by state, up to a bound", self._instances),
            ("perdure.instances.parked", "{run}", "Parked runs by reason", self._parked),
        )
        for name, unit, text, observe in gauges:
            meter.create_observable_gauge(name, [_callback(observe)], unit, text)

    # --- workers

    def began(self, worker: WorkerState) -> None:
        """A worker takes up its work."""
        self._workers[id(worker)] = worker
        if isinstance(worker.backend, Overseeing) and self._interval is not None:
            looking = asyncio.get_running_loop().create_task(
                self._look(id(worker), worker.backend, self._interval), name="perdure metrics"
            )
            self._looking[id(worker)] = looking

    def ended(self, worker: WorkerState) -> None:
        """It has ended."""
        self._workers.pop(id(worker), None)
        self._overviews.pop(id(worker), None)
        looking = self._looking.pop(id(worker), None)
        if looking is not None:
            looking.cancel()

    async def _look(self, key: int, backend: Overseeing, interval: float) -> None:
        while True:
            try:
                self._overviews[key] = await backend.overview(_MOST)
            except BackendError as error:
                _log.warning("gauges of the store are not renewed: %s", error)
                self._overviews.pop(key, None)
            await asyncio.sleep(interval)

    # --- turns

    def claimed(self, task: TurnTask, *, cached: bool) -> None:
        """An instance was claimed."""
        self._lookups.add(1, {"hit": "true" if cached else "false"})
        if task.ready_at is not None:
            waited = max(0, task.time - task.ready_at) / 1e6
            self._turn_wait.record(waited, {"queue": self._bounded("queue", task.queue)})

    def replayed(self, task: TurnTask, events: int, took: float) -> None:
        """An instance was brought up from its history."""
        names = {"workflow": self._bounded("workflow", task.workflow)}
        self._replayed.record(events, names)
        self._replay.record(took, names)

    def committed(self, turn: CommittedTurn) -> None:
        """A turn was committed."""
        task, commit = turn.task, turn.commit
        workflow = self._bounded("workflow", task.workflow)
        self._turn.record(turn.ran, {"workflow": workflow})
        self._commit.record(turn.stored)
        if commit.turn == 1:
            started = turn.started
            by = "client"
            if started is not None and started.continued_from is not None:
                by = "continue_as_new"
            elif task.parent is not None:
                by = "parent"
            self._starts.add(1, {"workflow": workflow, "by": by})
        for new in commit.activities:
            self._scheduled.add(1, {"activity": self._bounded("activity", new.name)})
        if commit.finish is not None:
            names = {"workflow": workflow, "outcome": commit.finish.status.value}
            self._finishes.add(1, names)
            self._lifetime.record(max(0, task.time - task.started_at) / 1e6, names)

    def refused(self, reason: str) -> None:
        """A turn was not taken."""
        self._refusals.add(1, {"reason": reason})

    def parked(self, task: TurnTask, reason: str) -> None:
        """An instance was put aside."""
        names = {"workflow": self._bounded("workflow", task.workflow), "reason": reason}
        self._parks.add(1, names)

    def evicted(self, reason: str) -> None:
        """An instance left memory."""
        self._evictions.add(1, {"reason": reason})

    # --- activities and the rest

    def attempted(self, task: ActivityTask, outcome: str, took: float) -> None:
        """An attempt has ended."""
        names = {"activity": self._bounded("activity", task.name), "outcome": outcome}
        self._attempt.record(took, names)
        due = task.due_at if task.due_at is not None else task.scheduled_at
        if outcome != "cancelled":
            waited = max(0, task.started_at - due) / 1e6
            self._activity_wait.record(waited, {"queue": self._bounded("queue", task.queue)})

    def lost(self, whose: str, count: int = 1) -> None:
        """Leases were lost."""
        self._sessions.add(count, {"whose": whose})

    def stored(self, operation: str, took: float, error: str | None) -> None:
        """The store has answered."""
        names = {"operation": operation}
        self._store.record(took, names if error is None else {**names, "error.type": error})

    # --- gauges

    def _cached(self) -> Iterable[Observation]:
        yield Observation(sum(worker.cached_instances for worker in self._all()))

    def _slots(self) -> Iterable[Observation]:
        for kind in ("turns", "activities"):
            pairs = [worker.slots[kind] for worker in self._all()]
            used = sum(pair[0] for pair in pairs)
            yield Observation(used, {"kind": kind, "state": "used"})
            yield Observation(
                max(0, sum(pair[1] for pair in pairs) - used), {"kind": kind, "state": "free"}
            )

    def _all(self) -> list[WorkerState]:
        return list(self._workers.values())

    def _newest(self) -> Overview | None:
        """What was seen of the store last. Several workers of a process share one, as a rule."""
        seen = list(self._overviews.values())
        return max(seen, key=lambda overview: overview.time, default=None)

    def _depths(self) -> Iterable[Observation]:
        overview = self._newest()
        for one in overview.queues if overview is not None else ():
            queue = self._bounded("queue", one.queue)
            yield Observation(one.turns, {"queue": queue, "kind": "turns"})
            yield Observation(one.activities, {"queue": queue, "kind": "activities"})

    def _ages(self) -> Iterable[Observation]:
        overview = self._newest()
        if overview is None:
            return
        for one in overview.queues:
            queue = self._bounded("queue", one.queue)
            for kind, since in (
                ("turns", one.turns_since),
                ("activities", one.activities_since),
            ):
                age = 0.0 if since is None else max(0, overview.time - since) / 1e6
                yield Observation(age, {"queue": queue, "kind": kind})

    def _instances(self) -> Iterable[Observation]:
        overview = self._newest()
        for state, count in overview.states.items() if overview is not None else ():
            yield Observation(count, {"state": state})

    def _parked(self) -> Iterable[Observation]:
        overview = self._newest()
        for reason, count in overview.parked.items() if overview is not None else ():
            yield Observation(count, {"reason": reason})


def _callback(
    observe: Callable[[], Iterable[Observation]],
) -> Callable[[CallbackOptions], Iterable[Observation]]:
    def callback(options: CallbackOptions) -> Iterable[Observation]:
        return list(observe())

    return callback
