"""Where the parts of drawings stand: small plots, and the timeline of a run.

PYTEST_DONT_REWRITE
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Final

from .._views import Data

_LEFT: Final = 210
_WIDTH: Final = 1000
_ROW: Final = 24
_TOP: Final = 26
_MOST: Final = 400


@dataclasses.dataclass(slots=True)
class Bar:
    """A bar of a plot, or of the timeline."""

    x: float
    y: float
    width: float
    height: float
    title: str = ""
    kind: str = ""
    state: str = ""


def plot(values: Sequence[float], unit: str, width: int = 300, height: int = 48) -> Data:
    """A plot of one value for each minute, the newest at the right."""
    top = max([*values, 1.0])
    step = width / max(len(values), 1)
    bars = [
        Bar(
            round(number * step, 2),
            round(height - height * value / top, 2),
            round(max(step - 1, 0.5), 2),
            round(height * value / top, 2),
            f"{len(values) - number} min ago: {value:g} {unit}",
        )
        for number, value in enumerate(values)
        if value
    ]
    return {"bars": bars, "width": width, "height": height, "top": top, "total": sum(values)}


@dataclasses.dataclass(slots=True)
class Row:
    """A row of the timeline."""

    label: str
    bar: Bar
    number: int | None
    instance: str | None
    moment: bool
    attempt: int | None
    open: bool


def timeline(rows: Sequence[Data], now: int) -> Data | None:
    """The timeline of a run; ``None`` while there is nothing to show."""
    if not rows:
        return None
    shown = list(rows[-_MOST:])
    first = min(row["from"] for row in shown)
    last = max([now if row["to"] is None else row["to"] for row in shown] + [first + 1000])
    span = last - first
    scale = (_WIDTH - _LEFT - 20) / span

    def x(at: int) -> float:
        return float(round(_LEFT + (min(max(at, first), last) - first) * scale, 2))

    drawn: list[Row] = []
    for number, row in enumerate(shown):
        began = row["from"]
        ended = row["to"] if row["to"] is not None else last
        moment = row["to"] == began and row["kind"] not in ("activity", "timer", "child", "update")
        drawn.append(
            Row(
                row["label"],
                Bar(
                    x(began),
                    _TOP + number * _ROW,
                    max(x(ended) - x(began), 3.0),
                    _ROW - 10,
                    _title(row, ended - began),
                    row["kind"].replace(" ", "-"),
                    row["state"],
                ),
                row["number"],
                row.get("instance"),
                moment,
                row["attempt"],
                row["to"] is None,
            )
        )
    ticks = [(x(at), _short(at, span), at // 1000) for at in _ticks(first, last)]
    return {
        "rows": drawn,
        "ticks": ticks,
        "width": _WIDTH,
        "height": _TOP + len(drawn) * _ROW + 6,
        "left": _LEFT,
        "top": _TOP,
        "cut": len(rows) - len(shown),
    }


def _title(row: Data, length: int) -> str:
    parts = [f"{row['kind']} {row['label']}", str(row["state"])]
    if row["attempt"]:
        parts.append(f"attempt {row['attempt']}")
    if row["to"] is None or length:
        parts.append(duration(length))
    return ", ".join(parts)


def _ticks(first: int, last: int) -> list[int]:
    count = 5
    return [first + (last - first) * number // count for number in range(count + 1)]


def _short(at: int, span: int) -> str:
    when = datetime.fromtimestamp(at / 1e6, UTC)
    if span < 10_000_000:
        return when.strftime("%H:%M:%S.") + f"{when.microsecond // 1000:03}"
    if span < 86_400_000_000:
        return when.strftime("%H:%M:%S")
    return when.strftime("%m-%d %H:%M")


def duration(microseconds: float) -> str:
    """A duration for people."""
    seconds = microseconds / 1e6
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 120:
        return f"{seconds:.1f} s"
    minutes = seconds / 60
    if minutes < 120:
        return f"{minutes:.0f} min"
    hours = minutes / 60
    return f"{hours:.1f} h" if hours < 48 else f"{hours / 24:.1f} d"


def series(minutes: Sequence[dict[str, Any]], name: str) -> list[float]:
    """One of the counts of each minute; ``failed`` counts all ends but good ones."""
    if name == "failed":
        good = ("completed", "continued_as_new", "cancelled")
        return [
            float(sum(n for outcome, n in m.get("finishes", {}).items() if outcome not in good))
            for m in minutes
        ]
    if name == "finishes":
        return [float(sum(minute.get("finishes", {}).values())) for minute in minutes]
    return [float(minute.get(name, 0)) for minute in minutes]
