"""Simple statements, definitions, and what they make of names.

PYTEST_DONT_REWRITE
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..syntax import Node
from ._base import Arg
from ._calls import Calls
from ._events import CONTROL, LOG, STATE, Event
from ._modules import Class, Function, Module, bound_names, each_statement
from ._mutations import check_mutation
from ._shapes import declares_global, is_only_logged
from ._values import NONE, UNKNOWN, Value, elements_of, join, of, tainted

if TYPE_CHECKING:
    from ._program import Context, Program


class Statements(Calls):
    """What simple statements do."""

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
        before = 0 if self.context is None else len(self.context.events)
        value = self.eval(node[4])
        if self.context is not None and len(self.context.events) > before:
            self._forgive_logged(node[3], list(self.context.events.values())[before:])
        for target in node[3]:
            if target[0] in ("tuple", "list") and value.has("set"):
                value = self.iterate(node[4], value, "WFL102", "unpacking")
            if target[0] == "name" and target[3].startswith("_") and target[3].strip("_") == "":
                self._check_dropped(node[4], value)
            self.bind(target, value)

    def _forgive_logged(self, targets: tuple[Node, ...], events: list[Event]) -> None:
        """Findings in a value that is logged and used for nothing else say so."""
        if len(targets) == 1 and targets[0][0] == "name" and self.function is not None:
            if is_only_logged(self.function, targets[0][3]):
                for event in events:
                    event.log_only = True

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
        if name in self.module.bindings or declares_global(function, name):
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
            if declares_global(function, name) and self.context is not None:
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

    def definition_in(self, function: Function, name: str) -> Value:
        """What a definition or an import in an enclosing function makes of a name."""
        found = self.parameter(function, name)
        for statement in each_statement(function.fn.body):
            if statement[0] in ("def", "class", "import", "from") and statement[5:6] != ("*",):
                if name in bound_names(statement):
                    frame = self.for_module(self.program, function.module, function)
                    value: Value = frame.binding_value(statement, name)
                    found = join(found, value)
        return found

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
