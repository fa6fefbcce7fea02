"""Calls of methods of builtin types, activities and workflows.

PYTEST_DONT_REWRITE
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ..syntax import Node
from . import _builtins as b
from ._base import INSENSITIVE, Arg
from ._events import IDENTITY
from ._modules import MUTATORS
from ._symbols import continue_as_new
from ._values import (
    INT,
    NONE,
    STR,
    UNKNOWN,
    Type,
    Value,
    elements_of,
    join,
    of,
    tainted,
)

if TYPE_CHECKING:
    from ._calls import Calls

_FUTURE_METHODS: Final = frozenset(
    {"cancel", "done", "cancelled", "add_done_callback", "exception"}
)


def call_method(
    frame: Calls, owner: Type, name: str, callee: Value, arguments: list[Arg], node: Node
) -> Value:
    """What ``owner.name(arguments)`` gives."""
    tag = owner[0]
    receiver = node[3][3] if node[0] == "call" and node[3][0] == "attr" else None
    sources = tuple(dict.fromkeys(n for a in arguments for n in a.value.sources))
    if tag in ("act", "wf", "opt"):
        return _command_method(frame, owner, name, arguments, node)
    if name in MUTATORS and receiver is not None:
        frame.mutated(node, receiver, name)
        if name in b.ADDERS:
            _add(frame, receiver, name, arguments)
    if tag == "set":
        return _set_method(frame, name, callee, arguments, node)
    if tag in ("dict", "odict"):
        return tainted(_dict_method(tag, name, callee, arguments), sources)
    if tag == "list":
        if name == "sort" and receiver is not None:
            _sorted_in_place(frame, receiver, callee)
            frame_check_key(frame, arguments, node)
        if name in ("pop", "popleft"):
            return callee.element or UNKNOWN
        if name == "copy":
            return Value((("list",),), callee.sources, callee.element, callee.order)
        return INT if name in ("index", "count") else UNKNOWN
    if tag in ("str", "lit"):
        for argument in arguments:
            if name in ("format", "join") and argument.node is not None:
                if name == "join":
                    frame.iterate(argument.node, argument.value, "WFL102", "text")
                else:
                    frame.into_text(argument.value, argument.node)
        if name in ("split", "rsplit", "splitlines"):
            return Value((("list",),), sources, STR)
        if name in b.STR_METHODS:
            return Value((("str",),), sources)
        return Value((), sources)
    if tag in ("coro", "cmd"):
        if name == "result":
            inner: Value = owner[1]
            return inner
        if name in _FUTURE_METHODS:
            if name == "add_done_callback":
                for argument in arguments:
                    frame.call_back(argument.value, node)
            return UNKNOWN
        return UNKNOWN
    if tag in ("fn", "bound"):
        return UNKNOWN
    return Value((), sources)


def _command_method(
    frame: Calls, owner: Type, name: str, arguments: list[Arg], node: Node
) -> Value:
    """``activity.options(...)`` and what else can be done with an activity or a workflow."""
    if name == "options":
        for argument in arguments:
            if argument.keyword in ("id", "queue", "start_delay", "version", "cron"):
                frame.sink(argument.value, IDENTITY)
        return of("opt", owner)
    if name == "continue_as_new":
        return continue_as_new(frame, name, arguments, node)
    if name in ("bind", "run", "start"):
        return frame.call_command(owner, arguments, node)
    for argument in arguments:
        frame.call_back(argument.value, node)
    return UNKNOWN


def _set_method(frame: Calls, name: str, callee: Value, arguments: list[Arg], node: Node) -> Value:
    if name == "pop":
        if frame.relaxed is None:
            frame.emit("WFL103", node[1], node[2], frame.shown(node[3][3]))
        return callee.element or UNKNOWN
    if name in b.SET_METHODS:
        element = callee.element
        for argument in arguments:
            if name == "union":
                element = join(element or UNKNOWN, elements_of(argument.value))
        return Value((("set",),), callee.sources, element)
    return NONE if name in MUTATORS else UNKNOWN


def _dict_method(tag: str, name: str, callee: Value, arguments: list[Arg]) -> Value:
    view = "view" if tag == "dict" else "oview"
    if name in ("keys", "values", "items"):
        element = callee.element
        if name == "items":
            element = of("tup", (UNKNOWN, callee.element or UNKNOWN))
        elif name == "keys":
            element = None
        return Value(((view,),), callee.sources, element, callee.order)
    if name in ("get", "pop", "setdefault"):
        found = callee.element or UNKNOWN
        return join(found, arguments[1].value) if len(arguments) > 1 else found
    if name == "copy":
        return Value(((tag,),), callee.sources, callee.element, callee.order)
    if name == "popitem":
        return of("tup", (UNKNOWN, callee.element or UNKNOWN))
    return UNKNOWN


def _add(frame: Calls, receiver: Node, name: str, arguments: list[Arg]) -> None:
    """What is put into a container becomes a part of what its variable holds."""
    if receiver[0] != "name" or not arguments:
        return
    old = frame.env.get(receiver[3])
    if old is None:
        return
    last = arguments[-1].value
    if name in ("extend", "update", "extendleft"):
        added = elements_of(last)
        order = last.order
    else:
        added, order = last, ()
    new = old._replace(element=join(old.element or UNKNOWN, added.anonymous))
    new = tainted(new, last.sources, () if old.has("set") else order)
    if new != old:
        frame.assign_local(receiver[3], new)


def _sorted_in_place(frame: Calls, receiver: Node, callee: Value) -> None:
    """``x = list(a_set); x.sort()`` is as good as ``sorted(a_set)``."""
    for number in callee.order:
        frame.program.sources[number].is_sorted = True
    if receiver[0] == "name" and receiver[3] in frame.env:
        frame.assign_local(receiver[3], frame.env[receiver[3]]._replace(order=()))


def frame_check_key(frame: Calls, arguments: list[Arg], node: Node) -> None:
    """A sort key that differs from run to run."""
    for argument in arguments:
        if argument.keyword != "key" or argument.node is None:
            continue
        check_key(frame, argument, node)


_UNSTABLE: Final = {"builtins.id": "id", "builtins.hash": "hash", "random.random": "random.random"}


def check_key(frame: Calls, key: Arg, node: Node) -> None:
    """Whether ``key=`` gives the same at each replay."""
    at = key.node or node
    for kind in key.value.types:
        if kind[0] == "ext" and kind[1] in _UNSTABLE:
            frame.emit("WFL109", at[1], at[2], _UNSTABLE[kind[1]])
        elif kind[0] == "ext" and kind[1] in ("builtins.repr", "builtins.str"):
            continue
        elif kind[0] in ("fn", "bound"):
            value = frame.call_value(Value((kind,)), [Arg("", None, None, UNKNOWN)], at)
            if value.sources:
                source = frame.program.sources[value.sources[0]]
                frame.emit("WFL109", at[1], at[2], source.symbol)


__all__ = ["INSENSITIVE", "call_method", "check_key"]
