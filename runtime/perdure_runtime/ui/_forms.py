"""Forms from JSON Schemas, and values from what was filled in.

What a schema says simply (text, numbers, yes or no, one of several, objects of these) has fields of
its own; anything else is asked for as JSON.

PYTEST_DONT_REWRITE
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal, cast

from .._schemas import Parameter, Schema

Kind = Literal["text", "integer", "number", "checkbox", "select", "object", "json", "nothing"]

_DEEPEST: Final = 3

_SIMPLE: Final[dict[str, Kind]] = {
    "string": "text",
    "integer": "integer",
    "number": "number",
    "boolean": "checkbox",
    "null": "nothing",
}


@dataclasses.dataclass(slots=True)
class Field:
    """An input, or several of an object.

    Attributes:
        name: of the input.
        value: what stands in it.
        error: what is wrong with that.
        key: the property, within an object.
    """

    name: str
    label: str
    kind: Kind
    required: bool = True
    options: list[str] = dataclasses.field(default_factory=list[str])
    children: list[Field] = dataclasses.field(default_factory=list["Field"])
    help: str = ""
    value: str = ""
    error: str = ""
    key: str = ""


def fields_of(parameters: Sequence[Parameter]) -> list[Field]:
    """The fields of a workflow's parameters."""
    return [
        field_of(one.schema, name=f"p{number}", label=one.name, required=one.required)
        for number, one in enumerate(parameters)
    ]


def field_of(
    schema: Schema,
    *,
    name: str,
    label: str,
    required: bool = True,
    defs: Mapping[str, Any] | None = None,
    depth: int = 0,
) -> Field:
    """The field of a value."""
    known: Mapping[str, Any] = {**(defs or {}), **schema.get("$defs", {})}
    resolved, nullable = _resolve(schema, known)
    required = required and not nullable
    field = Field(name, label, "json", required, help=str(resolved.get("description", "")))
    if schema.get("default") is not None:
        field.value = _text(schema["default"])
    options = resolved.get("enum")
    kind = _SIMPLE.get(str(resolved.get("type")))
    if isinstance(options, list):
        field.kind = "select"
        field.options = [_text(option) for option in cast("list[Any]", options)]  # type: ignore[redundant-cast]
    elif kind is not None:
        field.kind = kind
    elif resolved.get("type") == "object" and resolved.get("properties") and depth < _DEEPEST:
        field.kind = "object"
        wanted = set(resolved.get("required", ()))
        for key, one in resolved["properties"].items():
            child = field_of(
                one,
                name=f"{name}.{key}",
                label=key,
                required=key in wanted,
                defs=known,
                depth=depth + 1,
            )
            child.key = key
            field.children.append(child)
    else:
        field.help = field.help or _described(resolved)
    return field


def _resolve(schema: Schema, defs: Mapping[str, Any]) -> tuple[Schema, bool]:
    """The schema behind references, and whether ``null`` is allowed besides."""
    nullable = False
    for _ in range(8):
        reference = schema.get("$ref")
        if isinstance(reference, str):
            schema = defs.get(reference.rpartition("/")[2], {})
            continue
        several: list[Schema] = schema.get("anyOf") or schema.get("oneOf") or []
        others = [one for one in several if one.get("type") != "null"]
        if len(others) == 1 and len(several) == 2:
            nullable, schema = True, others[0]
            continue
        break
    return schema, nullable


def _described(schema: Schema) -> str:
    kind = schema.get("type")
    if kind == "array":
        return 'a JSON array, such as ["a", "b"]'
    if kind == "object":
        return 'a JSON object, such as {"key": "value"}'
    return "any JSON value; text needs quotes"


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


class _Absent:
    """Nothing was filled in, and nothing has to be."""


_ABSENT: Final = _Absent()


def read_fields(fields: Sequence[Field], form: Mapping[str, str]) -> list[Any] | None:
    """The values that were filled in; ``None`` when some are wrong, which the fields then say.

    Parameters at the end that were left out stay out, so that their defaults hold.
    """
    values = [_read(field, form) for field in fields]
    while values and isinstance(values[-1], _Absent):
        values.pop()
    if any(_wrong(field) for field in fields):
        return None
    return [None if isinstance(value, _Absent) else value for value in values]


def _wrong(field: Field) -> bool:
    return bool(field.error) or any(map(_wrong, field.children))


def _read(field: Field, form: Mapping[str, str]) -> Any:
    if field.kind == "nothing":
        return None
    if field.kind == "object":
        found: dict[str, Any] = {}
        for child in field.children:
            value = _read(child, form)
            if not isinstance(value, _Absent):
                found[child.key] = value
        return found if found or field.required else _ABSENT
    if field.kind == "checkbox":
        field.value = "true" if form.get(field.name) else "false"
        return field.value == "true"
    given = form.get(field.name, "")
    field.value = given
    if given == "" and not (field.kind == "text" and field.required):
        if field.required:
            field.error = "this is needed"
        return _ABSENT
    if field.kind == "text":
        return given
    if field.kind == "select":
        if given not in field.options:
            field.error = "choose one of them"
            return _ABSENT
        try:
            return json.loads(given)
        except ValueError:
            return given
    try:
        value = json.loads(given)
    except ValueError as error:
        field.error = f"not JSON: {error}" if field.kind == "json" else "a number is needed"
        return _ABSENT
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if field.kind == "integer" and not (number and value == int(value)):
        field.error = "a whole number is needed"
    elif field.kind == "number" and not number:
        field.error = "a number is needed"
    return int(value) if field.kind == "integer" and not field.error else value
