"""Calls: whom they reach, and what comes of it.

PYTEST_DONT_REWRITE
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from ..adapters import Symbol
from ..effects import VALUE_CODES, Effect
from ..syntax import Node
from . import _builtins as b
from ._base import INSENSITIVE, LOGGED, Arg
from ._commands import Commands
from ._events import ESCAPE, LOG, Fix
from ._expressions import functions_of
from ._modules import Class, Function
from ._shapes import looks_like_logging
from ._values import (
    UNKNOWN,
    Type,
    Value,
    elements_of,
    join,
    of,
    tainted,
)

if TYPE_CHECKING:
    from ._program import Context

_NOWHERE: Final[Node] = ("const", 0, 0, "none", None)


class Calls(Commands):
    """Calls of whatever."""

    # --- calls

    def call(self, node: Node) -> Value:
        """A call expression."""
        callee = self.eval_strict(node[3])
        relaxed = self._relaxed_for(callee, node)
        arguments: list[Arg] = []
        for star, keyword, value_node in node[4]:
            value = self._argument(star, value_node, relaxed, callee)
            arguments.append(Arg(star, keyword, value_node, value))
        return self.call_value(callee, arguments, node)

    def _argument(self, star: str, node: Node, relaxed: str | None, callee: Value) -> Value:
        before, self.relaxed = self.relaxed, relaxed
        try:
            if star == "*":
                return self.iterated(node, "WFL102", "positional arguments")
            return self.eval(node)
        finally:
            self.relaxed = before

    def _relaxed_for(self, callee: Value, node: Node) -> str | None:
        """Whether the callee cares for the order of what it gets."""
        outer = LOGGED if self.relaxed == LOGGED else None
        for kind in callee.types:
            if kind[0] == "ext":
                name = kind[1]
                short = name.removeprefix("builtins.")
                if short in b.RELAXED or name in b.RELAXED_CALLS:
                    return outer or INSENSITIVE
                if short in b.RELAXED_UNLESS_KEYED:
                    keyed = any(keyword == "key" for _, keyword, _ in node[4])
                    return outer if keyed else outer or INSENSITIVE
                if short in ("list", "tuple", "iter") and self.relaxed == INSENSITIVE:
                    return INSENSITIVE
                if self.program.effects.is_log(name) or self.program.adapters.is_logger(name):
                    return LOGGED
            elif kind[0] == "method":
                if kind[1][0] in ("set", "view", "oview") and kind[2] in b.SET_CONSUMERS:
                    return INSENSITIVE
            elif kind[0] == "xinst" and self.program.effects.is_log(kind[1]):
                return LOGGED
        if not callee.types and looks_like_logging(node[3]):
            return LOGGED
        return outer

    def call_value(self, callee: Value, arguments: list[Arg], node: Node | None) -> Value:
        """Calls whatever a value may be."""
        at = _NOWHERE if node is None else node
        if not callee.types:
            return self._unknown_call(callee, arguments, at)
        found = UNKNOWN
        for kind in callee.types:
            found = join(found, self.call_type(kind, callee, arguments, at))
        return tainted(found, callee.sources)

    def call_type(self, kind: Type, callee: Value, arguments: list[Arg], node: Node) -> Value:
        """Calls one of the things that a value may be."""
        tag = kind[0]
        if tag in ("fn", "bound"):
            given = arguments
            if tag == "bound":
                given = [Arg("", None, None, Value((kind[2],))), *arguments]
            return self.call_function(kind[1], given, node)
        if tag == "cls":
            return self.construct(kind[1], arguments, node)
        if tag == "ext":
            return self.call_external(kind[1], arguments, node)
        if tag in ("act", "wf", "opt"):
            return self.call_command(kind, arguments, node)
        if tag == "method":
            return self.call_method(kind[1], kind[2], callee, arguments, node)
        if tag == "partial":
            given = [Arg("", None, None, value) for value in kind[2]]
            return self.call_type(kind[1], callee, given + arguments, node)
        if tag == "cached":
            return self._cached(kind[1], callee, arguments, node)
        if tag in ("inst", "xinst"):
            if tag == "xinst":
                return self.call_external(f"{kind[1]}.__call__", arguments, node)
            method = self.attribute(Value((kind,)), "__call__", None)
            if method.types:
                return self.call_value(method, arguments, node)
        return self._unknown_call(UNKNOWN, arguments, node)

    def _cached(self, kind: Type, callee: Value, arguments: list[Arg], node: Node) -> Value:
        value = self.call_type(kind, callee, arguments, node)
        for function in functions_of(Value((kind,))):
            context = self.run_function(function, arguments, node)
            mutable = value.has("list", "dict", "odict", "set", "inst")
            if context is not None and (context.events or context.sources or mutable):
                self.emit("WFL506", node[1], node[2], function.qualname)
        return value

    def _unknown_call(self, callee: Value, arguments: list[Arg], node: Node) -> Value:
        """A call of something that is not known: what it gets may come back, or call back."""
        sources = callee.sources
        for argument in arguments:
            if self.relaxed == LOGGED or (node[0] == "call" and looks_like_logging(node[3])):
                self.sink(argument.value, LOG)
            else:
                self.sink(argument.value, ESCAPE)
            sources += argument.value.sources
            self.call_back(argument.value, node)
        if self.reports and node[0] == "call":
            self.emit("WFL004", node[1], node[2], self.shown(node[3]))
            if looks_like_logging(node[3]):
                self.emit("WFL306", node[1], node[2], self.shown(node[3]))
        return Value((), tuple(dict.fromkeys(sources)))

    def call_back(self, value: Value, node: Node) -> None:
        """A function that was handed to somebody, who will call it with who knows what."""
        for kind in value.types:
            if kind[0] in ("fn", "bound"):
                given = [Arg("", None, None, Value((kind[2],)))] if kind[0] == "bound" else []
                self.run_function(kind[1], given, node)
            elif kind[0] == "partial" and kind[1][0] in ("fn", "bound"):
                self.call_type(kind, value, [], node)
            elif kind[0] == "ext" and self.reports:
                effect = self.program.effects.lookup(kind[1])
                if effect is not None and effect.code in VALUE_CODES and effect.code:
                    self.ambient(effect.code, node[1], node[2], kind[1], effect.hint)

    # --- the project's functions

    def call_function(self, function: Function, arguments: list[Arg], node: Node) -> Value:
        """Calls a function of the project."""
        context = self.run_function(function, arguments, node)
        if context is None:
            return UNKNOWN
        if self.context is not None:
            self.commands_at[node[1]] = context.commands
            if context.commands:
                self.count_commands(context.commands)
            self.context.suspends = self.context.suspends or context.suspends
            self.context.continues = self.context.continues or context.continues
        result = context.result
        if function.fn.returns is not None and not result.types:
            frame = self.for_module(self.program, function.module, function.parent)
            result = join(result, frame.annotation(function.fn.returns))
        if function.fn.is_generator:
            cell = self.program.cell("yield", function.label)
            element = self.program.read(cell, self.context)
            adapter = self.adapter
            if adapter is not None and adapter.style == "generator":
                return of("coro", result)
            return Value((("iter",),), (), element or result.element, result.order)
        if function.fn.is_async:
            return of("coro", result)
        return result

    def run_function(
        self, function: Function, arguments: list[Arg], node: Node | None
    ) -> Context | None:
        """The context of a call, looked at, with an edge to it."""
        from ._program import Edge

        caller = self.context
        if caller is None:
            return self._run_silently(function, arguments)
        if caller.mode in ("side", "activity") and function.module is not self.module:
            return None
        bound = self.bind_arguments(function, arguments)
        context = self.program.context(function, bound, caller.mode, caller.adapter)
        self.program.enter(context, caller)
        start, end = (0, 0) if node is None else (node[1], node[2])
        key = (start, id(context))
        if key not in caller.edges:
            caller.edges[key] = Edge(context, start, end, function.qualname, quiet=self.quiet > 0)
        return context

    def _run_silently(self, function: Function, arguments: list[Arg]) -> Context | None:
        """A call while a module is loaded: only its value matters."""
        bound = self.bind_arguments(function, arguments)
        adapter = self.program.adapters.none
        context = self.program.context(function, bound, "load", adapter)
        self.program.enter(context, None)
        for number in context.sources:
            self.silent_sources[number] = None
        return context

    def bind_arguments(self, function: Function, arguments: Sequence[Arg]) -> tuple[Value, ...]:
        """The values of a function's parameters, one for each of them."""
        values: dict[str, Value] = {}
        positional = [p for p in function.params if p.kind in ("pos", "any")]
        rest = next((p for p in function.params if p.kind == "*"), None)
        more = next((p for p in function.params if p.kind == "**"), None)
        names = {p.name for p in function.params if p.kind in ("any", "kw")}
        place = 0
        for argument in arguments:
            if argument.star == "*":
                for kind in argument.value.types:
                    if kind[0] == "tup":
                        for one in kind[1]:
                            if place < len(positional):
                                values[positional[place].name] = one
                                place += 1
                        break
                else:
                    element = elements_of(argument.value)
                    for param in positional[place:]:
                        values[param.name] = join(values.get(param.name, UNKNOWN), element)
            elif argument.star == "**":
                element = argument.value.element or UNKNOWN
                for param in function.params:
                    if param.kind in ("any", "kw") and param.name not in values:
                        values[param.name] = tainted(element, argument.value.sources)
            elif argument.keyword is not None:
                name = argument.keyword
                if name in names:
                    values[name] = argument.value
                elif more is not None:
                    old = values.get(more.name, UNKNOWN)
                    values[more.name] = join(
                        old, Value((("odict",),), argument.value.sources, argument.value)
                    )
            elif place < len(positional):
                values[positional[place].name] = argument.value
                place += 1
            elif rest is not None:
                old = values.get(rest.name, UNKNOWN)
                values[rest.name] = join(
                    old, Value((("tuple",),), argument.value.sources, argument.value)
                )
        return tuple(values.get(p.name, _ABSENT) for p in function.params)

    # --- classes

    def construct(self, cls: Class, arguments: list[Arg], node: Node) -> Value:
        """Makes an object."""
        instance = self.instance(cls)
        receiver = Arg("", None, None, instance)
        given = {argument.keyword for argument in arguments if argument.keyword}
        has_init = False
        for name in ("__new__", "__init__", "__post_init__"):
            where, statements = self.program.member(cls, name)
            if where is None or isinstance(where, str):
                continue
            for statement in statements:
                if statement[0] == "def":
                    has_init = has_init or name == "__init__"
                    function = where.module.function(
                        statement[3], f"{where.qualname}.{name}", where, where.parent
                    )
                    own = arguments if name != "__post_init__" else []
                    self.call_function(function, [receiver, *own], node)
        sources: tuple[int, ...] = ()
        if not has_init:
            sources = self._factories(cls, arguments, given, node)
            for argument in arguments:
                sources += argument.value.sources
            self._fill_fields(cls, arguments)
        return tainted(instance, tuple(dict.fromkeys(sources)))

    def _fields(self, cls: Class) -> list[tuple[Class, Node]]:
        """Annotated fields, those of base classes first."""
        found: list[tuple[Class, Node]] = []
        for one in reversed(self.program.mro(cls)):
            if not isinstance(one, str):
                found += [(one, s) for s in one.cls.body if s[0] == "ann" and s[3][0] == "name"]
        return found

    def _fill_fields(self, cls: Class, arguments: list[Arg]) -> None:
        """What a dataclass's fields hold."""
        fields = self._fields(cls)
        for place, argument in enumerate(arguments):
            name = argument.keyword
            if name is None and not argument.star and place < len(fields):
                name = fields[place][1][3][3]
            if name is not None and (argument.value.types or argument.value.sources):
                cell = self.program.cell("attr", cls.module.name, cls.cls.start, name)
                self.program.write(cell, argument.value.anonymous)

    def _factories(
        self, cls: Class, arguments: list[Arg], given: set[str], node: Node
    ) -> tuple[int, ...]:
        """Defaults that are made anew for each object, of ambient inputs."""
        if self.context is None:
            return ()
        positional = sum(1 for a in arguments if not a.keyword and not a.star)
        if any(argument.star for argument in arguments):
            return ()
        found: tuple[int, ...] = ()
        for place, (owner, statement) in enumerate(self._fields(cls)):
            name, default = statement[3][3], statement[5]
            if name in given or place < positional or default is None or default[0] != "call":
                continue
            frame: Calls = self.for_module(self.program, owner.module, owner.parent)
            maker = frame.eval(default[3])
            names = {kind[1] for kind in maker.types if kind[0] == "ext"}
            if not any(one.rpartition(".")[2] in _FIELD_MAKERS for one in names):
                continue
            for _, keyword, value_node in default[4]:
                if keyword in ("default_factory", "factory"):
                    frame.silent_sources = {}
                    factory = frame.eval(value_node)
                    frame.call_value(factory, [], default)
                    for number in frame.silent_sources:
                        source = self.program.sources[number]
                        if source.code in _FACTORY_CODES:
                            shown = f"{cls.cls.name}.{name}"
                            found += self.ambient("WFL215", node[1], node[2], shown, source.symbol)
        return found

    # --- symbols of frameworks

    def call_symbol(
        self, symbol: Symbol, name: str, arguments: list[Arg], node: Node
    ) -> Value | None:
        """A call of something that an adapter knows; ``None``: treat it like anything else."""
        from ._symbols import call_symbol

        return call_symbol(self, symbol, name, arguments, node)

    # --- names outside of the project

    def call_external(self, name: str, arguments: list[Arg], node: Node) -> Value:
        """Calls something outside of the project."""
        symbol = self.program.adapters.symbol(name)
        if symbol is not None:
            found = self.call_symbol(symbol, name, arguments, node)
            if found is not None:
                return found
        if self.program.adapters.is_logger(name):
            for argument in arguments:
                self.sink(argument.value, LOG)
            return UNKNOWN
        if self.program.adapters.is_opaque(name):
            for argument in arguments:
                self.sink(argument.value, ESCAPE)
                self.call_back(argument.value, node)
            return tainted(self._result(None, name, arguments), _sources(arguments))
        if name.startswith("builtins."):
            from ._builtin_calls import call_builtin

            found = call_builtin(self, name[9:], arguments, node)
            if found is not None:
                return found
        from ._library import call_library

        found = call_library(self, name, arguments, node)
        if found is not None:
            return found
        return self.call_effect(name, arguments, node)

    def call_effect(self, name: str, arguments: list[Arg], node: Node) -> Value:
        """A call of which only the table of effects knows something."""
        effect = self.program.effects.lookup(name)
        if effect is None:
            for argument in arguments:
                self.call_back(argument.value, node)
                self.sink(argument.value, LOG if self.relaxed == LOGGED else ESCAPE)
            return tainted(self._result(None, name, arguments), _sources(arguments))
        effect = effect.chosen(arguments)
        if not effect.code:
            for argument in arguments:
                self.call_back(argument.value, node)
            return tainted(self._result(effect, name, arguments), _sources(arguments))
        return self.effect_found(effect, name, arguments, node)

    def effect_found(self, effect: Effect, name: str, arguments: list[Arg], node: Node) -> Value:
        """A call that has an effect."""
        start, end = node[1], node[2]
        result = self._result(effect, name, arguments)
        is_log = self.program.effects.is_log(name)
        for argument in arguments:
            self.sink(argument.value, LOG if is_log else ESCAPE)
            if not is_log:
                self.call_back(argument.value, node)
        if not effect.code:
            return tainted(result, _sources(arguments))
        fix = self.replacement(effect, name, arguments, node)
        if effect.code in VALUE_CODES:
            numbers = self.ambient(effect.code, start, end, name, effect.hint, fix)
            return tainted(result, _sources(arguments) + numbers)
        if self.mode == "predicate":
            self.emit("WFL608", start, end, name, "has an effect")
        if not (effect.code == "WFL306" and self._is_safe_logger(name)):
            self.emit(effect.code, start, end, name, effect.hint, fix=fix)
        return tainted(result, _sources(arguments))

    def _is_safe_logger(self, name: str) -> bool:
        return name.rpartition(".")[0] in self.program.replay_safe_loggers

    def _result(self, effect: Effect | None, name: str, arguments: list[Arg]) -> Value:
        if effect is not None:
            found = effect.result()
            if found is not None:
                return found
        last = name.rpartition(".")[2]
        if last[:1].isupper() and not last.isupper():
            return of("xinst", name)
        return UNKNOWN

    def replacement(
        self, effect: Effect, name: str, arguments: list[Arg], node: Node
    ) -> Fix | None:
        """What the framework offers instead, if it can stand in the very same place."""
        adapter = self.adapter
        if adapter is None or node[0] != "call":
            return None
        found = adapter.fixes.get(name) or adapter.fixes.get(f"{name.partition('.')[0]}.*")
        if found is None or (found.startswith("await ") and not self._is_async()):
            return None
        from ..fix.replacements import replacement

        return replacement(self.module.text, found, name, node, arguments)

    def _is_async(self) -> bool:
        return self.function is not None and self.function.fn.is_async

    # --- methods of builtin types

    def call_method(
        self, owner: Type, name: str, callee: Value, arguments: list[Arg], node: Node
    ) -> Value:
        """Calls a method of a builtin type, an activity or a workflow."""
        from ._methods import call_method

        return call_method(self, owner, name, callee, arguments, node)

    def mutated(self, node: Node, owner_node: Node, name: str) -> None:
        """A container was changed; who may see that?"""
        from ._mutations import check_mutation

        check_mutation(self, node, owner_node, name)


def _sources(arguments: Sequence[Arg]) -> tuple[int, ...]:
    return tuple(dict.fromkeys(n for a in arguments for n in a.value.sources))


_ABSENT: Final = Value((("absent",),))
"""Of a parameter for which nothing was given: it has its default."""

_FIELD_MAKERS: Final = frozenset({"field", "Field", "ib", "attrib", "PrivateAttr"})
_FACTORY_CODES: Final = frozenset(
    {"WFL201", "WFL202", "WFL211", "WFL212", "WFL213", "WFL214", "WFL221", "WFL222"}
)
__all__ = ["Calls"]
