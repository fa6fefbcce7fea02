"""What histories are made of: events, and the turns that hold them.

A history is a sequence of turns. A turn holds, in the order in which things happened, the events
that the instance received and, behind each, the commands that its code issued in answer. Commands
carry a number that counts through the whole run; what is received later refers to it.

Stored form: MessagePack of ``[format version, turn, time, [event, …], [line, …], replayed]``, each
event an array that starts with its tag. Fields are only ever added at the end, with defaults. A
reader that meets a newer format version or an unknown tag raises :class:`NewerHistoryError`.

PYTEST_DONT_REWRITE
"""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from typing import Any, Final, TypeAlias, cast

import msgspec
from perdure import Failure, PayloadError

FORMAT_VERSION: Final = 1


class NewerHistoryError(PayloadError):
    """The record was written by a newer version of Perdure (or is damaged); nothing was changed."""


class Event(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Base of all events."""


class Parent(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Who started an instance as its sub-workflow: the run, and the number of its command."""

    instance_id: str
    run_id: str
    number: int


# --- received -------------------------------------------------------------------------------


class WorkflowStarted(Event, frozen=True, tag="workflow_started"):
    """First event of each run. ``seed`` feeds hashes, random streams and UUIDs."""

    workflow: str
    version: int
    queue: str
    input: bytes
    seed: int
    parent: Parent | None = None
    continued_from: str | None = None
    headers: dict[str, bytes] = {}
    run_timeout: int | None = None


class ActivityCompleted(Event, frozen=True, tag="activity_completed"):
    """An activity returned; ``result`` is encoded by its annotation.

    ``attempt`` is the one that did; 1 where that was not noted.
    """

    number: int
    result: bytes
    attempt: int = 1


class ActivityFailed(Event, frozen=True, tag="activity_failed"):
    """An activity failed for good. ``kind`` is ``failed``, ``timeout``, ``cancelled``.

    ``delivered`` names the registered class as which the code got it, empty for Perdure's own
    error; ``None`` until it was delivered. ``attempt`` as of :class:`ActivityCompleted`.
    """

    number: int
    failure: Failure
    kind: str = "failed"
    delivered: str | None = None
    attempt: int = 1


class TimerFired(Event, frozen=True, tag="timer_fired"):
    """A timer came due."""

    number: int


class ChildCompleted(Event, frozen=True, tag="child_completed"):
    """A sub-workflow returned (the last run of it, where it continued as new)."""

    number: int
    result: bytes


class ChildFailed(Event, frozen=True, tag="child_failed"):
    """A sub-workflow failed or could not be started. ``delivered`` as for activities."""

    number: int
    failure: Failure
    kind: str = "failed"
    delivered: str | None = None


class SignalReceived(Event, frozen=True, tag="signal_received"):
    """A signal was accepted."""

    name: str
    payload: bytes
    headers: dict[str, bytes] = {}


class UpdateReceived(Event, frozen=True, tag="update_received"):
    """An update was validated and accepted; a refused one leaves no event."""

    update_id: str
    name: str
    payload: bytes
    headers: dict[str, bytes] = {}


class SignalAccepted(Event, frozen=True, tag="signal_accepted"):
    """A signal or cancellation that this instance sent was accepted by its receiver."""

    number: int


class SignalRefused(Event, frozen=True, tag="signal_refused"):
    """A signal or cancellation that this instance sent found no running receiver."""

    number: int
    failure: Failure


class CancelRequested(Event, frozen=True, tag="cancel_requested"):
    """Somebody asked the instance to cancel."""

    reason: str = ""


class QueryAsked(Event, frozen=True, tag="query_asked"):
    """A question; in no history. ``argument`` is encoded, ``None`` when there is none."""

    name: str
    argument: bytes | None = None
    headers: dict[str, bytes] = {}


# --- commands -------------------------------------------------------------------------------


class Command(Event, frozen=True):
    """Base of what the code issues. ``number`` counts through the run, from 1."""

    number: int


class ActivityScheduled(Command, frozen=True, tag="activity_scheduled"):
    """An activity was called; a ``local`` one runs within the turn, without the store."""

    name: str
    queue: str
    input: bytes
    headers: dict[str, bytes] = {}
    local: bool = False


class ActivityCancelRequested(Command, frozen=True, tag="activity_cancel_requested"):
    """The future of activity ``number`` was cancelled."""


class TimerStarted(Command, frozen=True, tag="timer_started"):
    """A timer was started; ``duration`` in microseconds."""

    duration: int
    name: str = ""


class TimerCancelled(Command, frozen=True, tag="timer_cancelled"):
    """Timer ``number`` was cancelled before it fired."""


class ChildScheduled(Command, frozen=True, tag="child_scheduled"):
    """A sub-workflow was started."""

    workflow: str
    version: int
    instance_id: str
    queue: str
    input: bytes
    headers: dict[str, bytes] = {}


class ChildCancelRequested(Command, frozen=True, tag="child_cancel_requested"):
    """The future of sub-workflow ``number`` was cancelled."""


class SignalSent(Command, frozen=True, tag="signal_sent"):
    """A signal was sent to another instance."""

    instance_id: str
    name: str
    payload: bytes
    headers: dict[str, bytes] = {}


class CancelSent(Command, frozen=True, tag="cancel_sent"):
    """Another instance was asked to cancel."""

    instance_id: str
    reason: str = ""


class UpdateAnswered(Command, frozen=True, tag="update_answered"):
    """The handler of an update returned, or raised."""

    update_id: str
    result: bytes | None = None
    failure: Failure | None = None


class SideEffectRecorded(Command, frozen=True, tag="side_effect_recorded"):
    """The value that a side effect returned."""

    value: bytes


class PatchRecorded(Command, frozen=True, tag="patch_recorded"):
    """``patched(id)`` returned ``True``."""

    id: str


class WorkflowCompleted(Command, frozen=True, tag="workflow_completed"):
    """The workflow returned."""

    result: bytes


class WorkflowFailed(Command, frozen=True, tag="workflow_failed"):
    """The workflow raised, or let its cancellation through (``kind`` ``cancelled``)."""

    failure: Failure
    kind: str = "failed"


class WorkflowContinuedAsNew(Command, frozen=True, tag="workflow_continued_as_new"):
    """The run ended with ``continue_as_new``; ``run_id`` is the next run."""

    run_id: str
    workflow: str
    version: int
    input: bytes


Received: TypeAlias = (
    WorkflowStarted
    | ActivityCompleted
    | ActivityFailed
    | TimerFired
    | ChildCompleted
    | ChildFailed
    | SignalReceived
    | UpdateReceived
    | SignalAccepted
    | SignalRefused
    | CancelRequested
)
Issued: TypeAlias = (
    ActivityScheduled
    | ActivityCancelRequested
    | TimerStarted
    | TimerCancelled
    | ChildScheduled
    | ChildCancelRequested
    | SignalSent
    | CancelSent
    | UpdateAnswered
    | SideEffectRecorded
    | PatchRecorded
    | WorkflowCompleted
    | WorkflowFailed
    | WorkflowContinuedAsNew
)
AnyEvent: TypeAlias = Received | Issued


class Turn(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One turn: the store's time at which it ran (microseconds) and its events in order.

    ``lines`` has, for each of its commands, the place in the source that issued it then, as
    ``folder/file.py:12``; it is empty where none was noted. ``replayed`` says that the run was
    brought up from its history for it.
    """

    format: int
    number: int
    time: int
    events: list[AnyEvent]
    lines: list[str] = []
    replayed: bool = False

    def line(self, position: int) -> str:
        """The place of a command by its position among the commands; empty when unknown."""
        return self.lines[position] if position < len(self.lines) else ""


_encoder: Final = msgspec.msgpack.Encoder()
_turn_decoder: Final = msgspec.msgpack.Decoder(Turn)
_query_decoder: Final = msgspec.msgpack.Decoder(QueryAsked)
_event_decoder: Final[msgspec.msgpack.Decoder[Received]] = msgspec.msgpack.Decoder(Received)


def encode_turn(
    number: int,
    time: int,
    events: list[AnyEvent],
    lines: Sequence[str] = (),
    *,
    replayed: bool = False,
) -> bytes:
    """The stored form of a turn."""
    return _encoder.encode(Turn(FORMAT_VERSION, number, time, events, list(lines), replayed))


def encode_same(turn: Turn) -> bytes:
    """The stored form of a turn that was read."""
    return _encoder.encode(turn)


def decode_turn(record: bytes) -> Turn:
    """A stored turn.

    Raises:
        NewerHistoryError: it has a newer format, or is damaged.
    """
    try:
        turn = _turn_decoder.decode(record)
    except msgspec.MsgspecError as error:
        raise _unreadable(record, error) from error
    if turn.format > FORMAT_VERSION:
        raise _unreadable(record, None)
    return turn


def encode_event(event: Event) -> bytes:
    """The stored form of an event that waits in an inbox."""
    return _encoder.encode(event)


def decode_event(entry: bytes) -> Received:
    """An event from an inbox.

    Raises:
        NewerHistoryError: it is of a kind that this code does not know, or damaged.
    """
    try:
        return _event_decoder.decode(entry)
    except msgspec.MsgspecError as error:
        raise _unreadable(entry, error) from error


def decode_query(entry: bytes) -> QueryAsked:
    """A question as it was asked. Raises as :func:`decode_event`."""
    try:
        return _query_decoder.decode(entry)
    except msgspec.MsgspecError as error:
        raise _unreadable(entry, error) from error


def _unreadable(record: bytes, error: Exception | None) -> NewerHistoryError:
    try:
        head: Any = msgspec.msgpack.decode(record)
        version = head[0] if isinstance(head, list) and head else None  # pyright: ignore[reportUnknownVariableType]
    except msgspec.MsgspecError:
        version = None
    if isinstance(version, int) and version > FORMAT_VERSION:
        return NewerHistoryError(
            f"a history record has format {version}, this code reads up to {FORMAT_VERSION}: "
            "it was written by a newer version of Perdure; run that version on this queue"
        )
    return NewerHistoryError(
        f"a stored record can't be read ({error}): it was written by a newer version of Perdure, "
        "or is damaged"
    )


def tag_of(event: Event) -> str:
    """The name of an event's kind, such as ``activity_scheduled``."""
    return str(event.__struct_config__.tag)


def to_jsonable(event: Event) -> dict[str, Any]:
    """An event as plain data for people and tools; payloads as JSON where they are JSON."""
    data: dict[str, Any] = {"type": tag_of(event)}
    for name in event.__struct_fields__:
        value: Any = getattr(event, name)
        if isinstance(value, bytes):
            value = payload_to_jsonable(value)
        elif isinstance(value, msgspec.Struct):
            value = msgspec.to_builtins(value)
        elif isinstance(value, dict):
            items = cast("dict[str, bytes]", value)
            value = {key: payload_to_jsonable(item) for key, item in items.items()}
        data[name] = value
    return data


def payload_to_jsonable(payload: bytes) -> Any:
    """A payload as data, or ``{"base64": …}`` when it is not JSON (encrypted, say)."""
    try:
        return json.loads(payload)
    except (ValueError, UnicodeDecodeError):
        return {"base64": base64.b64encode(payload).decode("ascii")}
