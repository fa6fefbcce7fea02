"""Attributes: members of modules, classes and objects, and what decorators make of methods.

PYTEST_DONT_REWRITE
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final

from ..adapters import Symbol
from ..syntax import Node
from ._base import Arg
from ._expressions import Expressions
from ._modules import Class, Function, each_statement
from ._values import UNKNOWN, Type, Value, join, of, tainted

if TYPE_CHECKING:
    from ._program import Context


class Attributes(Expressions):
    """What attributes are."""

    # Set by the class that inherits from this one.
    run_function: Callable[..., Context | None]

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
            context = self.run_function(function, [Arg("", None, None, Value((receiver,)))], node)
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


_PROPERTIES: Final = frozenset(
    {"builtins.property", "functools.cached_property", "abc.abstractproperty"}
)
_CACHES: Final = frozenset({"functools.cache", "functools.lru_cache", "async_lru.alru_cache"})
