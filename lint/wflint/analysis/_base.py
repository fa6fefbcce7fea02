"""What all parts of a frame share: the environment, findings, and how names are found.

PYTEST_DONT_REWRITE
"""

from __future__ import annotations

import builtins
from typing import TYPE_CHECKING, Any, NamedTuple

from ..syntax import Node
from ._events import LOG, Event, Fix
from ._modules import Function, Module
from ._values import UNKNOWN, Value, of

if TYPE_CHECKING:
    from ..adapters import Adapter
    from ._program import Context, Program

Env = dict[str, Value]

INSENSITIVE = "insensitive"
"""Whoever consumes the value does not care for its order."""

LOGGED = "logged"
"""The value only goes into a log."""


_BUILTIN_VALUES = {name: of("ext", f"builtins.{name}") for name in dir(builtins)}


class Arg(NamedTuple):
    """An argument of a call."""

    star: str
    keyword: str | None
    node: Node | None
    value: Value


class Base:
    """A function being looked at (or a module's names, when there is no context)."""

    def __init__(
        self,
        program: Program,
        module: Module,
        function: Function | None,
        context: Context | None,
    ) -> None:
        self.program = program
        self.module = module
        self.function = function
        self.context = context
        self.env: Env = {}
        self.alive = True
        self.parent = function
        """The function that nested functions and lambdas belong to."""
        self.quiet = 0
        self.loops: int = 0
        self.issued: int = 0
        """Commands so far, those of called functions counted as one."""
        self.branches: int = 0
        self.branch_draws: list[tuple[int, int, str]] = []
        self.relaxed: str | None = None
        self.annotating = False
        self.commands_at: dict[int, int] = {}
        self.breaks: list[list[Env]] = []
        self.silent_sources: dict[int, None] = {}

    # --- what kind of code this is

    @property
    def mode(self) -> str:
        """``workflow``, ``query``, ``validator``, ``predicate``, ``side``, ``activity``, ``load``,
        or ``module`` where no function is run."""
        return "module" if self.context is None else self.context.mode

    @property
    def adapter(self) -> Adapter | None:
        """The framework of the workflow that was entered."""
        return None if self.context is None else self.context.adapter

    @property
    def reports(self) -> bool:
        """Whether this is code that replays."""
        return self.mode in ("workflow", "query", "validator", "predicate")

    # --- findings

    def emit(
        self,
        code: str,
        start: int,
        end: int,
        symbol: str = "",
        detail: str = "",
        *,
        fix: Fix | None = None,
        **data: Any,
    ) -> None:
        """Notes something that a rule has a say in."""
        context = self.context
        if context is None or not (self.reports or code in ("WFL606", "WFL607", "WFL505")):
            return
        event = Event(
            code,
            self.module.name,
            start,
            end,
            symbol,
            detail,
            quiet=self.quiet > 0,
            mode=context.mode,
            log_only=self.relaxed == LOGGED,
            fix=fix,
            data=data,
        )
        context.events.setdefault(event.key, event)

    def ambient(
        self,
        code: str,
        start: int,
        end: int,
        symbol: str,
        detail: str = "",
        fix: Fix | None = None,
    ) -> tuple[int, ...]:
        """An ambient input: a value that is not the same at every replay."""
        number = self.program.source(code, self.module, start, end, symbol, detail, fix)
        if self.context is not None and self.mode == "load":
            self.context.sources[number] = None
            return (number,)
        if self.context is not None:
            if not self.reports:
                return ()
            self.context.sources[number] = None
            if self.mode == "predicate":
                self.emit("WFL608", start, end, symbol, "reads it")
        else:
            self.silent_sources[number] = None
        if self.relaxed == LOGGED:
            self.program.sink((number,), LOG)
        return (number,)

    def ordered_by(self, code: str, node: Node, what: str) -> tuple[int, ...]:
        """The place at which a set's or a listing's order becomes the order of something."""
        return (self.program.source(f"order:{code}", self.module, node[1], node[2], what),)

    def sink(self, value: Value, where: str, depth: int = 2) -> None:
        """Notes where a value ends up."""
        if self.context is None:
            return
        if value.sources:
            self.program.sink(value.sources, where)
        if value.element is not None and depth > 0:
            self.sink(value.element, where, depth - 1)
        for kind in value.types:
            if kind[0] == "tup" and depth > 0:
                for one in kind[1]:
                    self.sink(one, where, depth - 1)
            elif kind[0] in ("coro", "cmd") and depth > 0:
                self.sink(kind[1], where, depth - 1)

    def drawn(self, node: Node, name: str) -> None:
        """A number was drawn from the workflow's generator."""
        if self.branches:
            self.branch_draws.append((node[1], node[2], name))
            return
        for start, end, drawn in self.branch_draws:
            self.emit("WFL613", start, end, drawn)
        self.branch_draws.clear()

    # --- names

    def lookup(self, name: str) -> Value:
        """What a name is here."""
        found = self.env.get(name)
        if found is not None:
            return found
        function = self.function or self.parent
        first = function
        while function is not None:
            if name in function.fn.local_names:
                if function is not first or self.function is None or self.function is not function:
                    cell = self.program.cell("local", function.label, name)
                    value = self.program.read(cell, self.context)
                    return self.defined_in(function, name) if value is None else value
                return UNKNOWN
            function = function.parent
        return self.global_name(name)

    def defined_in(self, function: Function, name: str) -> Value:
        """What is known of an enclosing function's variable when that function has not run.

        Workflows are often defined in functions that nobody calls here: tests and factories.
        """
        key = (*function.label, name)
        known = self.program.defined_in_functions
        if key not in known:
            known[key] = UNKNOWN
            known[key] = self.definition_in(function, name)
        return known[key]

    def definition_in(self, function: Function, name: str) -> Value:
        """The same, looked up; overridden where definitions are understood."""
        return self.parameter(function, name)

    def parameter(self, function: Function, name: str) -> Value:
        """What is known of a parameter by its annotation alone."""
        for param in function.params:
            if param.name == name and param.annotation is not None:
                return self.annotation(param.annotation)
        return UNKNOWN

    def global_name(self, name: str) -> Value:
        """What a module-level name or a builtin is."""
        found = self.program.global_value(self.module, name, self.context)
        if found is None:
            return _BUILTIN_VALUES.get(name, UNKNOWN)
        return found

    def annotation(self, node: Node) -> Value:
        """What a value of an annotated type is; overridden where types are understood."""
        raise NotImplementedError(node)

    def assign_local(self, name: str, value: Value) -> None:
        """Binds a local variable."""
        self.env[name] = value
        function = self.function
        if function is not None and function.fn.captured:
            self.program.write(self.program.cell("local", function.label, name), value)

    def qualname(self, name: str) -> str:
        """The full name of something that is defined here."""
        if self.parent is None:
            return name
        return f"{self.parent.qualname}.{name}"
