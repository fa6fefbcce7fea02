"""All that is reached from the workflows: contexts of functions, solved until nothing changes.

A function is analysed once for each kind of arguments that it is called with (a set here, a list
there; this callback or that), so that what it does with them is known. Contexts are joined when a
function has too many of them. Attributes, module-level names and variables of enclosing functions
are cells that only grow; whoever read one is looked at again when it has grown.

PYTEST_DONT_REWRITE
"""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Final

from ..adapters import Adapter, Adapters
from ..effects import Effects
from ..syntax import Node
from ._events import Event, Fix, Source
from ._modules import Class, Function, Module, bound_names, each_statement
from ._values import UNKNOWN, Type, Value, join, of, shallow

_CONTEXTS: Final = 16
"""Contexts of one function before they are joined."""

_DEEPEST: Final = 60
"""Calls within each other that are followed at once; deeper ones wait for their turn."""

_ROUNDS: Final = 40
"""Times that one context is looked at; what still changes then is of no interest."""

STDLIB: Final = frozenset(sys.stdlib_module_names)

OBJECT: Final = ("ext", "builtins.object")


class Edge:
    """A call from one context to another."""

    __slots__ = ("end", "quiet", "start", "symbol", "target")

    def __init__(self, target: Context, start: int, end: int, symbol: str, *, quiet: bool) -> None:
        self.target = target
        self.start = start
        self.end = end
        self.symbol = symbol
        self.quiet = quiet


class Context:
    """A function with the kind of its arguments, and what is known of running it so."""

    __slots__ = (
        *("adapter", "args", "commands", "continues", "done", "edges", "events", "function"),
        *("is_root", "mode", "queued", "readers", "result", "rounds", "running", "sources"),
        "suspends",
    )

    def __init__(
        self, function: Function, args: tuple[Value, ...], mode: str, adapter: Adapter
    ) -> None:
        self.function = function
        self.args = args
        self.mode = mode
        self.adapter = adapter
        self.result = UNKNOWN
        self.commands = 0
        self.suspends = False
        self.continues = False
        self.events: dict[tuple[str, str, int, str], Event] = {}
        self.sources: dict[int, None] = {}
        self.edges: dict[tuple[int, int], Edge] = {}
        self.readers: dict[Context, None] = {}
        self.done = self.running = self.queued = False
        self.is_root = False
        self.rounds = 0


class Cell:
    """Something that is assigned in many places."""

    __slots__ = ("readers", "value")

    def __init__(self) -> None:
        self.value: Value | None = None
        self.readers: dict[Context, None] = {}


class Root:
    """A workflow, or a part of one that the framework calls."""

    __slots__ = ("adapter", "context", "function", "kind", "name")

    def __init__(
        self, function: Function, adapter: Adapter, name: str, kind: str, context: Context
    ) -> None:
        self.function = function
        self.adapter = adapter
        self.name = name
        self.kind = kind
        self.context = context


class Program:
    """The project's code as far as it was needed.

    Args:
        load: a module by its full name, or ``None``.
        effects: what symbols outside of the project do.
        adapters: the frameworks.
    """

    def __init__(
        self,
        load: Callable[[str], Module | None],
        effects: Effects,
        adapters: Adapters,
        *,
        dict_iteration: str = "strict",
        replay_safe_loggers: Sequence[str] = (),
        tick: Callable[[], None] = lambda: None,
    ) -> None:
        self._load = load
        self._tick = tick
        self.effects = effects
        self.adapters = adapters
        self.dict_iteration = dict_iteration
        self.replay_safe_loggers = frozenset(replay_safe_loggers)
        self.modules: dict[str, Module | None] = {}
        self.sources: list[Source] = []
        self._source_keys: dict[tuple[str, str, int], int] = {}
        self._globals: dict[tuple[str, str], Value] = {}
        self._global_stack: set[tuple[str, str]] = set()
        self._absent: set[tuple[str, str]] = set()
        self._cells: dict[tuple[Any, ...], Cell] = {}
        self._contexts: dict[tuple[Any, ...], Context] = {}
        self._of_function: dict[tuple[Any, ...], list[Context]] = {}
        self._queue: deque[Context] = deque()
        self._depth = 0
        self.roots: list[Root] = []
        self.activities: dict[tuple[str, int], tuple[Function, Adapter]] = {}
        self.defined_in_functions: dict[tuple[str, int, str], Value] = {}
        self.assigned_in_init: dict[tuple[str, int, str], Value] = {}
        self.assigned_in_class: dict[tuple[str, int, str], Value] = {}

    # --- modules and names

    def module(self, name: str) -> Module | None:
        """A module of the project."""
        if name in self.modules:
            return self.modules[name]
        self.modules[name] = None
        if name.partition(".")[0] in STDLIB or self.adapters.is_opaque(name):
            return None
        found = self.modules[name] = self._load(name)
        return found

    def module_value(self, name: str) -> Value:
        """The value of an imported module."""
        return of("mod", name)

    def member_of_module(self, name: str, attribute: str, reader: Context | None) -> Value:
        """What ``module.attribute`` is."""
        module = self.module(name)
        if module is None:
            return of("ext", f"{name}.{attribute}")
        if attribute in module.bindings or module.stars:
            found = self.global_value(module, attribute, reader)
            if found is not None:
                return found
        if self.module(f"{name}.{attribute}") is not None:
            return of("mod", f"{name}.{attribute}")
        return UNKNOWN

    def absolute(self, module: Module, level: int, target: str) -> str:
        """The full name of a module that is imported relatively."""
        if not level:
            return target
        parts = module.name.split(".")
        keep = len(parts) - level + (1 if module.is_package else 0)
        base = ".".join(parts[: max(keep, 0)])
        return f"{base}.{target}" if base and target else base or target

    def global_value(
        self, module: Module, name: str, reader: Context | None = None
    ) -> Value | None:
        """A module-level name; ``None`` when the module has none such."""
        key = (module.name, name)
        found = self._globals.get(key)
        if found is None:
            if key in self._absent:
                return None
            if key in self._global_stack:
                return UNKNOWN
            self._global_stack.add(key)
            try:
                found = self._evaluate_global(module, name)
            finally:
                self._global_stack.discard(key)
            if found is None:
                self._absent.add(key)
                return None
            self._globals[key] = found
        written = self._cells.get(("global", *key))
        if written is not None:
            if reader is not None:
                written.readers[reader] = None
            if written.value is not None:
                return join(found, written.value)
        return found

    def _evaluate_global(self, module: Module, name: str) -> Value | None:
        from ._frame import Frame

        bindings = module.bindings.get(name)
        if bindings is None:
            for star in module.stars:
                source = self.absolute(module, star[3], star[4])
                other = self.module(source)
                if other is None:
                    # What an unknown module exports is not known, and `dir()` would import it.
                    if not name.startswith("_") and self.effects.knows(f"{source}.{name}"):
                        return of("ext", f"{source}.{name}")
                elif not name.startswith("_") or name in exported(other):
                    found = self.global_value(other, name)
                    if found is not None:
                        return found
            return None
        frame = Frame.for_module(self, module)
        value = UNKNOWN
        for statement in bindings:
            value = join(value, frame.binding_value(statement, name))
        return value._replace(origin=(module.name, name))

    # --- cells

    def cell(self, *key: Any) -> Cell:
        """The cell of an attribute or a variable."""
        found = self._cells.get(key)
        if found is None:
            found = self._cells[key] = Cell()
        return found

    def read(self, cell: Cell, reader: Context | None) -> Value | None:
        """What a cell holds."""
        if reader is not None:
            cell.readers[reader] = None
        return cell.value

    def write(self, cell: Cell, value: Value) -> None:
        """Adds to what a cell holds."""
        value = shallow(value)
        if cell.value is None:
            cell.value = value
        else:
            joined = join(cell.value, value)
            if joined is cell.value:
                return
            cell.value = joined
        for reader in cell.readers:
            self.again(reader)

    # --- classes

    def bases(self, cls: Class) -> list[Type]:
        """Types of a class's bases."""
        from ._frame import Frame

        frame = Frame.for_module(self, cls.module, cls.parent)
        found: list[Type] = []
        for star, keyword, node in cls.cls.arguments:
            if star or keyword is not None:
                continue
            while node[0] == "sub":
                node = node[3]
            found += [kind for kind in frame.eval(node).types if kind[0] in ("cls", "ext")]
        return found

    def mro(self, cls: Class) -> tuple[Any, ...]:
        """A class and what it inherits from, the nearest first: classes, and names outside."""
        if cls.mro is None:
            cls.mro = (cls,)  # a class that inherits from itself ends here
            found: list[Any] = [cls]
            for kind in self.bases(cls):
                line = self.mro(kind[1]) if kind[0] == "cls" else (kind[1],)
                found += [one for one in line if one not in found]
            cls.mro = tuple(found)
        return cls.mro

    def is_subclass(self, cls: Class, *names: str) -> bool:
        """Whether a class inherits from something outside."""
        return any(one in names for one in self.mro(cls) if isinstance(one, str))

    def member(self, cls: Class, name: str, after: Class | None = None) -> tuple[Any, list[Node]]:
        """Where a class's attribute is defined: the class (or an outside name), and how."""
        skip = after is not None
        for one in self.mro(cls):
            if skip:
                skip = one is not after
            elif isinstance(one, str):
                return one, []
            elif name in one.members:
                return one, one.members[name]
        return None, []

    def overrides(self, cls: Class, name: str) -> list[Class]:
        """Known classes that inherit from a class and define a method themselves."""
        found: list[Class] = []
        for module in list(self.modules.values()):
            if module is None:
                continue
            for statement in each_statement(module.tree.body):
                if statement[0] == "class" and statement[3][0] != cls.cls.name:
                    other = module.class_(statement[3], statement[3][0], None)
                    if name in other.members and cls in self.mro(other):
                        found.append(other)
        return found

    # --- ambient inputs

    def source(
        self,
        code: str,
        module: Module,
        start: int,
        end: int,
        symbol: str,
        detail: str = "",
        fix: Fix | None = None,
    ) -> int:
        """The number of an ambient input; the same place has the same number."""
        key = (code, module.name, start)
        number = self._source_keys.get(key)
        if number is None:
            number = self._source_keys[key] = len(self.sources)
            self.sources.append(Source(number, code, module.name, start, end, symbol, detail, fix))
        return number

    def sink(self, sources: tuple[int, ...], where: str) -> None:
        """Notes where ambient inputs end up."""
        for number in sources:
            self.sources[number].sinks.add(where)

    # --- contexts

    def context(
        self, function: Function, args: tuple[Value, ...], mode: str, adapter: Adapter
    ) -> Context:
        """The context of a function for such arguments."""
        args = tuple(shallow(value, 2) for value in args)
        base = (function.label, mode, adapter.name)
        key = (*base, args)
        found = self._contexts.get(key)
        if found is not None:
            return found
        others = self._of_function.setdefault(base, [])
        if len(others) >= _CONTEXTS:
            last = others[-1]
            size = max(len(last.args), len(args))
            joined = tuple(
                join(
                    last.args[n] if n < len(last.args) else UNKNOWN,
                    args[n] if n < len(args) else UNKNOWN,
                )
                for n in range(size)
            )
            if joined != last.args:
                last.args = joined
                self.again(last)
            self._contexts[key] = last
            return last
        found = self._contexts[key] = Context(function, args, mode, adapter)
        others.append(found)
        return found

    def enter(self, context: Context, caller: Context | None) -> Context:
        """Makes sure that a context was looked at, now or soon."""
        if caller is not None:
            context.readers[caller] = None
        if not context.done and not context.running:
            if self._depth < _DEEPEST:
                self.run(context)
            else:
                self.again(context)
        return context

    def again(self, context: Context) -> None:
        """Has a context looked at once more."""
        if not context.queued and context.rounds < _ROUNDS:
            context.queued = True
            self._queue.append(context)

    def run(self, context: Context) -> None:
        """Looks at a context."""
        from ._frame import Frame

        self._tick()
        context.running = True
        context.rounds += 1
        self._depth += 1
        before = (context.result, context.commands, context.suspends, context.continues)
        context.events, context.edges, context.sources = {}, {}, {}
        try:
            Frame(self, context.function.module, context.function, context).run()
        except RecursionError:
            pass  # nested beyond all measure: what was found so far is what is known
        finally:
            self._depth -= 1
            context.running = False
            context.done = True
        context.result = shallow(context.result)
        after = (context.result, context.commands, context.suspends, context.continues)
        if after != before:
            for reader in context.readers:
                self.again(reader)

    def solve(self) -> None:
        """Goes on until nothing changes."""
        while self._queue:
            context = self._queue.popleft()
            context.queued = False
            if not context.running:
                self.run(context)

    def add_root(self, function: Function, adapter: Adapter, name: str, kind: str) -> None:
        """A function that the framework calls in workflow context."""
        context = self.context(function, (), _MODES.get(kind, "workflow"), adapter)
        if not context.is_root:
            context.is_root = True
            self.roots.append(Root(function, adapter, name, kind, context))
            self.enter(context, None)


_MODES: Final = {"query": "query", "validator": "validator", "activity": "activity"}


def exported(module: Module) -> frozenset[str]:
    """What ``__all__`` lists, as far as it is written out."""
    names: set[str] = set()
    for statement in module.bindings.get("__all__", ()):
        if statement[0] in ("assign", "ann", "aug"):
            value = statement[4] if statement[0] == "assign" else statement[5]
            if value is not None and value[0] in ("list", "tuple"):
                names.update(one[4] for one in value[3] if one[0] == "const" and one[4])
    return frozenset(names)


__all__ = [
    "OBJECT",
    "STDLIB",
    "Cell",
    "Context",
    "Edge",
    "Program",
    "Root",
    "bound_names",
]
