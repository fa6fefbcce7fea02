"""Ids of spans that a replay knows.

PYTEST_DONT_REWRITE
"""

from __future__ import annotations

import contextlib
import random
from collections.abc import Generator
from contextvars import ContextVar
from typing import TYPE_CHECKING, Final

from .._core import TraceContext

if TYPE_CHECKING:
    from opentelemetry.sdk.trace.id_generator import IdGenerator
else:
    try:
        from opentelemetry.sdk.trace.id_generator import IdGenerator
    except ImportError:  # the API alone is there: nobody can use it, nobody needs it
        IdGenerator = object

_chosen: Final[ContextVar[TraceContext | None]] = ContextVar("perdure_span_ids", default=None)


class DurableIds(IdGenerator):
    """Gives the spans of workflows the ids that follow from their runs, and others random ones.

    ``TracerProvider(id_generator=DurableIds())``

    Args:
        otherwise: makes the ids of all other spans; random ones by default.
    """

    def __init__(self, otherwise: IdGenerator | None = None) -> None:
        self._otherwise = otherwise

    def generate_span_id(self) -> int:
        """The id of a span that is being started."""
        chosen = _chosen.get()
        if chosen is not None:
            return int(chosen.span_id, 16)
        if self._otherwise is not None:
            return self._otherwise.generate_span_id()
        return random.getrandbits(64) or 1  # 0 is no id

    def generate_trace_id(self) -> int:
        """The id of a trace whose first span is being started."""
        chosen = _chosen.get()
        if chosen is not None:
            return int(chosen.trace_id, 16)
        if self._otherwise is not None:
            return self._otherwise.generate_trace_id()
        return random.getrandbits(128) or 1


@contextlib.contextmanager
def ids(chosen: TraceContext) -> Generator[None]:
    """While a span is started that shall have these ids."""
    token = _chosen.set(chosen)
    try:
        yield
    finally:
        _chosen.reset(token)
