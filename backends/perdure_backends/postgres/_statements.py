"""The SQL of this store: named parameters become numbered ones, many writes one statement.

PYTEST_DONT_REWRITE
"""

from __future__ import annotations

import functools
import hashlib
import re
from collections.abc import Iterable, Sequence
from typing import Any, Final, NamedTuple

import msgspec

from .._relational import Write
from .._statements import load_statements

SQL: Final = load_statements(__package__ or "")

_FIELDS: Final = re.compile(r"json_to_recordset\(:rows::json\) AS \w*\s*\(([^)]*)\)")
_encode: Final = msgspec.json.Encoder().encode

_PARAMETER: Final = re.compile(r"(?<!:):([a-z_][a-z_0-9]*)(?:\.(\d))?")


def in_schema(text: str, schema: str) -> str:
    """A statement with our tables in the schema that the user chose."""
    if schema == "perdure":
        return text
    return text.replace("perdure.", f"{schema}.").replace("EXISTS perdure", f"EXISTS {schema}")


def lock_key(schema: str, name: str) -> int:
    """The number of an advisory lock."""
    digest = hashlib.sha256(f"perdure {schema} {name}".encode()).digest()
    return int.from_bytes(digest[:8], "big", signed=True)


class Compiled(NamedTuple):
    """A statement with numbered parameters, and which named ones they are.

    ``names`` are (name, column): a column of a list of tuples, or ``None`` for the whole value.
    """

    text: str
    names: tuple[tuple[str, int | None], ...]

    def arguments(self, parameters: dict[str, Any]) -> list[Any]:
        """The values in order."""
        return [
            parameters[name] if column is None else [row[column] for row in parameters[name]]
            for name, column in self.names
        ]


@functools.lru_cache(maxsize=2000)
def compile_text(text: str, schema: str, offset: int = 0) -> Compiled:
    """Numbers the parameters of a statement, from ``offset`` + 1 on."""
    names: list[tuple[str, int | None]] = []

    def number(match: re.Match[str]) -> str:
        column = match.group(2)
        key = (match.group(1), None if column is None else int(column))
        if key not in names:
            names.append(key)
        return f"${offset + names.index(key) + 1}"

    return Compiled(_PARAMETER.sub(number, in_schema(text, schema)), tuple(names))


@functools.lru_cache(maxsize=2000)
def _compose(names: tuple[str, ...], schema: str) -> str:
    """One statement that does what several do, at once."""
    if len(names) == 1:
        return compile_text(SQL[names[0]], schema).text
    parts: list[str] = []
    offset = 0
    for index, name in enumerate(names):
        compiled = compile_text(SQL[name], schema, offset)
        parts.append(f"w{index} AS ({compiled.text})")
        offset += len(compiled.names)
    return f"WITH {', '.join(parts)} SELECT 1"


@functools.lru_cache(maxsize=2000)
def _compose_compared(names: tuple[str, ...], checks: int, schema: str) -> str:
    """One statement that does what several do, and fails unless the first have met all their rows.

    A division by zero undoes it: nothing else that a single statement can do is a rollback.
    """
    parts: list[str] = []
    offset = checks
    for index, name in enumerate(names):
        compiled = compile_text(SQL[name], schema, offset)
        parts.append(f"w{index} AS ({compiled.text})")
        offset += len(compiled.names)
    met = (f"1 / ((SELECT count(*) FROM w{n}) = ${n + 1}::bigint)::int" for n in range(checks))
    return f"WITH {', '.join(parts)} SELECT {' + '.join(met)}"


def compared(
    checks: Sequence[Write], writes: Sequence[Write], schema: str
) -> tuple[str, list[Any]]:
    """One statement for all writes that fails unless ``checks`` have met all of their rows."""
    every = (*checks, *writes)
    text = _compose_compared(tuple(write.statement for write in every), len(checks), schema)
    arguments: list[Any] = [len(write.rows) for write in checks]
    for write in every:
        arguments += _columns(write)
    return text, arguments


def composed(writes: Sequence[Write], schema: str) -> tuple[str, list[Any]]:
    """One statement for all writes, and its arguments: the columns of their rows."""
    text = _compose(tuple(write.statement for write in writes), schema)
    arguments: list[Any] = []
    for write in writes:
        arguments += _columns(write)
    return text, arguments


@functools.cache
def _record(statement: str) -> type[msgspec.Struct] | None:
    """Makes of the first columns of a row what goes into JSON, if the statement takes it so."""
    found = _FIELDS.search(SQL[statement])
    if found is None:
        return None
    columns = [(one.split()[0], Any, None) for one in found[1].split(",")]
    return msgspec.defstruct("Row", columns, omit_defaults=True)


def _columns(write: Write) -> Iterable[Any]:
    """The rows of a write as arguments: JSON where the statement takes it, arrays otherwise.

    The driver asks each element of an array whether it is an array itself, which costs more than
    all that happens to it besides; a wide row goes into JSON ten times as fast.
    """
    record = _record(write.statement)
    if record is None:
        return zip(*write.rows, strict=True)
    width = len(record.__struct_fields__)
    rows = [record(*row[:width]) for row in write.rows]
    return (_encode(rows).decode(), *zip(*(row[width:] for row in write.rows), strict=True))
