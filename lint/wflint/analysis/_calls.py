"""Calls: whom they reach, and what comes of it.

PYTEST_DONT_REWRITE
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from ..adapters import Symbol
from ..effects import VALUE_CODES, Effect
from ..syntax import Node
from . import _builtins as b
from ._base import INSENSITIVE, LOGGED, Arg
from ._events import ESCAPE, LOG, PAYLOAD, Edit, Fix
from ._expressions import Expressions, functions_of
from ._modules import MUTATORS, Class, Function, each_statement
from ._values import (
    NONE,
    STR,
    UNKNOWN,
    Type,
    Value,
    elements_of,
    join,
    join_all,
    of,
    tainted,
)

if TYPE_CHECKING:
    from ._program import Context

_NOWHERE: Final[Node] = ("const", 0, 0, "none", None)

_HARMLESS_KINDS: Final = frozenset({"str", "lit", "int", "float", "bool", "none", "bytes"})


class Calls(Expressions):
    """Attributes and calls."""

    # --- attributes

    def attribute(self, owner: Value, name: str, node: Node | None) -> Value:
        """What an attribute of a value is."""
        found = UNKNOWN
        for kind in owner.types:
            found = join(found, self._attribute_of(kind, name, node, owner))
        return tainted(found, owner.sources)

    def _attribute_of(self, kind: Type, name: str, node: Node | None, owner: Value) -> Value:
        tag = kind[0]
        if tag == "mod":
            value = self.program.member_of_module(kind[1], name, self.context)
            if node is not None and len(value.types) == 1 and value.types[0][0] == "ext":
                return self.read_external(node, value)
            if node is not None and value.origin is not None and self.context is not None:
                return self.read_global(node, value)
            return value
        if tag in ("ext", "xinst"):
            full = f"{kind[1]}.{name}"
            if tag == "xinst":
                inherited = self.program.adapters.symbol(full)
                if inherited is not None and inherited.role == "same":
                    return Value((kind,))
            value = of("ext", full)
            return value if node is None else self.read_external(node, value)
        if tag in ("inst", "cls", "super"):
            return self._member(kind, name, node)
        if tag in ("act", "wf", "opt", "bound", "fn", "set", "list", "dict", "odict", "str", "lit"):
            return Value((("method", kind, name),), (), owner.element, owner.order)
        if tag in ("view", "oview", "iter", "tup", "tuple", "bytes", "coro", "cmd", "int", "float"):
            return Value((("method", kind, name),), (), owner.element, owner.order)
        return UNKNOWN

    def _member(self, kind: Type, name: str, node: Node | None) -> Value:
        cls: Class = kind[1]
        receiver = kind if kind[0] != "super" else kind[2]
        where, statements = self.program.member(cls, name, cls if kind[0] == "super" else None)
        found = UNKNOWN
        if isinstance(where, str):
            found = of("ext", f"{where}.{name}")
            for own in self.program.mro(cls):
                if own in ("builtins.dict", "builtins.set", "builtins.list"):
                    tag = own.removeprefix("builtins.")
                    found = Value((("method", (tag,), name),))
        for statement in statements:
            if not isinstance(where, Class):
                continue
            found = join(found, self._defined(where, statement, name, receiver, node))
        if receiver[0] == "inst":
            cell_value = self._from_cells(cls, name)
            if cell_value is not None:
                found = join(found, cell_value)
            elif not statements:
                found = join(found, self._from_constructor(cls, name))
        return found

    def _from_cells(self, cls: Class, name: str) -> Value | None:
        found: Value | None = None
        for one in self.program.mro(cls):
            if isinstance(one, str):
                continue
            cell = self.program.cell("attr", one.module.name, one.cls.start, name)
            value = self.program.read(cell, self.context)
            if value is not None:
                found = value if found is None else join(found, value)
        return found

    def _from_constructor(self, cls: Class, name: str) -> Value:
        """An attribute that `__init__` assigns, of an object that came from elsewhere."""
        key = (cls.module.name, cls.cls.start, name)
        known = self.program.assigned_in_init
        if key not in known:
            known[key] = UNKNOWN  # an attribute that is made of itself says no more
            known[key] = self._assigned_in_init(cls, name)
        return known[key]

    def _assigned_in_init(self, cls: Class, name: str) -> Value:
        where, statements = self.program.member(cls, "__init__")
        if where is None or isinstance(where, str):
            return UNKNOWN
        for statement in statements:
            if statement[0] != "def":
                continue
            function = where.module.function(
                statement[3], f"{where.qualname}.__init__", where, where.parent
            )
            first = function.params[0].name if function.params else "self"
            for inner in each_statement(function.fn.body):
                target, value = _assigned_to(inner, first, name)
                if target is not None:
                    frame = self.for_module(self.program, where.module, where.parent)
                    for param in function.params:
                        if param.annotation is not None:
                            frame.env[param.name] = frame.annotation(param.annotation)
                    found: Value = UNKNOWN
                    if inner[0] == "ann":
                        found = frame.annotation(inner[4])
                    elif value is not None:
                        found = frame.eval(value)
                    return found
        return UNKNOWN

    @classmethod
    def for_module(cls, program: Any, module: Any, parent: Function | None = None) -> Any:
        """A frame that only evaluates names; overridden."""
        raise NotImplementedError

    def _defined(
        self, where: Class, statement: Node, name: str, receiver: Type, node: Node | None
    ) -> Value:
        """What a statement in a class's body makes of a name, seen from an object."""
        tag = statement[0]
        if tag == "def":
            function = where.module.function(
                statement[3], f"{where.qualname}.{name}", where, where.parent
            )
            return self._method(function, receiver, node)
        if tag == "class":
            return of(
                "cls", where.module.class_(statement[3], f"{where.qualname}.{name}", where.parent)
            )
        frame = self.for_module(self.program, where.module, where.parent)
        known = self.program.assigned_in_class
        key = (where.module.name, statement[1], name)
        if key not in known:
            known[key] = UNKNOWN
            known[key] = frame.binding_value(statement, name)
        value = known[key]
        if _is_shared(statement) and self.reports and receiver[0] in ("inst", "cls"):
            value = value._replace(
                origin=(f"class:{where.module.name}", f"{where.qualname}.{name}")
            )
        if value.sources and self.context is not None and node is not None:
            first = self.program.sources[value.sources[0]]
            numbers = self.ambient("WFL224", node[1], node[2], name, first.symbol)
            value = value._replace(sources=numbers)
        return value

    def _method(self, function: Function, receiver: Type, node: Node | None) -> Value:
        decorated = self.decorators(function)
        for symbol in decorated:
            if symbol.role == "activity":
                return of("act", function)
        names = self.decorator_names(function)
        if names & _PROPERTIES:
            context = self._run(function, [Arg("", None, None, Value((receiver,)))], node)
            return UNKNOWN if context is None else context.result
        if "builtins.staticmethod" in names:
            return of("fn", function)
        if "builtins.classmethod" in names:
            return of("bound", function, ("cls", receiver[1]))
        if receiver[0] == "cls":
            return of("fn", function)
        types: list[Type] = [("bound", function, receiver)]
        if _is_abstract(function):
            others = self.program.overrides(receiver[1], function.fn.name)
            if 0 < len(others) <= 3:
                types = []
                for other in others:
                    for statement in other.members[function.fn.name]:
                        if statement[0] == "def":
                            qualname = f"{other.qualname}.{function.fn.name}"
                            method = other.module.function(statement[3], qualname, other, None)
                            types.append(("bound", method, ("inst", other)))
        if names & _CACHES:
            types = [("cached", kind) for kind in types]
        return Value(tuple(types))

    def decorator_names(self, function: Function) -> frozenset[str]:
        """Full names of what decorates a function."""
        frame = self.for_module(self.program, function.module, function.parent)
        names: set[str] = set()
        for node in function.fn.decorators:
            while node[0] == "call":
                node = node[3]
            names.update(kind[1] for kind in frame.eval(node).types if kind[0] == "ext")
        return frozenset(names)

    def decorators(self, function: Function) -> list[Symbol]:
        """What frameworks know of a function's decorators."""
        found: list[Symbol] = []
        if not function.fn.decorators:
            return found
        for name in sorted(self.decorator_names(function)):
            symbol = self.program.adapters.symbol(name)
            if symbol is not None:
                found.append(symbol)
        return found

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
        if not callee.types and node[3][0] == "attr" and self._looks_like_logging(node[3]):
            return LOGGED
        return outer

    def _looks_like_logging(self, node: Node) -> bool:
        if node[4] not in b.LOG_METHODS:
            return False
        owner = node[3]
        last = owner[3] if owner[0] == "name" else owner[4] if owner[0] == "attr" else ""
        return isinstance(last, str) and last.lower().strip("_") in ("log", "logger", "logging")

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
            context = self._run(function, arguments, node)
            mutable = value.has("list", "dict", "odict", "set", "inst")
            if context is not None and (context.events or context.sources or mutable):
                self.emit("WFL506", node[1], node[2], function.qualname)
        return value

    def _unknown_call(self, callee: Value, arguments: list[Arg], node: Node) -> Value:
        """A call of something that is not known: what it gets may come back, or call back."""
        sources = callee.sources
        for argument in arguments:
            if self.relaxed == LOGGED or (
                node[0] == "call" and node[3][0] == "attr" and self._looks_like_logging(node[3])
            ):
                self.sink(argument.value, LOG)
            else:
                self.sink(argument.value, ESCAPE)
            sources += argument.value.sources
            self.call_back(argument.value, node)
        if self.reports and node[0] == "call":
            self.emit("WFL004", node[1], node[2], self.shown(node[3]))
            if self._looks_like_logger_call(node):
                self.emit("WFL306", node[1], node[2], self.shown(node[3]))
        return Value((), tuple(dict.fromkeys(sources)))

    def _looks_like_logger_call(self, node: Node) -> bool:
        return node[3][0] == "attr" and self._looks_like_logging(node[3])

    def call_back(self, value: Value, node: Node) -> None:
        """A function that was handed to somebody, who will call it with who knows what."""
        for kind in value.types:
            if kind[0] in ("fn", "bound"):
                given = [Arg("", None, None, Value((kind[2],)))] if kind[0] == "bound" else []
                self._run(kind[1], given, node)
            elif kind[0] == "partial" and kind[1][0] in ("fn", "bound"):
                self.call_type(kind, value, [], node)
            elif kind[0] == "ext" and self.reports:
                effect = self.program.effects.lookup(kind[1])
                if effect is not None and effect.code in VALUE_CODES and effect.code:
                    self.ambient(effect.code, node[1], node[2], kind[1], effect.hint)

    # --- the project's functions

    def call_function(self, function: Function, arguments: list[Arg], node: Node) -> Value:
        """Calls a function of the project."""
        context = self._run(function, arguments, node)
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

    def _run(self, function: Function, arguments: list[Arg], node: Node | None) -> Context | None:
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

    # --- commands

    def count_commands(self, count: int = 1) -> None:
        """Commands were issued: none, one or many."""
        if self.context is not None:
            self.issued += 1
            many = 2 if self.loops else count
            self.context.commands = min(2, self.context.commands + many)

    def call_command(self, kind: Type, arguments: list[Arg], node: Node) -> Value:
        """An activity or a workflow is called as a function."""
        inner = kind
        while inner[0] == "opt":
            inner = inner[1]
        function: Function = inner[1]
        context = self.context
        returns = UNKNOWN
        if function.fn.returns is not None:
            frame = self.for_module(self.program, function.module, function.parent)
            returns = frame.annotation(function.fn.returns)
        if context is None or not self.reports:
            if context is not None:
                self.emit_misplaced(node, function.fn.name)
            return of("cmd", returns)
        if not context.adapter.direct_call:
            role = "activity" if inner[0] == "act" else "workflow"
            self.emit("WFL601", node[1], node[2], function.fn.name, role)
            return self.call_function(function, arguments, node)
        self.command_issued(node, function.fn.name)
        self._check_arguments(function, arguments, node)
        for argument in arguments:
            self.sink(argument.value, PAYLOAD)
            self.payload(argument)
        if context.adapter.loop != "own" and not function.fn.is_async:
            return returns  # it has run when the call comes back
        if inner[0] == "wf":  # a child that nobody waits for goes on by itself
            return Value((("cmd", returns), ("detached",)))
        return of("cmd", returns)

    def command_issued(self, node: Node, name: str) -> None:
        """A command was issued here."""
        self.count_commands()
        self.commands_at[node[1]] = 1
        if self.mode in ("query", "validator"):
            self.emit("WFL609", node[1], node[2], name, "issues a command")
        elif self.mode == "predicate":
            self.emit("WFL608", node[1], node[2], name, "issues a command")

    def emit_misplaced(self, node: Node, name: str) -> None:
        """A part of the workflow API outside of a workflow."""
        if self.mode == "activity":
            self.emit("WFL606", node[1], node[2], name)
        elif self.mode == "side":
            self.emit("WFL607", node[1], node[2], name)

    def payload(self, argument: Arg) -> None:
        """An argument that is encoded and stored."""
        node = argument.node
        if node is None:
            return
        value = argument.value
        if node[2] - node[1] > _LARGE and node[0] in ("const", "fstr", "list", "dict", "tuple"):
            self.emit("WFL708", node[1], node[2], "", f"{node[2] - node[1]:,}")
        if node[0] == "call" and value.has("xinst") and self._is_naive(node):
            self.emit("WFL707", node[1], node[2], self.shown(node))
        if value.has("set") and self.relaxed is None:
            fix = None
            if value.element is not None and value.only("set"):
                edits = [Edit(node[1], node[1], "sorted("), Edit(node[2], node[2], ")")]
                fix = Fix("unsafe", edits)
            self.emit("WFL703", node[1], node[2], self.shown(node), "an argument", fix=fix)
        for kind in value.types:
            if kind[0] in ("fn", "bound", "iter", "coro", "cls") and len(value.types) == 1:
                self.emit("WFL702", node[1], node[2], self.shown(node), _UNSENDABLE[kind[0]])
            elif kind[0] == "xinst" and kind[1] in _UNSENDABLE_CLASSES:
                self.emit("WFL702", node[1], node[2], self.shown(node), kind[1])

    def _is_naive(self, node: Node) -> bool:
        """Whether ``datetime(…)`` is called without a zone."""
        names = [kind[1] for kind in self.eval(node[3]).types if kind[0] == "ext"]
        if names != ["datetime.datetime"]:
            return False
        zoned = any(star or keyword == "tzinfo" for star, keyword, _ in node[4])
        return not zoned and len(node[4]) < 8

    def _check_arguments(self, function: Function, arguments: list[Arg], node: Node) -> None:
        """The number and names of arguments against a definition."""
        if any(argument.star for argument in arguments):
            return
        params = list(function.params)
        if function.owner is not None and params:
            params = params[1:]
        takes = [p for p in params if p.kind in ("pos", "any")]
        names = {p.name for p in params if p.kind in ("any", "kw")}
        given = [a for a in arguments if a.keyword is None]
        has_rest = any(p.kind == "*" for p in params)
        has_more = any(p.kind == "**" for p in params)
        name = function.fn.name
        if len(given) > len(takes) and not has_rest:
            detail = f"takes {len(takes)} positional arguments, {len(given)} are given"
            self.emit("WFL706", node[1], node[2], name, detail)
            return
        for argument in arguments:
            if argument.keyword and argument.keyword not in names and not has_more:
                detail = f"has no parameter {argument.keyword!r}"
                self.emit("WFL706", node[1], node[2], name, detail)
                return
        keywords = {a.keyword for a in arguments}
        for place, param in enumerate(takes):
            if place >= len(given) and param.name not in keywords and param.default is None:
                detail = f"needs an argument for {param.name!r}"
                self.emit("WFL706", node[1], node[2], name, detail)
                return

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


def _assigned_to(statement: Node, receiver: str, name: str) -> tuple[Node | None, Node | None]:
    """The target ``receiver.name`` of an assignment, and the value."""
    targets: Sequence[Node] = ()
    value: Node | None = None
    if statement[0] == "assign":
        targets, value = statement[3], statement[4]
    elif statement[0] == "ann":
        targets, value = (statement[3],), statement[5]
    for target in targets:
        if target[0] == "attr" and target[4] == name and target[3][:1] == ("name",):
            if target[3][3] == receiver:
                return target, value
    return None, None


def _is_shared(statement: Node) -> bool:
    """Whether a class's body makes a container, which all of its objects share."""
    value = statement[4] if statement[0] == "assign" else None
    if statement[0] == "ann":
        value = statement[5]
    if value is None:
        return False
    if value[0] == "call" and value[3][0] == "name":
        return value[3][3] in ("list", "dict", "set", "deque", "defaultdict")
    return value[0] in ("list", "dict", "set", "comp")


def _is_abstract(function: Function) -> bool:
    """Whether a method does nothing but ask to be overridden."""
    body = [s for s in function.fn.body if not (s[0] == "expr" and s[3][0] == "const")]
    if not body:
        return True
    return len(body) == 1 and (
        body[0][0] == "pass"
        or (body[0][0] == "raise" and "NotImplementedError" in repr(body[0][3]))
    )


_LARGE: Final = 8192
"""Characters of a literal that are too many for a payload."""

_ABSENT: Final = Value((("absent",),))
"""Of a parameter for which nothing was given: it has its default."""

_PROPERTIES: Final = frozenset(
    {"builtins.property", "functools.cached_property", "abc.abstractproperty"}
)
_CACHES: Final = frozenset({"functools.cache", "functools.lru_cache", "async_lru.alru_cache"})
_FIELD_MAKERS: Final = frozenset({"field", "Field", "ib", "attrib", "PrivateAttr"})
_FACTORY_CODES: Final = frozenset(
    {"WFL201", "WFL202", "WFL211", "WFL212", "WFL213", "WFL214", "WFL221", "WFL222"}
)
_UNSENDABLE: Final = {
    "fn": "a function",
    "bound": "a method",
    "iter": "a generator",
    "coro": "a coroutine",
    "cls": "a class",
}
_UNSENDABLE_CLASSES: Final = frozenset(
    {
        *("threading.Lock", "threading.Thread", "socket.socket", "re.Match", "io.TextIOWrapper"),
        *("builtins.Exception", "builtins.memoryview", "sqlite3.Connection"),
        *("sqlalchemy.orm.Session", "sqlalchemy.ext.asyncio.AsyncSession"),
    }
)

__all__ = ["MUTATORS", "NONE", "STR", "Calls", "join_all"]
