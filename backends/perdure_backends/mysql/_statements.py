"""The SQL of this store: parameters become literals, rows parts of statements.

The protocol of prepared statements is beyond the driver; like it, we write values as literals.
Bytes are written in hexadecimal, which means the same under every SQL mode; strings are escaped
for the mode that our connections set.

PYTEST_DONT_REWRITE
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

from pymysql.converters import escape_string

from .._relational import Write
from .._statements import load_statements

SQL: Final = load_statements(__package__ or "")

_NAMED: Final = re.compile(r"(?<!:):([a-z_][a-z_0-9]*)")
_NUMBERED: Final = re.compile(r":(\d+)")
_KEYS: Final = re.compile(r"\{or:([a-z]+) ([^}]*)\}")
_MARKED: Final = re.compile(r"\{(or|rows|union)\s([^}]*)\}")
_BETWEEN: Final = {"or": ") OR (", "rows": "), (", "union": " UNION ALL SELECT "}
UNMET: Final = 1690
"""The server's error for a number out of range, see :func:`compared`."""

_ROWS: Final = 500
"""Rows that go into one statement at most."""

_MANY: Final = 6
"""From so many rows on, one update of a joined table costs less than one for each row."""


def literal(value: Any) -> str:
    """A value as SQL.

    Raises:
        TypeError: it is of no type that our statements take.
    """
    return _WRITERS[value.__class__](value)


def _text(value: str) -> str:
    # Letters and digits need no escape, and most texts are ids.
    return f"'{value}'" if value.isalnum() else f"'{escape_string(value)}'"


def _list(values: Sequence[Any]) -> str:
    return f"({', '.join(map(literal, values)) or 'NULL'})"


class _Writers(dict[type, Callable[[Any], str]]):
    """What writes values of a type, and of types that are derived from it."""

    def __missing__(self, kind: type) -> Callable[[Any], str]:
        for base in kind.__mro__[1:]:
            if base in self:
                self[kind] = self[base]
                return self[kind]
        raise TypeError(f"no SQL literal for {kind.__name__}")


_KINDS: Final[dict[type, Callable[[Any], str]]] = {
    type(None): lambda _: "NULL",
    bool: lambda value: "1" if value else "0",
    int: int.__repr__,
    float: float.__repr__,
    str: _text,
    bytes: lambda value: f"x'{value.hex()}'",
    list: _list,
    tuple: _list,
}
_WRITERS: Final = _Writers(_KINDS)


def with_prefix(text: str, prefix: str) -> str:
    """A statement about the tables with a prefix of the user's choice."""
    return text if prefix == "perdure_" else text.replace("perdure_", prefix)


def bound(text: str, parameters: dict[str, Any]) -> str:
    """A statement with its named parameters written in."""

    def keys(match: re.Match[str]) -> str:
        rows: Sequence[tuple[Any, ...]] = parameters[match.group(1)]
        return _joined("or", match.group(2), rows)

    text = _KEYS.sub(keys, text)
    return _NAMED.sub(lambda match: literal(parameters[match.group(1)]), text)


def _joined(kind: str, pattern: str, rows: Sequence[tuple[Any, ...]]) -> str:
    joined = _BETWEEN[kind].join(map(_filler(pattern), rows))
    return joined if kind == "union" else f"({joined})"


@functools.lru_cache(maxsize=500)
def _filler(pattern: str) -> Callable[[tuple[Any, ...]], str]:
    """Writes the columns of a row into a pattern."""
    parts = _NUMBERED.split(pattern)
    texts, columns = parts[::2], [int(one) - 1 for one in parts[1::2]]
    first, *between, last = texts
    width = len(columns)
    if columns == list(range(width)) and all(text.strip() == "," for text in between):
        # The columns in their order, as most statements take them.
        def fill(row: tuple[Any, ...]) -> str:
            return f"{first}{', '.join([_WRITERS[v.__class__](v) for v in row[:width]])}{last}"

        return fill
    rest = list(zip(columns, texts[1:], strict=True))
    return lambda row: first + "".join([literal(row[column]) + text for column, text in rest])


@functools.lru_cache(maxsize=500)
def _shape(text: str) -> tuple[str, str, str, str]:
    """A writing statement in parts: before its mark, the mark's kind and pattern, and behind it."""
    match = _MARKED.search(text)
    if match is None:
        return "", "", text, ""
    return text[: match.start()], match.group(1), match.group(2), text[match.end() :]


def statements_for(write: Write, prefix: str) -> Iterator[str]:
    """The statements that do a write."""
    return (text for text, _ in _counted(write, prefix))


def _counted(write: Write, prefix: str) -> Iterator[tuple[str, int]]:
    """The statements that do a write, and of how many rows each."""
    name = write.statement
    if len(write.rows) >= _MANY and f"{name}_at_once" in SQL:
        name = f"{name}_at_once"
    before, kind, pattern, behind = _shape(with_prefix(SQL[name], prefix))
    if not kind:
        fill = _filler(pattern)
        yield from ((fill(row), 1) for row in write.rows)
        return
    for start in range(0, len(write.rows), _ROWS):
        rows = write.rows[start : start + _ROWS]
        yield f"{before}{_joined(kind, pattern, rows)}{behind}", len(rows)


def compared(checks: Sequence[Write], writes: Sequence[Write], prefix: str) -> Iterator[str]:
    """A transaction that breaks off with the error :data:`UNMET` unless ``checks`` meet all rows.

    What follows a failed statement of a packet is not run; and adding to the greatest number is
    the plainest statement that fails, or not, by what has just happened. (`DO` fails silently.)
    """
    yield "BEGIN"
    for write in checks:
        for text, count in _counted(write, prefix):
            yield text
            yield f"SET @perdure_unmet = 18446744073709551615 + (ROW_COUNT() <> {count})"
    for write in writes:
        yield from statements_for(write, prefix)
    yield "COMMIT"
