"""Histories as rows for people, for tables of any kind.

PYTEST_DONT_REWRITE
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import Any, NamedTuple

from perdure_backends import history as h


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
            data = h.to_jsonable(event)
            kind, number = data.pop("type"), data.pop("number", "")
            details = "  ".join(
                f"{key}={shortened(value, longest)}"
                for key, value in data.items()
                if value not in (None, "", {})
            )
            arrow = "→" if isinstance(event, h.Command) else "←"
            yield Row(turn if index == 0 else None, f"{arrow} {kind}", str(number), details)


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
