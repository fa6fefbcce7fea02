"""JSON Schemas of workflows and of the messages that they take, published by workers.

Tools without the code make forms of them. Which messages a workflow takes is read from what its
function names among its module's globals, and the functions that it calls there.

PYTEST_DONT_REWRITE
"""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Iterator, Sequence
from types import CodeType, FunctionType
from typing import Any, Final, cast

import msgspec
from perdure import Signal, Update, Workflow
from perdure.extension import AnyQuery
from perdure_backends import Documents
from perdure_backends.records import Document

SCHEMAS: Final = "schemas"
"""The collection. Keys follow from name and version."""

_DEEPEST: Final = 4
"""So many calls away from a workflow, its messages are still found."""

Schema = dict[str, Any]


class Parameter(msgspec.Struct, omit_defaults=True):
    """A parameter of a workflow."""

    name: str
    schema: Schema
    required: bool = True


class Taken(msgspec.Struct, omit_defaults=True):
    """What a message takes and gives; ``None`` where that is nothing."""

    argument: Schema | None = None
    result: Schema | None = None


class Published(msgspec.Struct, omit_defaults=True):
    """A workflow as its workers know it."""

    workflow: str
    version: int
    build: str
    module: str
    doc: str = ""
    queues: list[str] = []
    parameters: list[Parameter] = []
    result: Schema | None = None
    signals: dict[str, Taken] = {}
    queries: dict[str, Taken] = {}
    updates: dict[str, Taken] = {}
    at: int = 0


_encode: Final = msgspec.json.Encoder().encode
_decode: Final = msgspec.json.Decoder(Published).decode


def _describe(found: Published, workflow: Workflow[..., Any]) -> None:
    """Fills in what a workflow takes and gives."""
    definition = workflow.definition
    found.doc = inspect.getdoc(definition.function) or ""
    types, result = definition.signature.resolve()
    for parameter, annotation in zip(definition.signature.parameters, types, strict=True):
        schema = schema_of(annotation)
        required = parameter.default is parameter.empty
        if not required:
            schema = {**schema, **_default(parameter.default)}
        found.parameters.append(Parameter(parameter.name, schema, required))
    found.result = schema_of(result)
    for message in messages_of(definition.function):
        if isinstance(message, Signal):
            found.signals[message.name] = Taken(schema_of(message.type))
        elif isinstance(message, Update):
            found.updates[message.name] = Taken(
                schema_of(message.argument_type), schema_of(message.result_type)
            )
        else:
            argument = schema_of(message.argument_type) if message.takes_argument else None
            found.queries[message.name] = Taken(argument, schema_of(message.type))


def _default(value: Any) -> Schema:
    try:
        return {"default": msgspec.to_builtins(value)}
    except (TypeError, ValueError, msgspec.MsgspecError):
        return {}


def schema_of(annotation: Any) -> Schema:
    """The JSON Schema of a type; an empty one where it has none."""
    model: Any = getattr(annotation, "model_json_schema", None)
    try:
        found: Schema = msgspec.json.schema(annotation) if model is None else model()
    except Exception:  # a type of somebody's own, or one with a hook
        return {}
    return found


Message = Signal[Any] | AnyQuery[Any] | Update[Any, Any]


def messages_of(function: Any) -> list[Message]:
    """The messages that a function names, or others that it calls in its project."""
    found: dict[int, Message] = {}
    seen: set[int] = set()
    _visit(function, found, seen, 0)
    return list(found.values())


def _visit(function: Any, found: dict[int, Message], seen: set[int], depth: int) -> None:
    code: CodeType | None = getattr(function, "__code__", None)
    if code is None or id(code) in seen or depth > _DEEPEST:
        return
    seen.add(id(code))
    names: dict[str, Any] = {**function.__globals__, **inspect.getclosurevars(function).nonlocals}
    for name in _names(code):
        value = names.get(name)
        message = _message(value)
        if message is not None:
            found.setdefault(id(message), message)
        elif isinstance(value, FunctionType) and value.__module__ == function.__module__:
            _visit(value, found, seen, depth + 1)
        elif inspect.ismodule(value):
            for attribute in _names(code):
                message = _message(vars(value).get(attribute))
                if message is not None:
                    found.setdefault(id(message), message)


def _message(value: Any) -> Message | None:
    if not isinstance(value, (Signal, AnyQuery, Update)):
        return None
    return cast("Message", value)  # type: ignore[redundant-cast]  # pyright does not know the rest


def _names(code: CodeType) -> Iterator[str]:
    yield from code.co_names
    yield from code.co_freevars
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _names(constant)


# --- in the store ---------------------------------------------------------------------------


def key_of(workflow: str, version: int) -> str:
    """The key under which a workflow's schema is kept."""
    return f"{hashlib.sha256(workflow.encode()).hexdigest()[:32]}-{version:010d}"


def documents_of(
    workflows: Sequence[Workflow[..., Any]], *, build: str, queues: list[str], at: int
) -> list[Document]:
    """What a worker publishes. Never raises: what has no schema is published without."""
    return [
        Document(SCHEMAS, key_of(one.workflow, one.version), _encode(one))
        for one in (_published(workflow, build, queues, at) for workflow in workflows)
    ]


def _published(workflow: Workflow[..., Any], build: str, queues: list[str], at: int) -> Published:
    definition = workflow.definition
    bare = Published(
        workflow=definition.name,
        version=definition.version,
        build=build,
        module=definition.function.__module__,
        queues=queues,
        at=at,
    )
    full = msgspec.structs.replace(bare, parameters=[], signals={}, queries={}, updates={})
    try:
        _describe(full, workflow)
    except Exception:  # an annotation that nobody can make sense of
        return bare
    return full


async def read_schemas(store: Documents) -> list[Published]:
    """All that workers have published, by name and version."""
    found: list[Published] = []
    after: str | None = None
    while True:
        page = await store.list_documents(SCHEMAS, after, 500)
        for one in page:
            try:
                found.append(_decode(one.value))
            except msgspec.MsgspecError:
                continue  # of another version
        if len(page) < 500:
            return sorted(found, key=lambda one: (one.workflow, one.version))
        after = page[-1].key


async def read_schema(store: Documents, workflow: str, version: int) -> Published | None:
    """What was published of a workflow."""
    key = key_of(workflow, version)
    # Keys are compared as bytes: the one just before it.
    before = key[:-1] + chr(ord(key[-1]) - 1) + "~"
    for one in await store.list_documents(SCHEMAS, before, 1):
        if one.key == key:
            try:
                return _decode(one.value)
            except msgspec.MsgspecError:
                return None
    return None
