"""OpenTelemetry: spans and metrics of workers and clients. Needs the extra ``otel``.

``Worker(…, telemetry=OpenTelemetry())`` and ``Client(…, telemetry=OpenTelemetry())`` report to the
providers that the process has set. Give the tracer provider :class:`DurableIds`::

    provider = TracerProvider(id_generator=DurableIds())

so that spans of a workflow have ids that every replay knows; a workflow's activities, timers and
sub-workflows then lie below it. Without it, they lie below the span that started the workflow.

PYTEST_DONT_REWRITE
"""

try:
    import opentelemetry.trace as _  # noqa: F401
except ImportError as _error:
    from perdure import UsageError

    raise UsageError(
        "perdure_runtime.otel needs OpenTelemetry: pip install 'perdure[otel]'"
    ) from _error

from ._ids import DurableIds as DurableIds
from ._telemetry import OpenTelemetry as OpenTelemetry
from ._telemetry import prometheus as prometheus

__all__ = ["DurableIds", "OpenTelemetry", "prometheus"]
