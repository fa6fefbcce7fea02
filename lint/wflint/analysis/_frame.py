"""Statements: what running a function does.

PYTEST_DONT_REWRITE
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from ..syntax import Node
from ._base import INSENSITIVE, LOGGED, Env
from ._events import CONTROL, LOG, PAYLOAD, STATE
from ._modules import Function, Module
from ._shapes import (
    changes_something,
    is_type_checking,
    leaves,
    leaves_loop,
    mentions,
    only_logs,
    order_free,
    raises_always,
    single_name,
)
from ._statements import Statements
from ._values import (
    NONE,
    UNKNOWN,
    Type,
    Value,
    elements_of,
    join,
    of,
    tainted,
)

if TYPE_CHECKING:
    from ._program import Context, Program

_PASSES: Final = 3
"""Times that a loop's body is looked at, until its variables are known."""


_CANCELLATION: Final = frozenset(
    {
        *("builtins.BaseException", "asyncio.CancelledError", "asyncio.exceptions.CancelledError"),
        *("concurrent.futures.CancelledError", "builtins.GeneratorExit"),
    }
)


class Frame(Statements):
    """A function being run, or a module whose names are evaluated."""

    @classmethod
    def for_module(cls, program: Program, module: Module, parent: Function | None = None) -> Frame:
        """A frame that only evaluates names, as seen from a module or from within a function."""
        frame = cls(program, module, None, None)
        frame.parent = parent
        return frame

    # --- running

    def run(self) -> None:
        """Runs the context's function."""
        function, context = self.function, self.context
        if function is None or context is None:
            return
        self._bind_parameters(function, context)
        if function.fn.captured:
            self.publish_environment()
        self.block(function.fn.body)
        if self.alive:
            self._returned(NONE, None)

    def _bind_parameters(self, function: Function, context: Context) -> None:
        frame = self.for_module(self.program, function.module, function.parent)
        for place, param in enumerate(function.params):
            given = context.args[place] if place < len(context.args) else _ABSENT
            value = given
            if given.types == _ABSENT.types:
                value = UNKNOWN
                if param.default is not None and not context.is_root:
                    value = frame.eval(param.default)
                    self._check_default(param.default, value, function)
            if place == 0 and function.owner is not None and not value.types:
                value = of("inst", function.owner)
            if place == 0 and context.is_root and context.adapter.context_types:
                if param.annotation is None or not frame.annotation(param.annotation).types:
                    value = of("xinst", context.adapter.context_types[0])
            if not [kind for kind in value.types if kind[0] != "none"]:
                if param.annotation is not None:
                    value = join(value, frame.annotation(param.annotation))
            if param.kind == "*":
                value = Value((("tuple",),), value.sources, value.element or _bare(value))
            elif param.kind == "**":
                value = Value((("odict",),), value.sources, value.element or _bare(value))
            self.env[param.name] = value

    def _check_default(self, node: Node, value: Value, function: Function) -> None:
        """A default that is evaluated once in each process."""
        if value.sources and self.reports:
            first = self.program.sources[value.sources[0]]
            self.emit("WFL504", node[1], node[2], first.symbol, "ambient", severity="error")

    def block(self, statements: tuple[Node, ...]) -> None:
        """Runs statements, until one leaves."""
        for statement in statements:
            if not self.alive:
                return
            way = _WAYS.get(statement[0])
            if way is not None:
                way(self, statement)

    # --- compound statements

    def on_if(self, node: Node) -> None:
        test_node = node[3]
        if is_type_checking(test_node):
            self.block(node[5])
            return
        test = self.eval(test_node)
        flags = [kind for kind in test.types if kind[0] in ("replaying", "inside")]
        if flags and flags[0][0] == "inside":
            self.block(node[4] if flags[0][1] else node[5])
            return
        before = dict(self.env)
        before_issued = self.issued
        singletons = set(self.singletons)
        alone = single_name(test_node)
        replaying = bool(flags)
        live_only = replaying and not flags[0][1]
        self.narrow(test_node)
        if alone is not None and not alone[1]:
            self.singletons.add(alone[0])
        self.quiet += int(live_only)
        self.branches += 1
        self.block(node[4])
        self.quiet -= int(live_only)
        first = self.env if self.alive else None
        self.singletons = set(singletons)
        self.env, self.alive = dict(before), True
        if alone is not None and alone[1]:
            self.singletons.add(alone[0])
        self.quiet += int(replaying and not live_only)
        self.block(node[5])
        self.branches -= 1
        self.quiet -= int(replaying and not live_only)
        if first is not None:
            second = self.env if self.alive else None
            self.env, self.alive = _merge(first, second), True
            self.singletons = singletons
        issued = self.issued != before_issued
        self._branched(node, test, issued=issued)
        if replaying and self.reports and (issued or changes_something(node)):
            self.emit("WFL610", test_node[1], test_node[2], self.shown(test_node))

    def _branched(self, node: Node, test: Value, *, issued: bool) -> None:
        """Where a condition ends up, by what depends on it."""
        if not test.sources:
            return
        bodies = (*node[4], *node[5]) if node[0] == "if" else node[4]
        if issued or leaves(bodies):
            self.sink(test, CONTROL)
        elif changes_something(node):
            self.sink(test, STATE)
        else:
            self.sink(test, LOG)

    def narrow(self, test: Node) -> None:
        """``isinstance(x, set)`` says what ``x`` is."""
        if test[0] == "bool" and test[3] == "and":
            self.narrow(test[4])
            self.narrow(test[5])
            return
        if test[0] != "call" or test[3][:1] != ("name",) or test[3][3] != "isinstance":
            return
        arguments = test[4]
        if len(arguments) != 2 or arguments[0][2][0] != "name":
            return
        name, kinds = arguments[0][2][3], arguments[1][2]
        wanted = [kinds] if kinds[0] != "tuple" else list(kinds[3])
        found = UNKNOWN
        for one in wanted:
            if one[0] not in ("name", "attr"):
                return
            found = join(found, self.annotation(one))
        old = self.env.get(name)
        if old is None or not found.types:
            return
        tags = {kind[0] for kind in found.types}
        kept = tuple(kind for kind in old.types if _same_kind(kind, tags))
        self.env[name] = old._replace(types=kept or found.types)

    def on_for(self, node: Node) -> None:
        target, iterable, body, orelse, _ = node[3:8]
        filled = order_free(body)
        if filled is not None:
            value = self.eval_relaxed(iterable, INSENSITIVE if self.relaxed is None else None)
            if value.has("set"):
                orders = self.dict_orders
                if filled:
                    self.dict_orders = orders + self.dict_order(iterable, value)
                self._loop(node, target, value, body, orelse)
                self.dict_orders = orders
                return
            value = self.iterate(iterable, value, "WFL101", "a loop")
        else:
            before = self.relaxed
            if before is None and only_logs(body):
                self.relaxed = LOGGED
            value = self.iterated(iterable, "WFL101", "a loop")
            self.relaxed = before
        orders = self.dict_orders
        if value.order:
            self.dict_orders = orders + value.order
        self._loop(node, target, value, body, orelse)
        self.dict_orders = orders
        if iterable[0] == "call" and self.shown(iterable).startswith("itertools.count"):
            self._check_endless(node, body)

    def _loop(
        self,
        node: Node,
        target: Node,
        value: Value,
        body: tuple[Node, ...],
        orelse: tuple[Node, ...],
    ) -> None:
        before_issued = self.issued
        element = elements_of(value)
        self.loops += 1
        self.breaks.append([])
        before = dict(self.env)
        for _ in range(_PASSES if self.loops < 2 else 2):
            start = dict(self.env)
            self.bind(target, element)
            self.block(body)
            after = self.env if self.alive else start
            self.alive = True
            self.env = _merge(start, after)
            if self.env == start:
                break
        self.loops -= 1
        broken = self.breaks.pop()
        self.env = _merge(self.env, before)
        self.block(orelse)
        for env in broken:
            self.env = _merge(self.env, env) if self.alive else env
            self.alive = True
        if value.sources and self.context is not None:
            issued = self.issued != before_issued
            shallow = Value((), value.sources)
            self.sink(shallow, CONTROL if issued else STATE)

    def on_while(self, node: Node) -> None:
        test_node, body, orelse = node[3], node[4], node[5]
        commands = 0 if self.context is None else self.context.commands
        continues = self.context is not None and self.context.continues
        if self.context is not None:
            self.context.commands = 0
            self.context.continues = False
        self.loops += 1
        self.breaks.append([])
        test = UNKNOWN
        before = dict(self.env)
        for _ in range(_PASSES if self.loops < 2 else 2):
            start = dict(self.env)
            test = self.eval(test_node)
            self.narrow(test_node)
            self.block(body)
            after = self.env if self.alive else start
            self.alive = True
            self.env = _merge(start, after)
            if self.env == start:
                break
        self.loops -= 1
        broken = self.breaks.pop()
        endless = test_node[0] == "const" and bool(test_node[4])
        context = self.context
        if context is not None:
            issued = context.commands > 0
            if endless and issued and not context.continues:
                self._check_endless(node, body)
            context.commands = min(2, commands + context.commands)
            context.continues = context.continues or continues
            self._branched(node, test, issued=issued)
        self.env = _merge(self.env, before)
        if endless:
            self.alive = bool(broken)
            if broken:
                self.env = broken[0]
                broken = broken[1:]
        else:
            self.block(orelse)
        for env in broken:
            self.env = _merge(self.env, env) if self.alive else env
            self.alive = True

    def _check_endless(self, node: Node, body: tuple[Node, ...]) -> None:
        """A loop without end that issues commands: its history only grows."""
        if self.reports and not leaves_loop(body):
            self.emit("WFL605", node[1], node[1] + 5, self.shown(node)[:20])

    def on_break(self, node: Node) -> None:
        if self.breaks:
            self.breaks[-1].append(dict(self.env))
        self.alive = False

    def on_continue_loop(self, node: Node) -> None:
        if self.breaks:
            self.breaks[-1].append(dict(self.env))
        self.alive = False

    def on_try(self, node: Node) -> None:
        body, handlers, orelse, final = node[3:7]
        before = dict(self.env)
        suspended = self.context is not None and self.context.suspends
        if self.context is not None:
            self.context.suspends = False
        catches = any(
            kind is None or self._catches(kind, _CATCH_ALL) for _, _, kind, _, _ in handlers
        )
        within = self.within
        if catches:
            self.within = (*within, "caught")
        self.block(body)
        self.within = within
        suspends = self.context is not None and self.context.suspends
        if self.context is not None:
            self.context.suspends = suspended or suspends
        ends: list[Env] = []
        middle = _merge(before, self.env)
        if self.alive:
            self.block(orelse)
            if self.alive:
                ends.append(self.env)
        for handler in handlers:
            self._handle(handler, middle, ends, suspends=suspends)
        self.alive = bool(ends)
        self.env = ends[0] if ends else middle
        for env in ends[1:]:
            self.env = _merge(self.env, env)
        if final:
            alive, self.alive = self.alive, True
            self.within = (*within, "finally")
            self.block(final)
            self.within = within
            self.alive = alive and self.alive

    def _handle(self, handler: Node, middle: Env, ends: list[Env], *, suspends: bool) -> None:
        start, _, kind, name, body = handler
        self.env, self.alive = dict(middle), True
        if name is not None:
            self.env[name] = UNKNOWN
        swallows = kind is None or self._catches(kind, _CANCELLATION)
        if swallows and suspends and self.reports and not raises_always(body):
            if not mentions(body, "is_cancelled_exception"):
                shown = "except" if kind is None else f"except {self.shown(kind)}"
                span = (start, start + 6) if kind is None else (kind[1], kind[2])
                self.emit("WFL604", *span, shown)
        self.block(body)
        if self.alive:
            ends.append(self.env)

    def _catches(self, kind: Node, names: frozenset[str]) -> bool:
        nodes = list(kind[3]) if kind[0] == "tuple" else [kind]
        for node in nodes:
            for found in self.eval(node).types:
                if found[0] == "ext" and found[1] in names:
                    return True
        return False

    def on_with(self, node: Node) -> None:
        suspended = self.context is not None and self.context.suspends
        if self.context is not None:
            self.context.suspends = False
        suppresses = False
        for item, target in node[3]:
            value = self.eval(item)
            entered = self._entered(value, item, is_async=node[5])
            for kind in value.types:
                if kind[0] == "suppress" and any(name in _CANCELLATION for name in kind[1]):
                    suppresses = True
            if target is not None:
                self.bind(target, entered)
        self.block(node[4])
        if self.context is not None:
            if suppresses and self.context.suspends and self.reports:
                item = node[3][0][0]
                self.emit("WFL604", item[1], item[2], self.shown(item))
            self.context.suspends = self.context.suspends or suspended
        if suppresses:
            self.alive = True

    def _entered(self, value: Value, node: Node, *, is_async: bool) -> Value:
        found = UNKNOWN
        for kind in value.types:
            if kind[0] == "inst":
                names = ("__aenter__", "__aexit__") if is_async else ("__enter__", "__exit__")
                for place, name in enumerate(names):
                    method = self.attribute(Value((kind,)), name, None)
                    if method.types:
                        result = self.call_value(method, [], node)
                        if place == 0:
                            found = join(found, self.awaited(result) if is_async else result)
            elif kind[0] == "iter":
                found = join(found, value.element or UNKNOWN)
            else:
                found = join(found, Value((kind,), value.sources, value.element))
        return tainted(found, value.sources)

    def on_match(self, node: Node) -> None:
        subject = self.eval(node[3])
        before = dict(self.env)
        before_issued = self.issued
        ends: list[Env] = [before]
        for names, classes, guard, body in node[4]:
            self.env, self.alive = dict(before), True
            for name in names:
                self.assign_local(name, Value((), subject.sources))
            for one in classes:
                self.eval(one)
            if guard is not None:
                self.sink(self.eval(guard), CONTROL)
            self.block(body)
            if self.alive:
                ends.append(self.env)
        self.alive = True
        self.env = ends[0]
        for env in ends[1:]:
            self.env = _merge(self.env, env)
        if subject.sources and self.context is not None:
            issued = self.issued != before_issued
            self.sink(Value((), subject.sources), CONTROL if issued else STATE)


def _bare(value: Value) -> Value | None:
    return value if value.types or value.sources else None


def _merge(first: Env, second: Env | None) -> Env:
    if second is None or first is second:
        return first
    found = dict(first)
    for name, value in second.items():
        old = found.get(name)
        if old is not value:
            found[name] = value if old is None else join(old, value)
    return found


def _same_kind(kind: Type, tags: set[str]) -> bool:
    return (
        kind[0] in tags
        or (kind[0] == "lit" and "str" in tags)
        or (kind[0] == "odict" and "dict" in tags)
        or (kind[0] == "tup" and "tuple" in tags)
    )


_CATCH_ALL: Final = frozenset({"builtins.BaseException"})
_ABSENT: Final = Value((("absent",),))

_WAYS: Final[dict[str, Callable[[Any, Node], None]]] = {
    "expr": Frame.on_expr,
    "assign": Frame.on_assign,
    "ann": Frame.on_ann,
    "aug": Frame.on_aug,
    "return": Frame.on_return,
    "raise": Frame.on_raise,
    "del": Frame.on_del,
    "assert": Frame.on_assert,
    "import": Frame.on_import,
    "from": Frame.on_from,
    "def": Frame.on_def,
    "class": Frame.on_class,
    "if": Frame.on_if,
    "for": Frame.on_for,
    "while": Frame.on_while,
    "break": Frame.on_break,
    "continue": Frame.on_continue_loop,
    "try": Frame.on_try,
    "with": Frame.on_with,
    "match": Frame.on_match,
}

__all__ = ["PAYLOAD", "Frame"]
