"""Spans: of clients' calls, of attempts of activities, and of what a committed turn has ended.

PYTEST_DONT_REWRITE
"""

from __future__ import annotations

import contextlib
from collections.abc import Generator, Mapping, Sequence
from typing import Final

from opentelemetry import trace
from opentelemetry.trace import (
    Link,
    NonRecordingSpan,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    TraceFlags,
    Tracer,
)
from perdure import CompletesLater
from perdure_backends import history as h
from perdure_backends.records import ActivityTask
from perdure_backends.records import Status as RunStatus

from .._core import HEADER, RUN, SpanNote, TraceContext, span_id, trace_of
from .._telemetry import CommittedTurn
from ._ids import DurableIds, ids

_CLIENT_KINDS: Final = {"start": SpanKind.PRODUCER, "signal": SpanKind.PRODUCER}
_NOTE_KINDS: Final = {"signal": SpanKind.CONSUMER, "update": SpanKind.SERVER}
_NOTE_NAMES: Final = {"signal": "receive", "update": "handle update", "side_effect": "side effect"}

Attributes = Mapping[str, str | int | float | bool]


class Traces:
    """Emits spans to a provider.

    Attributes:
        durable: whether the provider lets us choose ids.
    """

    def __init__(self, provider: trace.TracerProvider, version: str) -> None:
        self._tracer: Tracer = provider.get_tracer("perdure", version)
        self.durable = isinstance(getattr(provider, "id_generator", None), DurableIds)

    # --- clients

    @contextlib.contextmanager
    def calling(self, operation: str, name: str, instance_id: str) -> Generator[None]:
        """A span around a client's call."""
        attributes = {"perdure.instance.id": instance_id}
        if operation == "start":
            attributes["perdure.workflow.name"] = name
        elif name:
            attributes[f"perdure.{operation}.name"] = name
        with self._tracer.start_as_current_span(
            f"{operation} {name}".rstrip(),
            kind=_CLIENT_KINDS.get(operation, SpanKind.CLIENT),
            attributes=attributes,
        ):
            yield

    def inject(self, headers: dict[str, bytes]) -> None:
        """Adds the current span to headers."""
        current = trace.get_current_span().get_span_context()
        if current.is_valid:
            context = TraceContext(
                f"{current.trace_id:032x}", f"{current.span_id:016x}", f"{current.trace_flags:02x}"
            )
            headers.setdefault(HEADER, context.header)

    # --- activities

    @contextlib.contextmanager
    def attempt(self, task: ActivityTask) -> Generator[tuple[str, str]]:
        """A span around an attempt, below what called the activity."""
        parent = TraceContext.of(task.headers)
        attributes: Attributes = {
            "perdure.instance.id": task.instance_id,
            "perdure.run.id": task.run_id,
            "perdure.activity.name": task.name,
            "perdure.command.number": task.number,
            "perdure.attempt": task.attempt,
            "perdure.queue": task.queue,
        }
        with self._tracer.start_as_current_span(
            f"activity {task.name}",
            context=trace.set_span_in_context(_remote(parent)),
            kind=SpanKind.CONSUMER,
            attributes=attributes,
        ) as span:
            context = span.get_span_context()
            try:
                yield f"{context.trace_id:032x}", f"{context.span_id:016x}"
            except CompletesLater:
                span.set_attribute("perdure.completes_later", True)
                raise
            except BaseException as error:
                if not isinstance(error, Exception):
                    span.set_attribute("perdure.cancelled", True)
                raise

    # --- workflows

    def committed(self, turn: CommittedTurn) -> None:
        """Spans that a turn has ended, and the run's own with the last one."""
        started = turn.started
        headers = {} if started is None else started.headers
        run_id = turn.task.run_id
        run_trace = trace_of(run_id, headers)
        for note in turn.spans:
            self._emit(note, run_id, run_trace, headers)
        if turn.commit.finish is not None:
            self._finished(turn, run_trace, headers)

    def _emit(
        self, note: SpanNote, run_id: str, run_trace: TraceContext, headers: dict[str, bytes]
    ) -> None:
        inside = self._inside(run_id, note.parent, run_trace, headers)
        links: list[Link] = []
        parent = inside
        if note.remote is not None:
            # What came from outside lies where it was sent, and refers to the run.
            parent = note.remote
            links = [Link(_context(inside))] if inside is not None else []
        name = f"{_NOTE_NAMES.get(note.kind, note.kind)} {note.name}".rstrip()
        chosen = TraceContext(
            (note.remote or run_trace).trace_id, span_id(run_id, note.key), run_trace.flags
        )
        self._write(
            name if note.kind != "user" else note.name,
            chosen,
            parent,
            kind=_NOTE_KINDS.get(note.kind, SpanKind.INTERNAL),
            attributes={"perdure.run.id": run_id, **note.attributes},
            links=links,
            times=(note.started, note.ended),
            error=note.error,
        )

    def _finished(
        self, turn: CommittedTurn, run_trace: TraceContext, headers: dict[str, bytes]
    ) -> None:
        task, commit, started = turn.task, turn.commit, turn.started
        finish = commit.finish
        if finish is None:
            return
        ended = h.decode_turn(commit.record).time if commit.record else task.time
        links: list[Link] = []
        if started is not None and started.continued_from is not None:
            before = trace_of(started.continued_from, headers)
            known = self._inside(started.continued_from, RUN, before, headers)
            if known is not None:
                links.append(Link(_context(known), {"perdure.link": "continued_from"}))
        attributes: Attributes = {
            "perdure.instance.id": task.instance_id,
            "perdure.run.id": task.run_id,
            "perdure.workflow.name": task.workflow,
            "perdure.workflow.version": task.version,
            "perdure.queue": task.queue,
            "perdure.outcome": finish.status.value,
        }
        failure = finish.failure
        failed = finish.status is RunStatus.FAILED and failure is not None
        self._write(
            f"workflow {task.workflow}",
            TraceContext(run_trace.trace_id, span_id(task.run_id, RUN), run_trace.flags),
            TraceContext.of(headers),
            kind=SpanKind.CONSUMER,
            attributes=attributes,
            links=links,
            times=(task.started_at, max(ended, task.started_at)),
            error=(failure.type, failure.message) if failed and failure is not None else None,
        )

    def _inside(
        self, run_id: str, key: str, run_trace: TraceContext, headers: dict[str, bytes]
    ) -> TraceContext | None:
        """Where a span of the run lies; where ids can't be chosen, the span that started it."""
        if not self.durable:
            return TraceContext.of(headers)
        return TraceContext(run_trace.trace_id, span_id(run_id, key), run_trace.flags)

    def _write(
        self,
        name: str,
        chosen: TraceContext,
        parent: TraceContext | None,
        *,
        kind: SpanKind,
        attributes: Attributes,
        links: Sequence[Link],
        times: tuple[int, int],
        error: tuple[str, str] | None,
    ) -> None:
        with ids(chosen) if self.durable else contextlib.nullcontext():
            span = self._tracer.start_span(
                name,
                context=trace.set_span_in_context(_remote(parent)),
                kind=kind,
                attributes=attributes,
                links=links,
                start_time=times[0] * 1000,
            )
        if error is not None:
            span.set_status(Status(StatusCode.ERROR, f"{error[0]}: {error[1]}"))
            span.set_attribute("error.type", error[0])
        span.end(end_time=times[1] * 1000)


def _context(place: TraceContext) -> SpanContext:
    return SpanContext(
        int(place.trace_id, 16),
        int(place.span_id, 16),
        is_remote=True,
        trace_flags=TraceFlags(int(place.flags, 16)),
    )


def _remote(place: TraceContext | None) -> NonRecordingSpan | trace.Span:
    return trace.INVALID_SPAN if place is None else NonRecordingSpan(_context(place))
