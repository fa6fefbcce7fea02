"""Exported instances as JSON lines, written and read one instance at a time.

The first line is ``{"format": "perdure-export", "version": 1, "source": …, "exported_at": …}``.
Each instance is a line ``{"instance": {…}, "held": …}`` with the fields of
:class:`~perdure_backends.InstanceImage` (bytes as base64), the turns of its runs, and a line
``{"end": id, "turns": …, "sha256": …}`` with the digest of its lines. A turn is as in the format of
histories (:mod:`perdure_runtime._replay._files`), with ``run``, the position of its run; one that
this version can't read is ``{"run": 0, "record": base64}``. The last line is
``{"exported": count}``. Fields are only ever added.

PYTEST_DONT_REWRITE
"""

from __future__ import annotations

import base64
import binascii
import dataclasses
import hashlib
import json
from collections.abc import AsyncIterable, Iterable, Iterator
from typing import IO, Any, Final, cast

import msgspec
from perdure import PerdureError
from perdure_backends import InstanceImage
from perdure_backends import history as h

from .._replay._files import HistoryFileError, read_turn, turn_data

FORMAT: Final = "perdure-export"
VERSION: Final = 1


class ExportFileError(PerdureError):
    """A file is no export, is damaged or cut off, or was written by a newer version."""


@dataclasses.dataclass(frozen=True, slots=True)
class Packed:
    """An instance with the stored turns of each of its runs.

    Attributes:
        held: it ran, and was suspended only to be moved.
    """

    image: InstanceImage
    histories: list[list[bytes]]
    held: bool = False

    @property
    def turns(self) -> int:
        """How many turns all of its runs have."""
        return sum(map(len, self.histories))


class _InstanceLine(msgspec.Struct, frozen=True):
    instance: InstanceImage
    held: bool = False


_encode: Final = msgspec.json.Encoder().encode
_decode: Final = msgspec.json.Decoder(_InstanceLine).decode


# --- writing --------------------------------------------------------------------------------


async def write_export(
    out: IO[str], packed: AsyncIterable[Packed], *, source: str, now: int
) -> int:
    """Writes instances as they come; gives their number.

    Args:
        source: which store they are from, for people.
        now: its time, microseconds since the epoch.
    """
    header = {"format": FORMAT, "version": VERSION, "source": source, "exported_at": now}
    out.write(json.dumps(header) + "\n")
    count = 0
    async for one in packed:
        for line in _lines(one):
            out.write(line + "\n")
        count += 1
    out.write(json.dumps({"exported": count}) + "\n")
    return count


def _lines(packed: Packed) -> Iterator[str]:
    digest = hashlib.sha256()
    first = _encode(_InstanceLine(packed.image, packed.held)).decode()
    digest.update(first.encode())
    yield first
    for run, history in enumerate(packed.histories):
        for record in history:
            line = json.dumps({"run": run, **_turn_data(record)})
            digest.update(line.encode())
            yield line
    name, turns = packed.image.instance_id, packed.turns
    yield json.dumps({"end": name, "turns": turns, "sha256": digest.hexdigest()})


def _turn_data(record: bytes) -> dict[str, Any]:
    try:
        turn = h.decode_turn(record)
        if h.encode_same(turn) == record:
            return turn_data(turn)
    except h.NewerHistoryError:
        pass
    return {"record": base64.b64encode(record).decode("ascii")}


# --- reading --------------------------------------------------------------------------------


def read_export(lines: Iterable[str], where: str = "export") -> Iterator[Packed]:
    """The instances of an export, each when it is complete.

    Raises:
        ExportFileError: it is no export, is damaged or cut off, or of a newer version. What was
            given before is whole.
    """
    numbered = ((n, line) for n, line in enumerate(lines, 1) if line.strip())
    _check_header(_object(*next(numbered, (1, "")), where), where)
    count = 0
    for number, line in numbered:
        data = _object(number, line, where)
        if "instance" in data:
            yield _instance(number, line, numbered, where)
            count += 1
        elif data.get("exported") == count:
            return
        else:
            raise ExportFileError(f"{where}:{number}: an instance or the end was expected")
    raise ExportFileError(
        f'{where} is cut off behind {count} whole instances: the line {{"exported": …}} is missing'
    )


def _object(number: int, line: str, where: str) -> dict[str, Any]:
    try:
        data = json.loads(line)
    except ValueError as error:
        raise ExportFileError(f"{where}:{number}: not JSON: {error}") from None
    if not isinstance(data, dict):
        raise ExportFileError(f"{where}:{number}: an object was expected")
    return cast("dict[str, Any]", data)


def _check_header(data: dict[str, Any], where: str) -> None:
    if data.get("format") != FORMAT:
        raise ExportFileError(
            f'{where}: an export begins with {{"format": "{FORMAT}", …}}; write it with '
            "`perdure export`"
        )
    version = data.get("version")
    if not isinstance(version, int) or version > VERSION:
        raise ExportFileError(
            f"{where}: the file has version {version!r}, this code reads up to {VERSION}: it was "
            "written by a newer version of Perdure"
        )


def _instance(number: int, line: str, numbered: Iterator[tuple[int, str]], where: str) -> Packed:
    try:
        first = _decode(line)
    except msgspec.MsgspecError as error:
        raise ExportFileError(f"{where}:{number}: an instance can't be read: {error}") from None
    image = first.instance
    digest = hashlib.sha256(line.rstrip("\n").encode())
    histories: list[list[bytes]] = [[] for _ in image.runs]
    for number, line in numbered:
        data = _object(number, line, where)
        if "end" in data:
            packed = Packed(image, histories, first.held)
            if data.get("sha256") != digest.hexdigest() or data.get("turns") != packed.turns:
                raise ExportFileError(
                    f"{where}:{number}: the lines of {image.instance_id!r} were changed or lost: "
                    "their digest is another one"
                )
            return packed
        digest.update(line.rstrip("\n").encode())
        try:
            position: int = data["run"]
            history = histories[position]
            history.append(_record(data, len(history) + 1))
        except (KeyError, IndexError, TypeError, binascii.Error, HistoryFileError) as error:
            raise ExportFileError(f"{where}:{number}: a turn can't be read: {error}") from None
    raise ExportFileError(f"{where} is cut off within instance {image.instance_id!r}")


def _record(data: dict[str, Any], expected: int) -> bytes:
    if "record" in data:
        return base64.b64decode(data["record"], validate=True)
    turn = read_turn(data, expected, "a turn")
    return h.encode_same(turn)
