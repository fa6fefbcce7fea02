"""Statements: what running a function does.

PYTEST_DONT_REWRITE
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from ..syntax import Node
from ._base import INSENSITIVE, Arg, Env
from ._calls import Calls
from ._events import CONTROL, LOG, PAYLOAD, STATE
from ._modules import Class, Function, Module, each_statement, walk
from ._mutations import check_mutation
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

_EXITS: Final = frozenset({"return", "raise", "break", "continue"})

_CANCELLATION: Final = frozenset(
    {
        *("builtins.BaseException", "asyncio.CancelledError", "asyncio.exceptions.CancelledError"),
        *("concurrent.futures.CancelledError", "builtins.GeneratorExit"),
    }
)


class Frame(Calls):
    """A function being run, or a module whose names are evaluated."""

    def __init__(
        self,
        program: Program,
        module: Module,
        function: Function | None,
        context: Context | None,
    ) -> None:
        super().__init__(program, module, function, context)
        self.singletons: set[str] = set()
        self.within: tuple[str, ...] = ()

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

    # --- simple statements

    def on_expr(self, node: Node) -> None:
        value = self.eval(node[3])
        if self.reports:
            self._check_dropped(node[3], value)

    def _check_dropped(self, node: Node, value: Value) -> None:
        """An expression statement whose value was worth having."""
        if node[0] != "call":
            return
        if value.has("detached"):
            return
        if value.has("task"):
            self.emit("WFL405", node[1], node[2], self.shown(node[3]))
        elif value.has("cmd", "coro"):
            adapter = self.adapter
            generator = adapter is not None and adapter.style == "generator"
            code = "WFL614" if generator else "WFL602"
            self.emit(code, node[1], node[2], self.shown(node[3]))
        elif value.has("bool") and "patched" in self.shown(node[3]):
            symbols = [kind[1] for kind in self.eval(node[3]).types if kind[0] == "ext"]
            for name in symbols:
                symbol = self.program.adapters.symbol(name)
                if symbol is not None and symbol.role == "patched" and "deprecate" not in name:
                    self.emit("WFL612", node[1], node[2], name, "is asked for, and nothing follows")

    def on_assign(self, node: Node) -> None:
        value = self.eval(node[4])
        for target in node[3]:
            if target[0] in ("tuple", "list") and value.has("set"):
                value = self.iterate(node[4], value, "WFL102", "unpacking")
            if target[0] == "name" and target[3].startswith("_") and target[3].strip("_") == "":
                self._check_dropped(node[4], value)
            self.bind(target, value)

    def on_ann(self, node: Node) -> None:
        declared = self.annotation(node[4])
        if node[5] is None:
            if node[3][0] == "name" and self.function is not None:
                self.assign_local(node[3][3], declared)
            return
        value = self.eval(node[5])
        if not [kind for kind in value.types if kind[0] != "none"]:
            value = join(value, declared)
        elif value.element is None and declared.element is not None:
            value = value._replace(element=declared.element)
        self.bind(node[3], value)

    def on_aug(self, node: Node) -> None:
        target, operator, value_node = node[3], node[4], node[5]
        if target[0] == "name":
            old = self.lookup(target[3])
            binary = ("bin", node[1], node[2], operator, target, value_node)
            value = self.eval(binary)
            if old.has("list") and operator == "+":
                added = self.iterated(value_node, "WFL102", "a list")
                value = Value(
                    old.types,
                    tuple(dict.fromkeys(old.sources + added.sources)),
                    join(old.element or UNKNOWN, elements_of(added)),
                    tuple(dict.fromkeys(old.order + added.order)),
                )
            if old.origin is not None and old.has("list", "dict", "odict", "set"):
                check_mutation(self, node, target, f"{operator}=")
            self._name_assigned(target[3], node)
            self.assign_local(target[3], value)
            return
        value = tainted(self.eval(target), self.eval_strict(value_node).sources)
        self.assign_into(target, value)

    def bind(self, target: Node, value: Value) -> None:
        """Assigns to a target."""
        if target[0] == "name":
            self._name_assigned(target[3], target)
            self.singletons.discard(target[3])
        super().bind(target, value)

    def _name_assigned(self, name: str, node: Node) -> None:
        """A name that belongs to somebody else."""
        function = self.function
        if function is None or name in function.fn.local_names:
            return
        outer = function.parent
        while outer is not None:
            if name in outer.fn.local_names:
                if self.mode in ("query", "validator"):
                    self.emit("WFL609", node[1], node[2], name, "changes it")
                elif self.mode == "predicate":
                    self.emit("WFL608", node[1], node[2], name, "changes it")
                elif self.mode == "side":
                    self.emit("WFL505", node[1], node[2], name)
                return
            outer = outer.parent
        if name in self.module.bindings or _declares_global(function, name):
            if self.reports:
                self.emit("WFL501", node[1], node[2], name, "global")

    def assign_local(self, name: str, value: Value) -> None:
        """Binds a variable, of this function or of the one around it."""
        function = self.function
        if function is not None and name not in function.fn.local_names:
            outer = function.parent
            while outer is not None:
                if name in outer.fn.local_names:
                    self.program.write(self.program.cell("local", outer.label, name), value)
                    return
                outer = outer.parent
            if _declares_global(function, name) and self.context is not None:
                key = ("global", self.module.name, name)
                self.program.write(self.program.cell(*key), value.anonymous)
                return
        super().assign_local(name, value)

    def assign_into(self, target: Node, value: Value) -> None:
        """Assigns to an attribute or an item."""
        if target[0] == "sub":
            self._assign_item(target, value)
            return
        if target[0] != "attr":
            return
        owner = self.eval(target[3])
        for kind in owner.types:
            if kind[0] in ("inst", "super"):
                cls: Class = kind[1]
                self._attribute_assigned(cls, target, value)
            elif kind[0] == "cls":
                if self.reports:
                    code = "WFL503" if self._own_class(kind[1]) else "WFL509"
                    self.emit(code, target[1], target[2], f"{kind[1].cls.name}.{target[4]}")
            elif kind[0] == "mod" and self.reports:
                project = self.program.module(kind[1]) is not None
                code = "WFL501" if project else "WFL509"
                self.emit(code, target[1], target[2], self.shown(target))
            elif kind[0] == "ext" and self.reports:
                last = kind[1].rpartition(".")[2]
                code = "WFL509" if last[:1].isupper() else "WFL501"
                self.emit(code, target[1], target[2], self.shown(target))
        if owner.origin is not None and owner.has("inst", "xinst") and self.reports:
            self.emit("WFL501", target[1], target[2], self.shown(target), "global")
        elif self.mode in ("query", "validator", "predicate", "side"):
            check_mutation(self, target, target, "=")

    def _own_class(self, cls: Class) -> bool:
        function = self.function
        return function is not None and function.owner is cls

    def _attribute_assigned(self, cls: Class, target: Node, value: Value) -> None:
        cell = self.program.cell("attr", cls.module.name, cls.cls.start, target[4])
        if self.context is not None:
            self.program.write(cell, value.anonymous)
            self.sink(value, STATE)

    def _assign_item(self, target: Node, value: Value) -> None:
        index = self.eval_strict(target[4])
        owner = target[3]
        self.eval(owner)
        if owner[0] == "name":
            old = self.env.get(owner[3])
            if old is not None and old.has("dict", "odict", "list"):
                element = join(old.element or UNKNOWN, value.anonymous)
                order = old.order
                if self.dict_orders and old.has("odict", "dict"):
                    order = tuple(dict.fromkeys(order + self.dict_orders))
                new = old._replace(element=element, order=order)
                new = tainted(new, tuple(dict.fromkeys(value.sources + index.sources)))
                if new != old:
                    super().assign_local(owner[3], new)
        elif owner[0] == "attr":
            for kind in self.eval(owner[3]).types:
                if kind[0] == "inst":
                    base = self.eval(owner)
                    order = tuple(dict.fromkeys(base.order + self.dict_orders))
                    inner = Value((), value.sources, value.anonymous, order)
                    self._attribute_assigned(kind[1], owner, inner)
        check_mutation(self, target, owner, "[…]=")

    dict_orders: tuple[int, ...] = ()
    """Orders in which a loop around runs, that a dictionary filled in it takes over."""

    def on_return(self, node: Node) -> None:
        value = NONE if node[3] is None else self.eval(node[3])
        self._returned(value, node[3])
        self.alive = False

    def _returned(self, value: Value, node: Node | None) -> None:
        context = self.context
        if context is None:
            return
        context.result = join(context.result, value.anonymous)
        if context.is_root:
            self.sink(value, LOG if self.mode == "query" else STATE)
            if node is not None and self.mode == "workflow" and value.has("set"):
                self.payload(Arg("", None, node, value))

    def on_raise(self, node: Node) -> None:
        for part in node[3:]:
            if part is not None:
                value = self.eval(part)
                self.sink(value, STATE)
        if node[3] is not None:
            names = [k[1] for k in self.eval(node[3]).types if k[0] in ("ext", "xinst")]
            if names and names[0].startswith("builtins."):
                self._check_failure(node, f"raise {names[0].removeprefix('builtins.')}")
        self.alive = False

    def _check_failure(self, node: Node, shown: str) -> None:
        """Something that ends the task, and not the workflow."""
        adapter = self.adapter
        if adapter is not None and adapter.failures and not self.within:
            self.emit("WFL617", node[1], node[2], shown)

    def on_del(self, node: Node) -> None:
        target = node[3]
        if target[0] == "sub":
            self.eval(target[3])
            check_mutation(self, target, target[3], "del")
        elif target[0] == "name":
            self.env.pop(target[3], None)

    def on_assert(self, node: Node) -> None:
        test = self.eval(node[3])
        self.sink(test, CONTROL)
        self._check_failure(node, "assert")
        self.narrow(node[3])

    def on_import(self, node: Node) -> None:
        for dotted, asname in node[3]:
            name = asname or dotted.partition(".")[0]
            self.env[name] = self.program.module_value(dotted if asname else name)
        self._imported(node)

    def on_from(self, node: Node) -> None:
        for name, asname in () if node[5] == "*" else node[5]:
            value = self.imported_name(node, name)
            self.assign_local(asname or name, value)
        self._imported(node)

    def _imported(self, node: Node) -> None:
        if self.reports:
            self.emit("WFL507", node[1], node[2], self.shown(node))

    def imported_name(self, node: Node, name: str) -> Value:
        """What ``from … import name`` gives."""
        source = self.program.absolute(self.module, node[3], node[4])
        return self.program.member_of_module(source, name, self.context)

    def on_def(self, node: Node) -> None:
        value = self.defined(node)
        self.assign_local(node[3][0], value)

    def defined(self, node: Node) -> Value:
        """A function definition, with its decorators."""
        function = self.module.function(node[3], self.qualname(node[3][0]), None, self.parent)
        return self.decorated(function)

    def decorated(self, function: Function) -> Value:
        """A function as its decorators leave it."""
        value = of("fn", function)
        for decorator in reversed(function.fn.decorators):
            maker = self.eval(decorator)
            names = [kind[1] for kind in maker.types if kind[0] == "ext"]
            known = [name for name in names if self.program.adapters.symbol(name) is not None]
            if known:
                value = self.call_value(maker, [Arg("", None, None, value)], decorator)
            elif any(name in ("functools.cache", "functools.lru_cache") for name in names):
                value = Value(tuple(("cached", kind) for kind in value.types))
            elif maker.has("fn", "bound", "inst"):
                # What is handed in stays apart from what others hand in: only what the
                # decorator puts around it is asked for here.
                around = self.call_value(maker, [Arg("", None, None, UNKNOWN)], decorator)
                if around.has("fn", "bound"):
                    value = join(value, around)
        return value

    def on_class(self, node: Node) -> None:
        cls = self.module.class_(node[3], self.qualname(node[3][0]), self.parent)
        self.assign_local(node[3][0], of("cls", cls))

    def binding_value(self, statement: Node, name: str) -> Value:
        """What a statement of a module or class makes of a name."""
        tag = statement[0]
        if tag == "def":
            return self.defined(statement)
        if tag == "class":
            return of("cls", self.module.class_(statement[3], self.qualname(name), self.parent))
        if tag == "import":
            for dotted, asname in statement[3]:
                if (asname or dotted.partition(".")[0]) == name:
                    return self.program.module_value(dotted if asname else name)
        if tag == "from":
            for one, asname in statement[5]:
                if (asname or one) == name:
                    return self.imported_name(statement, one)
        if tag == "assign":
            value = self.eval(statement[4])
            for target in statement[3]:
                self.bind(target, value)
            return self.env.get(name, UNKNOWN)
        if tag == "ann":
            value = UNKNOWN if statement[5] is None else self.eval(statement[5])
            if not [kind for kind in value.types if kind[0] != "none"]:
                value = join(value, self.annotation(statement[4]))
            return value
        if tag == "type":
            return of("alias", statement[4])
        return UNKNOWN

    # --- compound statements

    def on_if(self, node: Node) -> None:
        test_node = node[3]
        if _is_type_checking(test_node):
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
        alone = _single_name(test_node)
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
        if replaying and self.reports and (issued or _changes_something(node)):
            self.emit("WFL610", test_node[1], test_node[2], self.shown(test_node))

    def _branched(self, node: Node, test: Value, *, issued: bool) -> None:
        """Where a condition ends up, by what depends on it."""
        if not test.sources:
            return
        bodies = (*node[4], *node[5]) if node[0] == "if" else node[4]
        if issued or _leaves(bodies):
            self.sink(test, CONTROL)
        elif _changes_something(node):
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
        filled = _order_free(body)
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
            value = self.iterated(iterable, "WFL101", "a loop")
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
        if self.reports and not _leaves_loop(body):
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
        if swallows and suspends and self.reports and not _raises_always(body):
            if not _mentions(body, "is_cancelled_exception"):
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


def _declares_global(function: Function, name: str) -> bool:
    return any(s[0] == "global" and name in s[3] for s in each_statement(function.fn.body))


def _is_type_checking(test: Node) -> bool:
    if test[0] == "name":
        return bool(test[3] == "TYPE_CHECKING")
    return bool(test[0] == "attr" and test[4] == "TYPE_CHECKING")


def _single_name(test: Node) -> tuple[str, bool] | None:
    """``len(x) != 1`` (or ``== 1``) as the name and whether it is one *after* the ``if``."""
    if test[0] != "cmp" or len(test[4]) != 1:
        return None
    operator, right = test[4][0]
    left = test[3]
    if right[:1] != ("const",) or right[4] != 1 or left[0] != "call" or len(left[4]) != 1:
        return None
    if left[3][:1] != ("name",) or left[3][3] != "len" or left[4][0][2][0] != "name":
        return None
    if operator in ("!=", ">", "=="):
        return left[4][0][2][3], operator != "=="
    return None


def _leaves(body: tuple[Node, ...]) -> bool:
    return any(statement[0] in _EXITS for statement in each_statement(body))


def _leaves_loop(body: tuple[Node, ...]) -> bool:
    """Whether a loop's body can end the loop; breaks of inner loops do not."""
    for statement in body:
        tag = statement[0]
        if tag in ("return", "raise", "break"):
            return True
        if tag == "if" and (_leaves_loop(statement[4]) or _leaves_loop(statement[5])):
            return True
        if tag in ("for", "while"):
            inner = (*statement[4], *statement[5]) if tag == "while" else statement[5]
            if any(s[0] in ("return", "raise") for s in each_statement(tuple(inner))):
                return True
        if tag == "try":
            handled = [s for handler in statement[4] for s in handler[4]]
            parts = (*statement[3], *handled, *statement[5], *statement[6])
            if _leaves_loop(parts):
                return True
        if tag == "with" and _leaves_loop(statement[4]):
            return True
        if tag == "match" and any(_leaves_loop(case[3]) for case in statement[4]):
            return True
    return False


def _raises_always(body: tuple[Node, ...]) -> bool:
    """Whether every way through a block ends in ``raise``."""
    for statement in body:
        tag = statement[0]
        if tag == "raise":
            return True
        if tag == "if" and _raises_always(statement[4]) and _raises_always(statement[5]):
            return True
        if tag == "try" and (_raises_always(statement[6]) or _raises_always(statement[3])):
            return True
        if tag == "with" and _raises_always(statement[4]):
            return True
    return False


def _changes_something(node: Node) -> bool:
    """Whether a statement's body assigns, or leaves."""
    bodies = (*node[4], *node[5])
    return any(
        statement[0] in ("assign", "aug", "ann", "del") or statement[0] in _EXITS
        for statement in each_statement(bodies)
    )


def _mentions(body: tuple[Node, ...], name: str) -> bool:
    return any(
        (node[0] == "attr" and node[4] == name) or (node[0] == "name" and node[3] == name)
        for node in walk(body)
    )


def _order_free(body: tuple[Node, ...]) -> bool | None:
    """Whether a loop's body gives the same in any order: ``True`` when it fills dictionaries,
    ``False`` when it does not even that, ``None`` when its order matters."""
    fills = False
    for statement in body:
        tag = statement[0]
        if tag in ("pass", "continue"):
            continue
        if tag == "expr" and statement[3][0] == "const":
            continue
        if tag == "expr" and statement[3][0] == "call" and statement[3][3][0] == "attr":
            if statement[3][3][4] in ("add", "discard", "update") and not _awaits(statement):
                continue
            return None
        if tag == "aug" and statement[4] in ("+", "|", "&") and statement[5][0] == "const":
            continue
        if tag == "assign" and all(target[0] == "sub" for target in statement[3]):
            if _awaits(statement):
                return None
            fills = True
            continue
        if tag == "if" and not _awaits(statement[3]):
            bodies: list[Any] = [statement[4], statement[5]]
            inner = [_order_free(one) for one in bodies]
            if None in inner:
                return None
            fills = fills or any(inner)
            continue
        return None
    return fills


def _awaits(node: Node) -> bool:
    return any(one[0] in ("await", "yield", "yieldfrom") for one in walk(node))


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
