"""Commands: activities and workflows that are called, and what is handed to them.

PYTEST_DONT_REWRITE
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from ..syntax import Node
from ._attributes import Attributes
from ._base import Arg
from ._events import PAYLOAD, Edit, Fix
from ._modules import Function
from ._values import UNKNOWN, Type, Value, of


class Commands(Attributes):
    """What is recorded."""

    # Set by the class that inherits from this one.
    call_function: Callable[..., Value]

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


_LARGE: Final = 8192
"""Characters of a literal that are too many for a payload."""


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
