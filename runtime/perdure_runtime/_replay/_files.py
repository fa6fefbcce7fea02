"""Histories as files: JSON lines, one for the run and one for each of its turns.

The first line of a run is ``{"format": "perdure-history", "version": 1, …}``; a file may hold
several runs. Each further line is ``{"turn": 1, "time": …, "events": [{"type": …}, …]}`` with the
fields of :mod:`perdure_backends.history`; fields at their defaults are left out. ``lines`` says, by
command, which place in the source issued it. Payloads are
``{"json": …}`` where their bytes are compact JSON, else ``{"base64": …}``: what is read is byte for
byte what was written. Fields are only ever added.

PYTEST_DONT_REWRITE
"""

from __future__ import annotations

import base64
import binascii
import dataclasses
import json
from collections.abc import AsyncIterable, Callable, Iterable, Iterator
from pathlib import Path
from typing import IO, Any, Final, cast

import msgspec
from perdure import PerdureError
from perdure_backends import history as h
from perdure_backends.records import InstanceRecord

FORMAT: Final = "perdure-history"
VERSION: Final = 1

Redact = Callable[[h.AnyEvent, str, bytes], bytes]
"""Gets an event, the name of a field and its payload; gives the payload to write."""


class HistoryFileError(PerdureError):
    """A file is no history, is damaged, or was written by a newer version."""


@dataclasses.dataclass(frozen=True, slots=True)
class History:
    """One run with its turns.

    Attributes:
        started_at: microseconds since the epoch.
        turns: in order.
    """

    instance_id: str
    run_id: str
    workflow: str
    version: int
    started_at: int
    turns: list[h.Turn]

    @property
    def events(self) -> int:
        """How many events there are."""
        return sum(len(turn.events) for turn in self.turns)

    @classmethod
    def of(cls, record: InstanceRecord, turns: list[h.Turn]) -> History:
        """A run of a store."""
        return cls(
            record.instance_id,
            record.run_id,
            record.workflow,
            record.version,
            record.started_at,
            turns,
        )


# --- writing --------------------------------------------------------------------------------


def header_line(record: InstanceRecord) -> str:
    """The first line of a run."""
    return json.dumps(
        {
            "format": FORMAT,
            "version": VERSION,
            "instance_id": record.instance_id,
            "run_id": record.run_id,
            "workflow": record.workflow,
            "workflow_version": record.version,
            "started_at": record.started_at,
            "state": record.state,
        }
    )


def turn_line(turn: h.Turn, redact: Redact | None = None) -> str:
    """A turn's line."""
    return json.dumps(turn_data(turn, redact))


def turn_data(turn: h.Turn, redact: Redact | None = None) -> dict[str, Any]:
    """What a turn's line says."""
    events = [_event_data(event, redact) for event in turn.events]
    data: dict[str, Any] = {"turn": turn.number, "time": turn.time, "events": events}
    if turn.lines:
        data["lines"] = turn.lines
    if turn.replayed:
        data["replayed"] = True
    return data


async def write_history(
    out: IO[str],
    record: InstanceRecord,
    turns: AsyncIterable[h.Turn],
    *,
    redact: Redact | None = None,
) -> int:
    """Writes a run, turn by turn as it is read; gives the number of turns.

    Args:
        redact: replaces payloads; a history whose results were replaced may not replay any more.
    """
    out.write(header_line(record) + "\n")
    count = 0
    async for turn in turns:
        out.write(turn_line(turn, redact) + "\n")
        count += 1
    return count


def _event_data(event: h.AnyEvent, redact: Redact | None) -> dict[str, Any]:
    data: dict[str, Any] = {"type": h.tag_of(event)}
    defaults = _defaults(type(event))
    for name in event.__struct_fields__:
        value: Any = getattr(event, name)
        if name in defaults and value == defaults[name]:
            continue
        if isinstance(value, bytes) and redact is not None:
            value = redact(event, name, value)
        data[name] = _plain(value)
    return data


def _plain(value: Any) -> Any:
    if isinstance(value, bytes):
        return _payload(value)
    if isinstance(value, msgspec.Struct):
        # Of arrays and objects alike: by the names of their fields.
        fields = {name: getattr(value, name) for name in value.__struct_fields__}
        return {"struct": {name: _plain(one) for name, one in fields.items()}}
    if isinstance(value, dict):
        items = cast("dict[str, Any]", value)
        return {key: _plain(item) for key, item in items.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in cast("list[Any]", value)]
    return value


def _payload(payload: bytes) -> dict[str, Any]:
    try:
        value = json.loads(payload)
        if json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode() == payload:
            return {"json": value}
    except (ValueError, UnicodeError):
        pass
    return {"base64": base64.b64encode(payload).decode("ascii")}


# --- reading --------------------------------------------------------------------------------


def read_histories(source: str | Path | Iterable[str]) -> Iterator[History]:
    """The runs in a file, or in its lines; one after the other.

    Raises:
        HistoryFileError: it is no history, is damaged, or was written by a newer version.
        OSError: the file can't be read.
    """
    if isinstance(source, (str, Path)):
        with open(source, encoding="utf-8") as lines:
            yield from _read(lines, str(source))
    else:
        yield from _read(source, "history")


def _read(lines: Iterable[str], where: str) -> Iterator[History]:
    current: History | None = None
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        place = f"{where}:{number}"
        data = _object(line, place)
        if "format" in data:
            if current is not None:
                yield current
            current = _header(data, place)
        elif current is None:
            raise HistoryFileError(
                f'{place}: a history begins with {{"format": "{FORMAT}", …}}; write it with '
                "`perdure history ID`"
            )
        else:
            current.turns.append(read_turn(data, len(current.turns) + 1, place))
    if current is None:
        raise HistoryFileError(f"{where}: there is no history in it")
    yield current


def _object(line: str, place: str) -> dict[str, Any]:
    try:
        data = json.loads(line)
    except ValueError as error:
        raise HistoryFileError(f"{place}: not JSON: {error}") from None
    if not isinstance(data, dict):
        raise HistoryFileError(f"{place}: an object was expected")
    return cast("dict[str, Any]", data)


def _header(data: dict[str, Any], place: str) -> History:
    if data["format"] != FORMAT:
        raise HistoryFileError(f"{place}: {data['format']!r} is not {FORMAT!r}")
    version = data.get("version")
    if not isinstance(version, int) or version > VERSION:
        raise HistoryFileError(
            f"{place}: the file has version {version!r}, this code reads up to {VERSION}: it was "
            "written by a newer version of Perdure"
        )
    try:
        return History(
            data["instance_id"],
            data["run_id"],
            data["workflow"],
            data["workflow_version"],
            data["started_at"],
            [],
        )
    except KeyError as error:
        raise HistoryFileError(f"{place}: {error} is missing") from None


def read_turn(data: dict[str, Any], expected: int, place: str) -> h.Turn:
    """The turn of a line.

    Raises:
        HistoryFileError: it is none, or not the expected one.
    """
    try:
        number, time, events = data["turn"], data["time"], data["events"]
        rows = [_row(event) for event in events]
        more = [data.get("lines", []), data.get("replayed", False)]
        turn = msgspec.convert([h.FORMAT_VERSION, number, time, rows, *more], h.Turn)
    except (KeyError, TypeError, ValueError, binascii.Error, msgspec.MsgspecError) as error:
        raise HistoryFileError(f"{place}: a turn can't be read: {error}") from None
    if turn.number != expected:
        raise HistoryFileError(f"{place}: turn {turn.number} follows turn {expected - 1}")
    return turn


def _row(data: dict[str, Any]) -> list[Any]:
    """An event as the array that it is stored as."""
    kind = _KINDS.get(data["type"])
    if kind is None:
        raise ValueError(f"{data['type']!r} is a kind of event that this version does not know")
    unknown = set(data) - set(kind.__struct_fields__) - {"type"}
    if unknown:
        raise ValueError(f"{data['type']} has no field {', '.join(sorted(unknown))}")
    defaults = _defaults(kind)
    row: list[Any] = [data["type"]]
    for name in kind.__struct_fields__:
        if name not in data and name not in defaults:
            raise ValueError(f"{data['type']} without {name}")
        row.append(_unplain(data[name]) if name in data else defaults[name])
    return row


def _unplain(value: Any) -> Any:
    if isinstance(value, list):
        return [_unplain(item) for item in value]  # pyright: ignore[reportUnknownVariableType]
    if not isinstance(value, dict):
        return value
    data = cast("dict[str, Any]", value)
    if set(data) == {"json"}:
        return json.dumps(data["json"], separators=(",", ":"), ensure_ascii=False).encode()
    if set(data) == {"base64"}:
        return base64.b64decode(data["base64"], validate=True)
    if set(data) == {"struct"}:
        fields = {name: _unplain(one) for name, one in data["struct"].items()}
        # A parent is stored as an array, a failure as an object.
        return list(fields.values()) if "instance_id" in fields else fields
    return {key: _unplain(item) for key, item in data.items()}


def _defaults(kind: type[msgspec.Struct]) -> dict[str, Any]:
    found = _known_defaults.get(kind)
    if found is None:
        found = _known_defaults[kind] = {
            field.name: field.default
            if field.default is not msgspec.NODEFAULT
            else field.default_factory()
            for field in msgspec.structs.fields(kind)
            if not field.required
        }
    return found


_known_defaults: Final[dict[type[msgspec.Struct], dict[str, Any]]] = {}
_KINDS: Final[dict[str, type[h.Event]]] = {
    str(kind.__struct_config__.tag): kind
    for kind in vars(h).values()
    if isinstance(kind, type)
    and issubclass(kind, h.Event)
    and isinstance(kind.__struct_config__.tag, str)
}
