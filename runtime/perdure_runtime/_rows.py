"""Histories as rows for people, for tables of any kind.

PYTEST_DONT_REWRITE
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple, get_args

from perdure_backends import history as h

_APART: Final = ("type", "number", "line")
_USUAL: Final = (("attempt", 1),)

_COMMANDS: Final = frozenset(str(kind.__struct_config__.tag) for kind in get_args(h.Issued))
"""Kinds of what the code issued."""


class Row(NamedTuple):
    """An event.

    Attributes:
        turn: its turn, where it is the first of it; others have ``None``.
        event: ``→`` before what the code issued, ``←`` before what it received.
        details: fields that say something, each shortened.
    """

    turn: h.Turn | None
    event: str
    number: str
    details: str


def event_rows(turns: Iterable[h.Turn], longest: int) -> Iterator[Row]:
    """A row for each event.

    Args:
        longest: characters of a field.
    """
    for turn in turns:
        for index, event in enumerate(turn.events):
            row = data_row(h.to_jsonable(event), longest)
            yield row._replace(turn=turn if index == 0 else None)


def data_row(data: dict[str, Any], longest: int) -> Row:
    """The row of an event that is plain data already; without its turn."""
    kind, number = str(data["type"]), data.get("number", "")
    details = "  ".join(
        f"{key}={shortened(value, longest)}"
        for key, value in data.items()
        if key not in _APART and value not in (None, "", {}) and (key, value) not in _USUAL
    )
    arrow = "→" if kind in _COMMANDS else "←"
    return Row(None, f"{arrow} {kind}", str(number), details)


def text_rows(turns: Iterable[h.Turn], longest: int) -> Iterator[str]:
    """A line for each event, with number and time of the turn where one begins.

    Args:
        longest: characters of a field.
    """
    for row in event_rows(turns, longest):
        when = " " * 25
        if row.turn is not None:
            time = datetime.fromtimestamp(row.turn.time / 1e6, UTC).strftime("%Y-%m-%d %H:%M:%S")
            when = f"{row.turn.number:>4}  {time}"
        yield f"{when}  {row.event} {row.number}  {row.details}".rstrip()


def shortened(value: Any, longest: int) -> str:
    """A value as JSON, of so many characters at most."""
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= longest else text[: longest - 1] + "…"
