"""Spans of a run: noted as its code runs or is replayed, given out by the live turn that ends them.

A span has a key that follows from the run's commands, so that it is the same at each replay; ids
follow from the run's id and the key. Whoever commits the turn emits what the turn has ended, once
the commit is applied: nothing is emitted twice, whoever replays.

PYTEST_DONT_REWRITE
"""

from __future__ import annotations

import asyncio
import hashlib
import re
from typing import Final, Literal, NamedTuple, TypeAlias

from perdure import Evicted
from perdure.extension import Attribute
from perdure_backends import history as h

SpanKind: TypeAlias = Literal["workflow", "timer", "side_effect", "signal", "update", "user"]

RUN: Final = ""
"""The key of the run's own span."""

HEADER: Final = "traceparent"
"""Where the W3C's trace context travels in headers."""

_TRACEPARENT: Final = re.compile(rb"[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})")


class TraceContext(NamedTuple):
    """A place in a trace: 32 and 16 hexadecimal digits, and the W3C's flags."""

    trace_id: str
    span_id: str
    flags: str = "01"

    @classmethod
    def of(cls, headers: dict[str, bytes]) -> TraceContext | None:
        """The one that headers carry, if any."""
        match = _TRACEPARENT.fullmatch(headers.get(HEADER, b""))
        if match is None or not (match[1].strip(b"0") and match[2].strip(b"0")):
            return None
        return cls(match[1].decode(), match[2].decode(), match[3].decode())

    @property
    def header(self) -> bytes:
        """As it is carried."""
        return f"00-{self.trace_id}-{self.span_id}-{self.flags}".encode()


def span_id(run_id: str, key: str) -> str:
    """The id of a run's span: 16 hexadecimal digits, the same for whoever asks."""
    digest = hashlib.blake2b(f"span\x00{run_id}\x00{key}".encode(), digest_size=8).digest()
    return (digest if any(digest) else b"\x01" * 8).hex()


def trace_of(run_id: str, headers: dict[str, bytes]) -> TraceContext:
    """The trace of a run: the one in which it was started, or one of its own."""
    found = TraceContext.of(headers)
    if found is not None:
        return found
    digest = hashlib.blake2b(f"trace\x00{run_id}".encode(), digest_size=16).digest()
    return TraceContext(digest.hex(), "")


class SpanNote:
    """A span that has ended, or will.

    Attributes:
        key: see the module.
        parent: key of the span around it.
        started, ended: the times of the turns, microseconds since the epoch.
        remote: where it comes from, for what came from outside of the run.
        error: type and message of what it ended with.
    """

    __slots__ = (
        *("key", "parent", "kind", "name", "started", "ended"),
        *("attributes", "remote", "error"),
    )

    def __init__(
        self,
        key: str,
        parent: str,
        kind: SpanKind,
        name: str,
        started: int,
        *,
        attributes: dict[str, Attribute] | None = None,
        remote: TraceContext | None = None,
    ) -> None:
        self.key = key
        self.parent = parent
        self.kind: SpanKind = kind
        self.name = name
        self.started = started
        self.ended = 0
        self.attributes = attributes if attributes is not None else {}
        self.remote = remote
        self.error: tuple[str, str] | None = None


class Spans:
    """The spans of one run.

    Args:
        stable_ids: spans are emitted under the ids that follow from the run; else what the run
            calls refers to the span that started it, which is the only one whose id is known.
    """

    def __init__(self, run_id: str, *, stable_ids: bool) -> None:
        self._run_id = run_id
        self._stable_ids = stable_ids
        self._open: dict[str, SpanNote] = {}
        self._count = 0
        self._signals = 0
        self._trace: TraceContext | None = None
        self._headers: dict[str, bytes | None] = {}
        self.time = 0
        self.replaying = False
        self.ended: list[SpanNote] = []

    def begin_turn(self, time: int, *, replaying: bool) -> None:
        """A turn begins: what ends in it is given out, unless it is replayed."""
        self.time = time
        self.replaying = replaying
        self.ended = []

    def context(self, key: str) -> TraceContext | None:
        """The place in the trace of one of the run's spans, where it has one."""
        trace = self._trace
        if trace is None:
            return None
        if not self._stable_ids:
            return trace if trace.span_id else None
        return TraceContext(trace.trace_id, span_id(self._run_id, key), trace.flags)

    def header(self, key: str) -> bytes | None:
        """The same as a header."""
        if key not in self._headers:
            place = self.context(key)
            self._headers[key] = None if place is None else place.header
        return self._headers[key]

    # --- what the code and the history do

    def enter(self, parent: str, name: str, attributes: dict[str, Attribute]) -> str:
        """The code has entered a span of its own; gives the key."""
        self._count += 1
        key = f"user/{self._count}"
        self._begin(SpanNote(key, parent, "user", name, self.time, attributes=attributes))
        return key

    def set(self, key: str, name: str, value: Attribute) -> None:
        """Sets an attribute of a span that is open."""
        note = self._open.get(key)
        if note is not None:
            note.attributes[name] = value

    def leave(self, key: str, error: BaseException | None) -> None:
        """The code has left a span of its own."""
        self._headers.pop(key, None)
        if isinstance(error, (Evicted, GeneratorExit)):
            self._open.pop(key, None)
        elif isinstance(error, asyncio.CancelledError):
            self.set(key, "perdure.cancelled", True)
            self._end(key, None)
        else:
            self._end(key, None if error is None else (type(error).__name__, str(error)))

    def received(self, event: h.AnyEvent) -> None:
        """The run is about to get an event."""
        if isinstance(event, h.TimerFired):
            self._end(f"timer/{event.number}", None)
        elif isinstance(event, h.WorkflowStarted):
            self._trace = trace_of(self._run_id, event.headers)
        elif isinstance(event, h.SignalReceived):
            self._signals += 1
            key = f"signal/{self._signals}"
            self._from_outside(key, "signal", event.name, event.headers)
            self._end(key, None)
        elif isinstance(event, h.UpdateReceived):
            self._from_outside(f"update/{event.update_id}", "update", event.name, event.headers)

    def refused(self, event: h.UpdateReceived) -> None:
        """An update was refused, and leaves nothing."""
        self._open.pop(f"update/{event.update_id}", None)

    def issued(self, command: h.AnyEvent, parent: str) -> None:
        """The run has issued a command.

        Args:
            parent: key of the span that is open where the code stands.
        """
        if isinstance(command, h.TimerStarted):
            key = f"timer/{command.number}"
            name = command.name
            self._begin(SpanNote(key, parent, "timer", name, self.time))
        elif isinstance(command, h.TimerCancelled):
            self._open.pop(f"timer/{command.number}", None)
        elif isinstance(command, h.SideEffectRecorded):
            key = f"side_effect/{command.number}"
            self._begin(SpanNote(key, parent, "side_effect", "", self.time))
            self._end(key, None)
        elif isinstance(command, h.UpdateAnswered):
            failure = command.failure
            error = None if failure is None else (failure.type, failure.message)
            self._end(f"update/{command.update_id}", error)

    def _from_outside(self, key: str, kind: SpanKind, name: str, headers: dict[str, bytes]) -> None:
        self._begin(SpanNote(key, RUN, kind, name, self.time, remote=TraceContext.of(headers)))

    def _begin(self, note: SpanNote) -> None:
        self._open[note.key] = note

    def _end(self, key: str, error: tuple[str, str] | None) -> None:
        note = self._open.pop(key, None)
        if note is not None and not self.replaying:
            note.ended, note.error = self.time, error
            self.ended.append(note)
