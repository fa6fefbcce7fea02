"""What worker and client report, to OpenTelemetry's providers.

PYTEST_DONT_REWRITE
"""

from __future__ import annotations

import contextlib
import logging
from contextlib import AbstractContextManager
from typing import Final

from opentelemetry import metrics, trace
from perdure import Duration, UsageError, __version__
from perdure_backends.records import ActivityTask, TurnTask

from .._durations import as_seconds
from .._telemetry import CommittedTurn, Telemetry, WorkerState
from ._metrics import Metrics
from ._traces import Traces

_log: Final = logging.getLogger("perdure.runtime")


class OpenTelemetry(Telemetry):
    """Spans and metrics, for workers and clients. One object may serve several of them.

    Args:
        tracer_provider, meter_provider: the process's global ones by default.
        spans: whether to emit spans.
        measures: whether to emit metrics.
        look_every: seconds between looks of a worker at the store, for the gauges of what waits in
            it (30 s by default); ``None`` for none.
    """

    def __init__(
        self,
        *,
        tracer_provider: trace.TracerProvider | None = None,
        meter_provider: metrics.MeterProvider | None = None,
        spans: bool = True,
        measures: bool = True,
        look_every: Duration | None = 30.0,
    ) -> None:
        interval = None if look_every is None else as_seconds(look_every, "look_every")
        tracers = tracer_provider if tracer_provider is not None else trace.get_tracer_provider()
        meters = meter_provider if meter_provider is not None else metrics.get_meter_provider()
        self._traces = Traces(tracers, __version__) if spans else None
        self._metrics = Metrics(meters, __version__, interval) if measures else None
        self.traces = spans
        self.times_store = measures
        self.stable_ids = self._traces is not None and self._traces.durable
        if self._traces is not None and hasattr(tracers, "id_generator") and not self.stable_ids:
            _log.info(
                "spans of workflows lie below the span that started them; for a tree, make the "
                "provider with TracerProvider(id_generator=perdure_runtime.otel.DurableIds())"
            )

    # --- clients

    def calling(
        self, operation: str, name: str, instance_id: str
    ) -> AbstractContextManager[object]:
        """See :meth:`Telemetry.calling`."""
        if self._traces is None:
            return contextlib.nullcontext()
        return self._traces.calling(operation, name, instance_id)

    def inject(self, headers: dict[str, bytes]) -> None:
        """See :meth:`Telemetry.inject`."""
        if self._traces is not None:
            self._traces.inject(headers)

    # --- workers

    def worker_began(self, worker: WorkerState) -> None:
        """See :meth:`Telemetry.worker_began`."""
        if self._metrics is not None:
            self._metrics.began(worker)

    def worker_ended(self, worker: WorkerState) -> None:
        """See :meth:`Telemetry.worker_ended`."""
        if self._metrics is not None:
            self._metrics.ended(worker)

    def turn_claimed(self, task: TurnTask, *, cached: bool) -> None:
        """See :meth:`Telemetry.turn_claimed`."""
        if self._metrics is not None:
            self._metrics.claimed(task, cached=cached)

    def run_replayed(self, task: TurnTask, events: int, seconds: float) -> None:
        """See :meth:`Telemetry.run_replayed`."""
        if self._metrics is not None:
            self._metrics.replayed(task, events, seconds)

    def turn_committed(self, turn: CommittedTurn) -> None:
        """See :meth:`Telemetry.turn_committed`."""
        if self._metrics is not None:
            self._metrics.committed(turn)
        if self._traces is not None and (turn.spans or turn.commit.finish is not None):
            self._traces.committed(turn)

    def turn_refused(self, task: TurnTask, reason: str) -> None:
        """See :meth:`Telemetry.turn_refused`."""
        if self._metrics is not None:
            self._metrics.refused(reason)

    def run_parked(self, task: TurnTask, reason: str) -> None:
        """See :meth:`Telemetry.run_parked`."""
        if self._metrics is not None:
            self._metrics.parked(task, reason)

    def run_evicted(self, reason: str) -> None:
        """See :meth:`Telemetry.run_evicted`."""
        if self._metrics is not None:
            self._metrics.evicted(reason)

    def attempt(self, task: ActivityTask) -> AbstractContextManager[tuple[str, str] | None]:
        """See :meth:`Telemetry.attempt`."""
        return contextlib.nullcontext() if self._traces is None else self._traces.attempt(task)

    def attempt_ended(self, task: ActivityTask, outcome: str, seconds: float) -> None:
        """See :meth:`Telemetry.attempt_ended`."""
        if self._metrics is not None:
            self._metrics.attempted(task, outcome, seconds)

    def session_lost(self) -> None:
        """See :meth:`Telemetry.session_lost`."""
        if self._metrics is not None:
            self._metrics.lost("own")

    def others_lost(self, count: int) -> None:
        """See :meth:`Telemetry.others_lost`."""
        if self._metrics is not None:
            self._metrics.lost("others", count)

    def store_called(self, operation: str, seconds: float, error: str | None) -> None:
        """See :meth:`Telemetry.store_called`."""
        if self._metrics is not None:
            self._metrics.stored(operation, seconds, error)


def prometheus() -> metrics.MeterProvider:
    """A meter provider whose metrics ``prometheus_client`` exposes; one for each process.

    A worker's health server shows them under ``/metrics``.

    Raises:
        UsageError: the exporter is not installed.
    """
    try:
        from opentelemetry.exporter.prometheus import PrometheusMetricReader
        from opentelemetry.sdk.metrics import MeterProvider
    except ImportError as error:
        raise UsageError(
            "metrics for Prometheus need its exporter: pip install 'perdure[prometheus]'"
        ) from error
    return MeterProvider(metric_readers=[PrometheusMetricReader()])
