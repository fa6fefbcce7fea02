"""Annotations: what they say of values.

PYTEST_DONT_REWRITE
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from ..syntax import Node
from ._base import Base
from ._modules import Class
from ._values import NONE, UNKNOWN, Type, Value, join, join_all, of


class Types(Base):
    """Types of the code that is looked at."""

    def annotation(self, node: Node) -> Value:
        """What a value of an annotated type is."""
        before, self.annotating = self.annotating, True
        try:
            return self._annotated(node, 0)
        finally:
            self.annotating = before

    def _annotated(self, node: Node, depth: int) -> Value:
        tag = node[0]
        if depth > 6:
            return UNKNOWN
        if tag == "const":
            return NONE if node[3] == "none" else UNKNOWN
        if tag == "bin" and node[3] == "|":
            return join(self._annotated(node[4], depth + 1), self._annotated(node[5], depth + 1))
        if tag == "sub":
            return self._generic(node, depth)
        if tag in ("name", "attr"):
            return self._named_type(self.type_of(node), depth)
        return UNKNOWN

    def type_of(self, node: Node) -> Value:
        """A name in an annotation, which reads nothing at run time."""
        if node[0] == "name":
            return self.lookup(node[3])
        owner = self.type_of(node[3]) if node[3][0] in ("name", "attr") else UNKNOWN
        for kind in owner.types:
            if kind[0] == "mod":
                return self.program.member_of_module(kind[1], node[4], None)
            if kind[0] == "ext":
                return of("ext", f"{kind[1]}.{node[4]}")
            if kind[0] == "cls":
                inner = kind[1].members.get(node[4], [])
                for statement in inner:
                    if statement[0] == "class":
                        name = f"{kind[1].qualname}.{node[4]}"
                        return of("cls", kind[1].module.class_(statement[3], name, None))
        return UNKNOWN

    def _named_type(self, value: Value, depth: int) -> Value:
        found: list[Value] = []
        for kind in value.types:
            if kind[0] == "cls":
                found.append(self.instance(kind[1]))
            elif kind[0] == "ext":
                name = _short(kind[1])
                if name in _TYPES:
                    found.append(Value((_TYPES[name],)))
                elif kind[1] not in _NO_TYPES:
                    found.append(of("xinst", kind[1]))
            elif kind[0] == "alias" and depth < 5:
                found.append(self._annotated(kind[1], depth + 1))
        return join_all(found)

    def instance(self, cls: Class) -> Value:
        """An object of a class of the project, which may be a set or a dictionary."""
        types: list[Type] = [("inst", cls)]
        for one in self.program.mro(cls):
            if isinstance(one, str) and _short(one) in ("set", "frozenset", "dict", "AbstractSet"):
                types.append(_TYPES[_short(one)])
        return Value(tuple(types))

    def _generic(self, node: Node, depth: int) -> Value:
        owner = self.type_of(node[3]) if node[3][0] in ("name", "attr") else UNKNOWN
        arguments: Sequence[Node] = node[4][3] if node[4][0] == "tuple" else (node[4],)
        for kind in owner.types:
            if kind[0] == "cls":
                return self.instance(kind[1])
            if kind[0] != "ext":
                continue
            name = _short(kind[1])
            if name in ("Optional", "Union"):
                values = [self._annotated(one, depth + 1) for one in arguments]
                return join_all(values) if name == "Union" else join(values[0], NONE)
            if name in ("Annotated", "Final", "ClassVar", "Required", "NotRequired", "ReadOnly"):
                return self._annotated(arguments[0], depth + 1)
            if name in ("Awaitable", "Coroutine", "Task", "Future"):
                return of("coro", self._annotated(arguments[-1], depth + 1))
            if name in ("tuple", "Tuple"):
                if len(arguments) == 2 and arguments[1][:1] == ("const",):
                    element = self._annotated(arguments[0], depth + 1)
                    return Value((("tuple",),), (), element)
                values = [self._annotated(one, depth + 1) for one in arguments]
                return of("tup", tuple(values))
            if name in _TYPES:
                last = self._annotated(arguments[-1], depth + 1)
                return Value((_TYPES[name],), (), last if last.types else None)
            if name in ("Iterable", "Iterator", "Sequence", "Collection", "Generator"):
                element = self._annotated(arguments[0], depth + 1)
                return Value((), (), element if element.types else None)
            if name == "type":
                return UNKNOWN
            return of("xinst", kind[1])
        return UNKNOWN


_TYPES: Final[dict[str, Type]] = {
    "set": ("set",),
    "frozenset": ("set",),
    "Set": ("set",),
    "FrozenSet": ("set",),
    "AbstractSet": ("set",),
    "MutableSet": ("set",),
    "KeysView": ("view",),
    "dict": ("dict",),
    "Dict": ("dict",),
    "Mapping": ("dict",),
    "MutableMapping": ("dict",),
    "defaultdict": ("dict",),
    "DefaultDict": ("dict",),
    "OrderedDict": ("dict",),
    "Counter": ("dict",),
    "list": ("list",),
    "List": ("list",),
    "deque": ("list",),
    "tuple": ("tuple",),
    "Tuple": ("tuple",),
    "str": ("str",),
    "int": ("int",),
    "float": ("float",),
    "bool": ("bool",),
    "bytes": ("bytes",),
    "None": ("none",),
}

_NO_TYPES: Final = frozenset(
    {"typing.Any", "builtins.object", "typing.Self", "builtins.type", "typing.Callable"}
)


def _short(name: str) -> str:
    module, _, last = name.rpartition(".")
    if module in ("builtins", "typing", "typing_extensions", "collections", "collections.abc"):
        if module == "collections.abc" and last == "Set":
            return "AbstractSet"
        return last
    return name
