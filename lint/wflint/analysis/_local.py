"""Rules that look at definitions: signatures, shapes, and what a module does when it is loaded.

PYTEST_DONT_REWRITE
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

from ..adapters import Adapter
from ..effects import VALUE_CODES
from ..syntax import Node, Param
from ._events import Edit, Event, Fix
from ._frame import Frame
from ._modules import Function, Module, each_statement, walk
from ._values import UNKNOWN, Value, of

if TYPE_CHECKING:
    from ._program import Program

Local = list[tuple[Event, str]]

_ENTRIES: Final = frozenset({"workflow", "run", "signal", "query", "update", "activity"})

_AT_IMPORT: Final = frozenset(
    {"WFL301", "WFL302", "WFL303", "WFL304", "WFL401", "WFL402", "WFL406"}
)

_UNSENDABLE: Final = {
    "typing.Callable": "a function",
    "collections.abc.Callable": "a function",
    "typing.Generator": "a generator",
    "collections.abc.Generator": "a generator",
    "typing.Iterator": "an iterator",
    "collections.abc.Iterator": "an iterator",
    "typing.Coroutine": "a coroutine",
    "collections.abc.Coroutine": "a coroutine",
    "typing.IO": "a file",
    "typing.TextIO": "a file",
    "typing.BinaryIO": "a file",
    "io.TextIOWrapper": "a file",
    "socket.socket": "a socket",
    "threading.Lock": "a lock",
    "threading.Thread": "a thread",
    "asyncio.Queue": "a queue",
    "asyncio.Task": "a task",
    "asyncio.Future": "a future",
    "re.Match": "a match",
    "builtins.memoryview": "memory",
    "builtins.type": "a class",
    "types.ModuleType": "a module",
    "sqlalchemy.orm.Session": "a database session",
    "sqlalchemy.ext.asyncio.AsyncSession": "a database session",
}

_EMPTY: Final = frozenset({"list", "dict", "odict", "set"})


def check_definitions(program: Program, found: Local) -> None:
    """Workflows, handlers and activities, as they are declared."""
    _check_races(program, found)
    seen: set[tuple[str, int]] = set()
    for root in program.roots:
        function, adapter = root.function, root.adapter
        if function.label in seen:
            continue
        seen.add(function.label)
        check = _Definition(program, function, adapter, root.name, root.kind, found)
        if root.kind in _ENTRIES:
            check.signature()
        if root.kind in ("workflow", "run"):
            check.shape()
        check.defaults()


class _Definition:
    def __init__(
        self,
        program: Program,
        function: Function,
        adapter: Adapter,
        name: str,
        kind: str,
        found: Local,
    ) -> None:
        self._program = program
        self._function = function
        self._adapter = adapter
        self._name = name
        self._kind = kind
        self._found = found
        self._frame = Frame.for_module(program, function.module, function.parent)

    def _emit(
        self, code: str, start: int, end: int, symbol: str, detail: str = "", **more: Any
    ) -> None:
        fix = more.pop("fix", None)
        event = Event(
            code, self._function.module.name, start, end, symbol, detail, fix=fix, data=more
        )
        self._found.append((event, self._name))

    def _params(self) -> list[Param]:
        """Parameters that hold data: no receiver, no context, nothing injected."""
        params = list(self._function.params)
        if self._function.owner is not None and params:
            static = "builtins.staticmethod" in self._frame.decorator_names(self._function)
            if not static:
                params = params[1:]
        if self._adapter.context_types and params:
            params = params[1:]
        return [one for one in params if not self._is_injected(one)]

    def _is_injected(self, param: Param) -> bool:
        default = param.default
        if default is None or default[0] != "call":
            return False
        maker = self._frame.eval(default[3])
        return any(kind[0] == "ext" and kind[1].endswith(".inject") for kind in maker.types)

    def signature(self) -> None:
        """Types of what is encoded."""
        fn = self._function.fn
        params = self._params()
        if self._adapter.style == "async":
            for param in params:
                if param.annotation is None:
                    self._emit("WFL701", param.start, param.end, f"parameter {param.name!r}")
            if fn.returns is None and self._kind in ("workflow", "run", "activity", "query"):
                self._emit("WFL701", fn.start, fn.end, f"the result of {fn.name!r}")
        for param in params:
            if param.annotation is not None:
                self._type(param.annotation, f"parameter {param.name!r}")
        if fn.returns is not None and not fn.is_generator:
            self._type(fn.returns, "the result")
        self._rigid(params)

    def _type(self, node: Node, what: str) -> None:
        value = self._frame.annotation(node)
        if value.has("set"):
            fix = None
            if node[0] == "sub" and node[3][0] == "name" and node[3][3] in ("set", "frozenset"):
                name = node[3]
                fix = Fix("unsafe", [Edit(name[1], name[2], "list")])
            self._emit("WFL703", node[1], node[2], self._frame.shown(node), what, fix=fix)
        for part in _type_parts(node):
            named = self._frame.type_of(part)
            for kind in named.types:
                name = kind[1] if kind[0] == "ext" else ""
                if name in _UNSENDABLE:
                    detail = f"{what} is {_UNSENDABLE[name]}"
                    self._emit("WFL702", part[1], part[2], self._frame.shown(part), detail)
                elif name == "typing.Any":
                    self._emit("WFL709", part[1], part[2], "Any", what)
                elif kind[0] == "cls" and self._program.is_subclass(
                    kind[1], "builtins.Exception", "builtins.BaseException"
                ):
                    detail = f"{what} is an exception"
                    self._emit("WFL702", part[1], part[2], self._frame.shown(part), detail)
        if node[0] == "name" and node[3] in ("dict", "list") and value.element is None:
            self._emit("WFL709", node[1], node[2], node[3], what)

    def _rigid(self, params: list[Param]) -> None:
        for param in params:
            if param.kind in ("*", "**"):
                shown = f"{param.kind}{param.name}"
                self._emit("WFL704", param.start, param.end, shown, "any number of arguments")
        positional = [one for one in params if one.kind in ("pos", "any")]
        if len(positional) > 3 and self._kind != "activity":
            last = positional[-1]
            detail = f"{len(positional)} parameters by position"
            self._emit("WFL704", last.start, last.end, self._function.fn.name, detail)

    def shape(self) -> None:
        """What a workflow has to look like."""
        fn = self._function.fn
        style = self._adapter.style
        if style == "async" and not fn.is_async and self._adapter.loop == "own":
            self._emit("WFL618", fn.start, fn.end, fn.name, "is not `async def`")
        if style == "async" and fn.is_async and fn.is_generator:
            self._emit("WFL618", fn.start, fn.end, fn.name, "is a generator")
        if style == "generator":
            if fn.is_async:
                self._emit("WFL615", fn.start, fn.end, fn.name, "is `async def`")
            elif not fn.is_generator and self._issues():
                self._emit("WFL614", fn.start, fn.end, fn.name)

    def _issues(self) -> bool:
        # Who gives the task back is a helper, and lets its caller yield it.
        return any(
            root.function is self._function
            and root.context.commands
            and not root.context.result.has("cmd")
            for root in self._program.roots
        )

    def defaults(self) -> None:
        """Defaults that all calls share, or that each process evaluates for itself."""
        for param in self._function.params:
            default = param.default
            if default is None or default[0] in ("const", "name"):
                continue
            self._frame.silent_sources = {}
            value = self._frame.eval(default)
            numbers = [
                n
                for n in (*value.sources, *self._frame.silent_sources)
                if self._program.sources[n].code in VALUE_CODES
            ]
            if numbers:
                symbol = self._program.sources[numbers[0]].symbol
                self._emit("WFL504", default[1], default[2], symbol, "ambient", severity="error")
            elif any(kind[0] in _EMPTY for kind in value.types) and len(value.types) == 1:
                if default[0] in ("list", "dict", "set", "call", "comp"):
                    severity = "error" if self._is_changed(param.name) else "warning"
                    shown = self._frame.shown(default)
                    self._emit("WFL504", default[1], default[2], shown, severity=severity)

    def _is_changed(self, name: str) -> bool:
        from ._modules import MUTATORS

        for node in walk(self._function.fn.body):
            if node[0] == "call" and node[3][0] == "attr" and node[3][4] in MUTATORS:
                if node[3][3][:1] == ("name",) and node[3][3][3] == name:
                    return True
            if node[0] == "assign":
                for target in node[3]:
                    if target[0] == "sub" and target[3][:1] == ("name",) and target[3][3] == name:
                        return True
        return False


def _type_parts(node: Node) -> list[Node]:
    """The names in an annotation."""
    found: list[Node] = []
    stack = [node]
    while stack:
        one = stack.pop()
        if one[0] in ("name", "attr"):
            found.append(one)
        elif one[0] == "sub":
            stack += [one[4], one[3]]
        elif one[0] == "bin":
            stack += [one[5], one[4]]
        elif one[0] in ("tuple", "list"):
            stack += reversed(one[3])
    return found


def _check_races(program: Program, found: Local) -> None:
    """Attributes that a handler reads before an ``await`` and writes after it, and another too."""
    handlers = [
        root
        for root in program.roots
        if root.kind in ("signal", "update") and root.function.owner is not None
    ]
    writers: dict[tuple[str, int, str], list[str]] = {}
    for root in handlers:
        for name, _, _ in _attributes(root.function, written=True):
            owner = root.function.owner
            if owner is not None:
                key = (owner.module.name, owner.cls.start, name)
                writers.setdefault(key, []).append(root.function.fn.name)
    for root in handlers:
        function = root.function
        waits = [n[1] for n in walk(function.fn.body) if n[0] == "await"]
        reads = list(_attributes(function, written=False))
        for name, start, end in _attributes(function, written=True):
            owner = function.owner
            if owner is None:
                continue
            others = writers[owner.module.name, owner.cls.start, name]
            other = next((one for one in others if one != function.fn.name), None)
            crossed = any(
                read == name and at < wait < start for read, at, _ in reads for wait in waits
            )
            if other is not None and crossed:
                event = Event("WFL411", function.module.name, start, end, f"self.{name}", other)
                found.append((event, root.name))


def _attributes(function: Function, *, written: bool) -> Iterator[tuple[str, int, int]]:
    """Attributes of the receiver that a method writes, or mentions at all."""
    receiver = function.params[0].name if function.params else "self"
    for node in walk(function.fn.body):
        targets: tuple[Node, ...] = ()
        if not written:
            targets = (node,)
        elif node[0] == "assign":
            targets = node[3]
        elif node[0] == "aug":
            targets = (node[3],)
        for target in targets:
            if target[0] == "attr" and target[3][:1] == ("name",) and target[3][3] == receiver:
                yield target[4], target[1], target[2]


def _check_names(program: Program, module: Module, frame: Frame, found: Local) -> None:
    """Lambdas and partials that are made workflows or activities, and sandboxes switched off."""
    for node in walk(module.tree.body):
        if node[0] == "class":
            for decorator in node[3][4]:
                if decorator[0] == "call":
                    _check_sandbox(decorator, module, found)
        if node[0] != "call" or not node[4] or node[3][0] not in ("name", "attr"):
            continue
        value = node[4][0][2]
        partial = value[0] == "call" and frame.eval(value[3]) == of("ext", "functools.partial")
        if value[0] != "lambda" and not partial:
            continue
        for kind in frame.eval(node[3]).types:
            symbol = program.adapters.symbol(kind[1]) if kind[0] == "ext" else None
            if symbol is not None and symbol.role in _REGISTERING:
                shown = frame.shown(value)
                found.append((Event("WFL705", module.name, value[1], value[2], shown), ""))


def _check_sandbox(decorator: Node, module: Module, found: Local) -> None:
    for _, keyword, value in decorator[4]:
        if keyword == "sandboxed" and value[0] == "const" and value[4] is False:
            event = Event("WFL619", module.name, value[1], value[2], "sandboxed=False")
            found.append((event, ""))


_REGISTERING: Final = frozenset({"workflow", "activity", "register", "register-activity"})


def check_module(program: Program, module: Module, found: Local) -> None:
    """What a module that defines workflows does when it is loaded."""
    if not any(
        root.function.module is module and root.kind != "activity" for root in program.roots
    ):
        return
    frame = Frame.for_module(program, module)
    _check_names(program, module, frame, found)
    mains = [(s[1], s[2]) for s in module.tree.body if s[0] == "if" and _is_main(s[3])]
    for statement in each_statement(module.tree.body):
        if statement[0] == "if" and _is_main(statement[3]):
            continue
        if any(start <= statement[1] and statement[2] <= end for start, end in mains):
            continue
        for node in _calls_of(statement):
            callee = frame.eval(node[3]) if node[3][0] in ("name", "attr") else UNKNOWN
            for kind in callee.types:
                effect = program.effects.lookup(kind[1]) if kind[0] == "ext" else None
                if effect is not None and effect.code in _AT_IMPORT and _runs(kind[1]):
                    event = Event("WFL512", module.name, node[1], node[2], kind[1])
                    found.append((event, ""))
        if statement[0] in ("assign", "aug"):
            targets = statement[3] if statement[0] == "assign" else (statement[3],)
            for target in targets:
                if target[0] == "sub" and _is_environment(frame.eval(target[3])):
                    event = Event("WFL512", module.name, target[1], target[2], "os.environ[…] =")
                    found.append((event, ""))


def _runs(name: str) -> bool:
    """Whether calling a name does something: making an object for later use does not."""
    last = name.rpartition(".")[2]
    return not last[:1].isupper()


def _is_environment(value: Value) -> bool:
    return any(kind[0] == "ext" and kind[1] == "os.environ" for kind in value.types)


def _calls_of(statement: Node) -> list[Node]:
    if statement[0] not in ("expr", "assign", "ann"):
        return []
    return [
        node
        for node in walk(statement[3:])
        if node[0] == "call" and not _in_lambda(statement, node)
    ]


def _in_lambda(statement: Node, node: Node) -> bool:
    return any(
        one[0] == "lambda" and one[1] <= node[1] and node[2] <= one[2]
        for one in walk(statement[3:])
    )


def _is_main(test: Node) -> bool:
    return bool(test[0] == "cmp" and test[3][:1] == ("name",) and test[3][3] == "__name__")
