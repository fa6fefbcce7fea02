"""Calls of builtins.

PYTEST_DONT_REWRITE
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..syntax import Node
from . import _builtins as b
from ._base import INSENSITIVE, LOGGED, Arg
from ._methods import check_key
from ._values import (
    NONE,
    UNKNOWN,
    Value,
    elements_of,
    join,
    join_all,
    of,
    tainted,
)

if TYPE_CHECKING:
    from ._calls import Calls


def call_builtin(frame: Calls, name: str, arguments: list[Arg], node: Node) -> Value | None:
    """What a builtin gives; ``None`` where only the table of effects knows it."""
    sources = tuple(dict.fromkeys(n for a in arguments for n in a.value.sources))
    first = arguments[0] if arguments else None
    key = next((a for a in arguments if a.keyword == "key"), None)
    if key is not None and name in ("sorted", "min", "max"):
        check_key(frame, key, node)
    if name == "sorted":
        if key is None and first is not None:
            for number in first.value.order:
                frame.program.sources[number].is_sorted = True
        element = elements_of(first.value) if first else UNKNOWN
        return Value((("list",),), sources, element)
    if name in ("set", "frozenset"):
        inner = elements_of(first.value) if first else UNKNOWN
        known = inner if inner.types or inner.sources else None
        return Value((("set",),), sources, known)
    if name == "dict":
        return _dict(frame, arguments, sources)
    if name in b.SEQUENCES:
        return _sequence(frame, name, arguments, node, sources)
    if name in ("min", "max"):
        return _least(frame, arguments, key, node, sources)
    if name == "sum":
        return tainted(elements_of(first.value) if first else UNKNOWN, sources)
    if name in ("hash", "id"):
        return _identity(frame, name, first, node, sources)
    if name == "getattr":
        return _getattr(frame, arguments, node, sources)
    if name in ("setattr", "delattr"):
        return _setattr(frame, arguments, node)
    if name == "super":
        return _super(frame)
    if name in ("vars", "globals", "locals"):
        if name == "globals" and frame.reports:
            frame.emit("WFL508", node[1], node[2], "globals()")
        return Value((("dict",),), sources)
    if name in ("range", "slice"):
        return Value((("iter",),), sources, of("int"))
    if name == "type":
        return UNKNOWN
    if name in ("abs", "divmod", "pow"):
        return Value((("float",),), sources)
    if name == "str" and first is not None and first.value.text is not None:
        return first.value
    if name in b.TEXT and name != "print":
        for argument in arguments:
            if argument.node is not None:
                frame.into_text(argument.value, argument.node)
        order = first.value.order if first else ()
        return Value((("str",),), sources, None, order)
    if name in b.SCALARS and name not in ("input",):
        return Value(((b.SCALARS[name],),), sources)
    return None


def _dict(frame: Calls, arguments: list[Arg], sources: tuple[int, ...]) -> Value:
    order: tuple[int, ...] = ()
    tag, elements = "odict", UNKNOWN
    for argument in arguments:
        value = argument.value
        if argument.keyword is not None:
            elements = join(elements, value)
            continue
        if value.has("dict", "view"):
            tag = "dict"
        if value.has("set") and argument.node is not None:
            order += frame.ordered_by("WFL105", argument.node, frame.shown(argument.node))
        order += value.order
        inner = value.element or UNKNOWN
        for kind in inner.types:
            if kind[0] == "tup" and len(kind[1]) == 2:
                elements = join(elements, kind[1][1])
        if value.has("dict", "odict"):
            elements = join(elements, inner)
    return Value(((tag,),), sources, elements, tuple(dict.fromkeys(order)))


def _sequence(
    frame: Calls, name: str, arguments: list[Arg], node: Node, sources: tuple[int, ...]
) -> Value:
    relaxed = frame.relaxed == INSENSITIVE
    values: list[Value] = []
    iterated = arguments
    function: Arg | None = None
    if name in ("map", "filter") and arguments:
        function, iterated = arguments[0], arguments[1:]
    if name == "next":
        iterated = arguments[:1]
    for argument in iterated:
        value = argument.value
        if argument.node is not None and not relaxed and not argument.star:
            what = f"{name}()"
            if name != "next" and not (name == "iter" and _single(frame, argument.node)):
                maker = node[3] if name == "list" and node[0] == "call" else None
                value = frame.iterate(argument.node, value, "WFL102", what, maker)
        values.append(value)
    order = tuple(dict.fromkeys(n for value in values for n in value.order))
    elements = [elements_of(value) for value in values]
    if name == "next":
        found = join_all(elements + [a.value for a in arguments[1:]])
        return tainted(found, sources)
    if name == "enumerate":
        element = of("tup", (of("int"), elements[0] if elements else UNKNOWN))
    elif name == "zip":
        element = of("tup", tuple(elements))
    elif name == "map" and function is not None:
        given = [Arg("", None, None, one) for one in elements]
        element = frame.call_value(function.value, given, node)
    else:
        if name == "filter" and function is not None:
            given = [Arg("", None, None, one) for one in elements]
            if not function.value.only("none"):
                frame.call_value(function.value, given, node)
        element = elements[0] if elements else UNKNOWN
        if name == "tuple" and values:
            for kind in values[0].types:
                if kind[0] == "tup" and len(values[0].types) == 1:
                    return values[0]
    tag = b.SEQUENCES[name]
    sources = tuple(dict.fromkeys(sources + element.sources))
    return Value(((tag,),), sources, element, order)


def _single(frame: Calls, node: Node) -> bool:
    """Whether a set was just found to hold one element only."""
    return node[0] == "name" and node[3] in getattr(frame, "singletons", ())


def _least(
    frame: Calls, arguments: list[Arg], key: Arg | None, node: Node, sources: tuple[int, ...]
) -> Value:
    given = [a for a in arguments if a.keyword is None]
    if len(given) == 1:
        argument = given[0]
        if key is not None and argument.node is not None and frame.relaxed is None:
            # Among equal keys, the first one met wins.
            frame.iterate(argument.node, argument.value, "WFL102", "the first of equals")
        found = elements_of(argument.value)
    else:
        found = join_all([a.value for a in given])
    return tainted(found, sources)


def _identity(
    frame: Calls, name: str, first: Arg | None, node: Node, sources: tuple[int, ...]
) -> Value:
    if first is None:
        return UNKNOWN
    if name == "hash" and first.value.only("int", "bool", "none", "float"):
        return Value((("int",),), sources)
    if frame.function is not None and frame.function.fn.name == "__hash__":
        return Value((("int",),), sources)
    code = "WFL106" if name == "hash" else "WFL107"
    numbers = frame.ambient(code, node[1], node[2], f"{name}()")
    return Value((("int",),), tuple(dict.fromkeys(sources + numbers)))


def _getattr(frame: Calls, arguments: list[Arg], node: Node, sources: tuple[int, ...]) -> Value:
    if len(arguments) < 2:
        return UNKNOWN
    owner, name = arguments[0].value, arguments[1].value
    text = name.text
    if text is not None:
        found = frame.attribute(owner, text, node)
        if len(arguments) > 2:
            found = join(found, arguments[2].value)
        return tainted(found, sources)
    if owner.has("mod") and frame.reports:
        frame.emit("WFL508", node[1], node[2], frame.shown(node))
    return Value((), sources)


def _setattr(frame: Calls, arguments: list[Arg], node: Node) -> Value:
    if arguments and arguments[0].value.has("mod", "cls", "ext") and frame.reports:
        frame.emit("WFL509", node[1], node[2], frame.shown(node))
    return NONE


def _super(frame: Calls) -> Value:
    function = frame.function
    if function is None or function.owner is None or not function.params:
        return UNKNOWN
    receiver = frame.env.get(function.params[0].name, UNKNOWN)
    kind = next((k for k in receiver.types if k[0] in ("inst", "cls")), ("inst", function.owner))
    return of("super", function.owner, kind)


__all__ = ["LOGGED", "call_builtin"]
