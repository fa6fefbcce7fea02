"""Calls of what frameworks offer.

PYTEST_DONT_REWRITE
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..adapters import Symbol
from ..syntax import Node
from ._base import Arg
from ._events import IDENTITY, PAYLOAD
from ._expressions import functions_of
from ._modules import Function
from ._values import UNKNOWN, Value, elements_of, join, of

if TYPE_CHECKING:
    from ._calls import Calls

_API: frozenset[str] = frozenset({"command", "wait", "value", "random", "continue", "patched"})


def call_symbol(
    frame: Calls, symbol: Symbol, name: str, arguments: list[Arg], node: Node
) -> Value | None:
    """What the call gives; ``None``: treat it like anything else."""
    role = symbol.role
    if role == "register":
        return _register(frame, symbol, arguments)
    if role == "register-activity":
        for argument in arguments:
            for function in functions_of(argument.value):
                frame.program.activities[function.label] = (function, symbol.adapter)
        return UNKNOWN
    if role in ("workflow", "activity"):
        return _decorate(frame, symbol, name, arguments, node)
    if role == "handler":
        return _handler(frame, symbol, name, arguments, node)
    if frame.context is None:
        return _value_of(frame, symbol, name, arguments)
    if role in _API and not frame.reports:
        frame.emit_misplaced(node, name)
    if role == "command":
        return _command(frame, symbol, name, arguments, node)
    if role in ("callback", "wait"):
        return _callback(frame, symbol, name, arguments, node)
    if role == "continue":
        return continue_as_new(frame, name, arguments, node)
    if role == "patched":
        _patched(frame, name, arguments, node)
        return of("bool")
    if role == "replaying":
        return of("replaying", True)
    if role == "inside":
        return of("inside", True)
    if role == "random":
        if frame.mode in ("query", "validator"):
            frame.emit("WFL609", node[1], node[2], name, "draws from the workflow's generator")
        if not arguments:
            frame.drawn(node, name)
        return of("xinst", symbol.returns) if symbol.returns else UNKNOWN
    if role == "bypass":
        frame.emit("WFL619", node[1], node[2], name)
        return UNKNOWN
    if role == "combine":
        return _combine(frame, arguments)
    if role == "same":
        return UNKNOWN
    return _value_of(frame, symbol, name, arguments)


def _value_of(frame: Calls, symbol: Symbol, name: str, arguments: list[Arg]) -> Value:
    if symbol.returns:
        if symbol.returns in ("list", "str", "int", "float", "dict", "odict"):
            return of(symbol.returns)
        return of("xinst", symbol.returns)
    last = name.rpartition(".")[2]
    return of("xinst", name) if last[:1].isupper() else UNKNOWN


def _register(frame: Calls, symbol: Symbol, arguments: list[Arg]) -> Value:
    """A call like ``add_orchestrator(function)``."""
    place = symbol.callee or 0
    if place < len(arguments):
        for function in functions_of(arguments[place].value):
            add_workflow(frame, function, symbol)
            return arguments[place].value
    return UNKNOWN


def add_workflow(frame: Calls, function: Function, symbol: Symbol) -> None:
    """A function is a workflow."""
    frame.program.add_root(function, symbol.adapter, function.qualname, "workflow")


def _decorate(frame: Calls, symbol: Symbol, name: str, arguments: list[Arg], node: Node) -> Value:
    """A decorator is applied, or made first (``@activity(retries=3)``)."""
    given = [a for a in arguments if a.keyword is None]
    functions = functions_of(given[0].value) if given else []
    if not functions:
        return of("ext", name)
    tag = "act" if symbol.role == "activity" else "wf"
    function = functions[0]
    if symbol.role == "activity":
        frame.program.activities[function.label] = (function, symbol.adapter)
    elif frame.context is not None and function.parent is not None and frame.reports:
        frame.emit("WFL618", node[1], node[2], function.fn.name, "is made inside of a function")
    return of(tag, function)


def _handler(frame: Calls, symbol: Symbol, name: str, arguments: list[Arg], node: Node) -> Value:
    """A function that the framework calls when a message comes."""
    functions = functions_of(arguments[0].value) if arguments else []
    if not functions:
        return of("ext", name)
    function = functions[0]
    if frame.context is not None and frame.reports:
        kind = symbol.kind
        mode = kind if kind in ("query", "validator") else "workflow"
        run_as(frame, function, mode, node)
        if mode != "workflow" and function.fn.is_async:
            frame.emit("WFL609", function.fn.start, function.fn.end, function.fn.name, "is async")
    return arguments[0].value


def run_as(frame: Calls, function: Function, mode: str, node: Node) -> None:
    """Looks at a function as a certain kind of code."""
    from ._program import Edge

    caller = frame.context
    if caller is None:
        return
    bound = frame.bind_arguments(function, [])
    if function.owner is not None and function.params and bound:
        bound = (Value((("inst", function.owner),)), *bound[1:])
    context = frame.program.context(function, bound, mode, caller.adapter)
    frame.program.enter(context, caller)
    key = (node[1], id(context))
    caller.edges.setdefault(
        key, Edge(context, node[1], node[2], function.qualname, quiet=frame.quiet > 0)
    )


def _chosen(arguments: list[Arg], which: tuple[int | str, ...]) -> list[Arg]:
    found: list[Arg] = []
    place = 0
    for argument in arguments:
        if argument.keyword is not None:
            if argument.keyword in which:
                found.append(argument)
            continue
        if place in which:
            found.append(argument)
        place += 1
    return found


def _command(frame: Calls, symbol: Symbol, name: str, arguments: list[Arg], node: Node) -> Value:
    """A call that is recorded."""
    frame.command_issued(node, name)
    if symbol.needs and not any(a.star or a.keyword in symbol.needs for a in arguments):
        frame.emit("WFL616", node[1], node[2], name, " or ".join(symbol.needs))
    identity = _chosen(arguments, symbol.identity)
    callees: list[Arg] = []
    if symbol.callee is not None:
        callees = _chosen(arguments, (symbol.callee,))
    callbacks = _chosen(arguments, symbol.callback)
    for argument in arguments:
        if argument in callees or argument in callbacks:
            continue
        if argument in identity:
            frame.sink(argument.value, IDENTITY)
        elif argument.keyword is None or argument.keyword not in symbol.options:
            frame.sink(argument.value, PAYLOAD)
            if argument.keyword in (None, "arg", "args", "input"):
                frame.payload(argument)
    returns = UNKNOWN
    for callee in callees:
        frame.sink(callee.value, IDENTITY)
        for function in functions_of(callee.value):
            if function.fn.returns is not None:
                other = frame.for_module(frame.program, function.module, function.parent)
                returns = join(returns, other.annotation(function.fn.returns))
    for callback in callbacks:
        run_callback(frame, callback, symbol.runs, node)
    if frame.context is not None:
        frame.context.suspends = True
    if symbol.returns == "none":
        return UNKNOWN
    if symbol.adapter.style == "sync":
        return returns
    return of("cmd", returns)


def run_callback(frame: Calls, callback: Arg, runs: str, node: Node) -> Value:
    """A function that the framework calls."""
    found = UNKNOWN
    at = callback.node or node
    for kind in callback.value.types:
        if kind[0] in ("act", "wf", "opt") and runs == "workflow":
            frame.command_issued(at, frame.shown(at))
        elif kind[0] in ("fn", "bound", "act"):
            function: Function = kind[1]
            run_as(frame, function, runs, at)
            if function.fn.returns is not None:
                other = frame.for_module(frame.program, function.module, function.parent)
                found = join(found, other.annotation(function.fn.returns))
        elif kind[0] == "partial":
            found = join(
                found, run_callback(frame, callback._replace(value=Value((kind[1],))), runs, node)
            )
    return found


def _callback(frame: Calls, symbol: Symbol, name: str, arguments: list[Arg], node: Node) -> Value:
    chosen = _chosen(arguments, symbol.callback)
    found = UNKNOWN
    for argument in chosen:
        found = join(found, run_callback(frame, argument, symbol.runs, node))
    for argument in arguments:
        if argument not in chosen:
            frame.sink(argument.value, IDENTITY)
    if frame.context is not None:
        frame.context.suspends = True
    if symbol.role == "callback":
        frame.command_issued(node, name)
    if symbol.returns == "value" or symbol.adapter.style == "sync":
        return found
    return UNKNOWN if symbol.returns == "none" else of("cmd", found)


def continue_as_new(frame: Calls, name: str, arguments: list[Arg], node: Node) -> Value:
    """The run ends, and another one begins."""
    context = frame.context
    if context is not None:
        context.continues = True
    for argument in arguments:
        frame.sink(argument.value, PAYLOAD)
    where = getattr(frame, "within", ())
    if "finally" in where:
        frame.emit("WFL611", node[1], node[2], name, "stands in a `finally`")
    elif "caught" in where:
        frame.emit("WFL611", node[1], node[2], name, "is caught by the `except` around it")
    frame.alive = False
    return UNKNOWN


def _patched(frame: Calls, name: str, arguments: list[Arg], node: Node) -> None:
    if not arguments or arguments[0].node is None:
        return
    value, at = arguments[0].value, arguments[0].node
    if value.text is None:
        frame.emit("WFL612", at[1], at[2], frame.shown(at), "is not a literal")
    elif frame.loops and frame.reports:
        frame.emit("WFL612", node[1], node[2], frame.shown(at), "is asked for in a loop")
    elif frame.mode in ("query", "validator"):
        frame.emit("WFL612", node[1], node[2], frame.shown(at), "is asked for in a query")


def _combine(frame: Calls, arguments: list[Arg]) -> Value:
    inner = UNKNOWN
    for argument in arguments:
        value = argument.value
        both = (value, elements_of(value))
        for one in both:
            for kind in one.types:
                if kind[0] in ("coro", "cmd"):
                    inner = join(inner, kind[1])
    if frame.context is not None:
        frame.context.suspends = True
    return of("cmd", Value((("list",),), (), inner))
