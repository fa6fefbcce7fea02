"""Where analysis begins: workflows, by their decorators, their registration or their parameters.

PYTEST_DONT_REWRITE
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from ..adapters import Adapter, Symbol
from ..syntax import Node
from ._expressions import functions_of
from ._frame import Frame
from ._modules import Class, Function, Module, each_statement, walk

if TYPE_CHECKING:
    from ._program import Program


def find_roots(program: Program, module: Module) -> None:
    """Adds what a module defines or registers."""
    _in_block(program, module, module.tree.body, None, "")
    _registered(program, module)


def _in_block(
    program: Program, module: Module, body: tuple[Node, ...], parent: Function | None, prefix: str
) -> None:
    for statement in each_statement(body):
        if statement[0] == "def":
            name = f"{prefix}{statement[3][0]}"
            function = module.function(statement[3], name, None, parent)
            _function(program, function)
            _in_block(program, module, function.fn.body, function, f"{name}.")
        elif statement[0] == "class":
            cls = module.class_(statement[3], f"{prefix}{statement[3][0]}", parent)
            _class(program, module, cls, parent)


def _symbols(program: Program, function: Function) -> list[Symbol]:
    if not function.fn.decorators:
        return []
    frame = Frame.for_module(program, function.module, function.parent)
    return frame.decorators(function)


def _function(program: Program, function: Function) -> None:
    for symbol in _symbols(program, function):
        if symbol.role == "workflow":
            program.add_root(function, symbol.adapter, function.qualname, "workflow")
        elif symbol.role == "activity":
            _activity(program, function, symbol.adapter)
    if function.params and function.owner is None:
        adapter = _by_parameter(program, function)
        if adapter is not None:
            program.add_root(function, adapter, function.qualname, "workflow")


def _activity(program: Program, function: Function, adapter: Adapter) -> None:
    program.activities[function.label] = (function, adapter)
    program.add_root(function, adapter, function.qualname, "activity")


def _by_parameter(program: Program, function: Function) -> Adapter | None:
    first = function.params[0]
    if first.annotation is None:
        return None
    frame = Frame.for_module(program, function.module, function.parent)
    for kind in frame.annotation(first.annotation).types:
        if kind[0] == "xinst":
            adapter = program.adapters.context_type(kind[1])
            if adapter is not None:
                return adapter
    return None


def _class(program: Program, module: Module, cls: Class, parent: Function | None) -> None:
    frame = Frame.for_module(program, module, parent)
    adapter: Adapter | None = None
    for node in cls.cls.decorators:
        while node[0] == "call":
            node = node[3]
        for kind in frame.eval(node).types:
            symbol = program.adapters.symbol(kind[1]) if kind[0] == "ext" else None
            if symbol is not None and symbol.role == "workflow-class":
                adapter = symbol.adapter
    for owner, function in _methods(program, cls):
        role = "method"
        symbols = _symbols(program, function)
        for symbol in symbols:
            if symbol.role == "handler":
                role = symbol.kind
        roles = {symbol.role for symbol in symbols}
        if "activity" in roles:
            _activity(program, function, symbols[0].adapter)
        elif "workflow" in roles:
            name = f"{cls.qualname}.{function.fn.name}"
            program.add_root(function, symbols[0].adapter, name, "workflow")
        elif adapter is not None and (owner is cls or role != "method"):
            name = f"{cls.qualname}.{function.fn.name}"
            program.add_root(function, adapter, name, role)
    for statement in each_statement(cls.cls.body):
        if statement[0] == "def":
            name = f"{cls.qualname}.{statement[3][0]}"
            method = module.function(statement[3], name, cls, parent)
            _in_block(program, module, method.fn.body, method, f"{name}.")
        elif statement[0] == "class":
            inner = module.class_(statement[3], f"{cls.qualname}.{statement[3][0]}", parent)
            _class(program, module, inner, parent)


def _methods(program: Program, cls: Class) -> Iterator[tuple[Class, Function]]:
    """Methods of a class and of the project's classes that it inherits from."""
    seen: set[str] = set()
    for owner in program.mro(cls) if cls.cls.decorators else (cls,):
        if isinstance(owner, str):
            continue
        for statement in each_statement(owner.cls.body):
            if statement[0] != "def" or statement[3][0] in seen:
                continue
            seen.add(statement[3][0])
            name = f"{owner.qualname}.{statement[3][0]}"
            yield owner, owner.module.function(statement[3], name, owner, owner.parent)


def _registered(program: Program, module: Module) -> None:
    """Calls like ``worker.add_orchestrator(function)``."""
    names = {
        name.rpartition(".")[2]: symbol
        for adapter in program.adapters.all
        for name, symbol in adapter.symbols.items()
        if symbol.role in ("register", "register-activity") and _uses(module, adapter)
    }
    if not names:
        return
    frame = Frame.for_module(program, module)
    for node in walk(module.tree.body):
        if node[0] != "call" or node[3][0] not in ("attr", "name"):
            continue
        last = node[3][4] if node[3][0] == "attr" else node[3][3]
        symbol = names.get(last)
        if symbol is None:
            continue
        place = symbol.callee or 0
        given = [value for star, keyword, value in node[4] if not star and keyword is None]
        if place < len(given):
            for function in functions_of(frame.eval(given[place])):
                if symbol.role == "register":
                    program.add_root(function, symbol.adapter, function.qualname, "workflow")
                else:
                    _activity(program, function, symbol.adapter)


def _uses(module: Module, adapter: Adapter) -> bool:
    return any(name.partition(".")[0] in module.text for name in adapter.imports)
