"""Ids of spans that a replay knows.

PYTEST_DONT_REWRITE
"""

from __future__ import annotations

import contextlib
from collections.abc import Generator
from contextvars import ContextVar
from typing import Final

from opentelemetry.sdk.trace.id_generator import IdGenerator, RandomIdGenerator

from .._core import TraceContext

_chosen: Final[ContextVar[TraceContext | None]] = ContextVar("perdure_span_ids", default=None)


class DurableIds(IdGenerator):
    """Gives the spans of workflows the ids that follow from their runs, and others random ones.

    ``TracerProvider(id_generator=DurableIds())``

    Args:
        otherwise: makes the ids of all other spans.
    """

    def __init__(self, otherwise: IdGenerator | None = None) -> None:
        self._otherwise = otherwise if otherwise is not None else RandomIdGenerator()

    def generate_span_id(self) -> int:
        """The id of a span that is being started."""
        chosen = _chosen.get()
        return self._otherwise.generate_span_id() if chosen is None else int(chosen.span_id, 16)

    def generate_trace_id(self) -> int:
        """The id of a trace whose first span is being started."""
        chosen = _chosen.get()
        return self._otherwise.generate_trace_id() if chosen is None else int(chosen.trace_id, 16)


@contextlib.contextmanager
def ids(chosen: TraceContext) -> Generator[None]:
    """While a span is started that shall have these ids."""
    token = _chosen.set(chosen)
    try:
        yield
    finally:
        _chosen.reset(token)
