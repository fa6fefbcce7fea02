"""Modules of the project as the analysis sees them: names, functions and classes.

PYTEST_DONT_REWRITE
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ..syntax import Cls, Fn, Node, Param, Tree


class Module:
    """A file of the project."""

    def __init__(self, name: str, path: str, text: str, tree: Tree, *, is_package: bool) -> None:
        self.name = name
        self.path = path
        self.text = text
        self.tree = tree
        self.is_package = is_package
        self.bindings: dict[str, list[Node]] = {}
        self.stars: list[Node] = []
        self.functions: dict[int, Function] = {}
        self.classes: dict[int, Class] = {}
        self._index(tree.body)
        self._written: dict[str, list[str]] | None = None

    def _index(self, body: tuple[Node, ...]) -> None:
        for statement in each_statement(body):
            tag = statement[0]
            if tag == "from" and statement[5] == "*":
                self.stars.append(statement)
                continue
            for name in bound_names(statement):
                self.bindings.setdefault(name, []).append(statement)

    def function(
        self, raw: Node, qualname: str, owner: Class | None, parent: Function | None
    ) -> Function:
        """The function of a tuple of :class:`Fn`; always the same object."""
        fn = Fn(*raw)
        found = self.functions.get(fn.start)
        if found is None:
            found = self.functions[fn.start] = Function(self, fn, qualname, owner, parent)
        return found

    def class_(self, raw: Node, qualname: str, parent: Function | None) -> Class:
        """The class of a tuple of :class:`Cls`; always the same object."""
        cls = Cls(*raw)
        found = self.classes.get(cls.start)
        if found is None:
            found = self.classes[cls.start] = Class(self, cls, qualname, parent)
        return found

    def written_by_functions(self) -> dict[str, list[str]]:
        """Module-level names that functions here change, and by which functions."""
        if self._written is None:
            self._written = {}
            for statement in each_statement(self.tree.body):
                if statement[0] == "def":
                    _collect_writes(statement[3], statement[3][0], self._written)
                elif statement[0] == "class":
                    for inner in each_statement(statement[3][5]):
                        if inner[0] == "def":
                            name = f"{statement[3][0]}.{inner[3][0]}"
                            _collect_writes(inner[3], name, self._written)
        return self._written


class Function:
    """A function, method or lambda of the project."""

    __slots__ = ("fn", "label", "module", "owner", "params", "parent", "qualname")

    def __init__(
        self, module: Module, fn: Fn, qualname: str, owner: Class | None, parent: Function | None
    ) -> None:
        self.module = module
        self.fn = fn
        self.qualname = qualname
        self.owner = owner
        self.parent = parent
        self.params = tuple(Param(*one) for one in fn.params)
        self.label = (module.name, fn.start)

    def __repr__(self) -> str:
        return f"<{self.module.name}.{self.qualname}>"


class Class:
    """A class of the project."""

    __slots__ = ("cls", "members", "module", "mro", "parent", "qualname")

    def __init__(self, module: Module, cls: Cls, qualname: str, parent: Function | None) -> None:
        self.module = module
        self.cls = cls
        self.qualname = qualname
        self.parent = parent
        self.mro: tuple[Any, ...] | None = None
        self.members: dict[str, list[Node]] = {}
        for statement in each_statement(cls.body):
            for name in bound_names(statement):
                self.members.setdefault(name, []).append(statement)

    def __repr__(self) -> str:
        return f"<{self.module.name}.{self.qualname}>"


def each_statement(body: tuple[Node, ...]) -> Iterator[Node]:
    """The statements of a block and of the blocks in it, but not those of functions and classes."""
    for statement in body:
        yield statement
        tag = statement[0]
        if tag in ("if", "while"):
            yield from each_statement(statement[4])
            yield from each_statement(statement[5])
        elif tag == "for":
            yield from each_statement(statement[5])
            yield from each_statement(statement[6])
        elif tag == "try":
            yield from each_statement(statement[3])
            for handler in statement[4]:
                yield from each_statement(handler[4])
            yield from each_statement(statement[5])
            yield from each_statement(statement[6])
        elif tag == "with":
            yield from each_statement(statement[4])
        elif tag == "match":
            for case in statement[4]:
                yield from each_statement(case[3])


def bound_names(statement: Node) -> Iterator[str]:
    """The names that a statement binds by itself."""
    tag = statement[0]
    if tag == "assign":
        for target in statement[3]:
            yield from target_names(target)
    elif tag in ("ann", "aug"):
        yield from target_names(statement[3])
    elif tag in ("def", "class"):
        yield statement[3][0]
    elif tag == "import":
        for dotted, asname in statement[3]:
            yield asname or dotted.partition(".")[0]
    elif tag == "from":
        if statement[5] != "*":
            for name, asname in statement[5]:
                yield asname or name
    elif tag == "for":
        yield from target_names(statement[3])
    elif tag == "with":
        for _, target in statement[3]:
            if target is not None:
                yield from target_names(target)
    elif tag == "type":
        yield statement[3]


def target_names(target: Node) -> Iterator[str]:
    """The names that an assignment to a target binds."""
    if target[0] == "name":
        yield target[3]
    elif target[0] in ("tuple", "list"):
        for element in target[3]:
            yield from target_names(element)
    elif target[0] == "star":
        yield from target_names(target[3])


MUTATORS = frozenset(
    {
        *("append", "extend", "insert", "remove", "pop", "clear", "sort", "reverse", "add"),
        *("discard", "update", "setdefault", "popitem", "appendleft", "popleft", "extendleft"),
        *("difference_update", "intersection_update", "symmetric_difference_update"),
    }
)
"""Methods that change their object, whatever kind of container it is."""


def _collect_writes(raw: Node, name: str, found: dict[str, list[str]]) -> None:
    """Module-level names that a function assigns as ``global``, or whose contents it changes."""
    fn = Fn(*raw)
    own = set(fn.local_names)

    def note(target: Node) -> None:
        while target[0] in ("sub", "attr"):
            target = target[3]
        if target[0] == "name" and target[3] not in own:
            users = found.setdefault(target[3], [])
            if name not in users:
                users.append(name)

    for node in walk(fn.body):
        tag = node[0]
        if tag == "global":
            for one in node[3]:
                note(("name", 0, 0, one))
        elif tag == "assign":
            for target in node[3]:
                if target[0] in ("sub", "attr"):
                    note(target)
        elif tag == "aug" and node[3][0] in ("sub", "attr"):
            note(node[3])
        elif tag == "call" and node[3][0] == "attr" and node[3][4] in MUTATORS:
            note(node[3][3])
        elif tag == "del" and node[3][0] == "sub":
            note(node[3])


_TAGS = frozenset(
    {
        *("name", "const", "fstr", "attr", "call", "sub", "slice", "un", "bin", "bool", "cmp"),
        *("ifexp", "lambda", "await", "yield", "yieldfrom", "list", "tuple", "set", "dict"),
        *("star", "comp", "walrus", "expr", "assign", "ann", "aug", "return", "raise", "del"),
        *("global", "nonlocal", "import", "from", "assert", "pass", "break", "continue", "if"),
        *("for", "while", "try", "with", "match", "def", "class", "type"),
    }
)


def walk(nodes: tuple[Any, ...]) -> Iterator[Node]:
    """All nodes in a tuple of whatever, in order; into nested functions too."""
    stack: list[tuple[Any, ...]] = [nodes]
    while stack:
        node = stack.pop()
        if (
            len(node) >= 3
            and type(node[0]) is str
            and type(node[1]) is int
            and type(node[2]) is int
            and node[0] in _TAGS
        ):
            yield node
            if node[0] in ("def", "lambda", "class"):
                node = node[3]  # whose first part is a name, and may be that of a tag
        stack += [child for child in reversed(node) if type(child) is tuple]
