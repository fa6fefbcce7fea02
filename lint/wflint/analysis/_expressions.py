"""What expressions are.

PYTEST_DONT_REWRITE
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

from ..syntax import Node
from ._base import INSENSITIVE, LOGGED, Arg, Env
from ._events import CONTROL, Edit, Fix
from ._modules import Class, Function
from ._types import Types
from ._values import (
    BOOL,
    BYTES,
    FLOAT,
    INT,
    NONE,
    STR,
    UNKNOWN,
    Type,
    Value,
    elements_of,
    join,
    join_all,
    of,
    tainted,
)

_CONSTANTS: Final = {"int": INT, "float": FLOAT, "bool": BOOL, "none": NONE, "bytes": BYTES}
_SET_OPERATORS: Final = frozenset("|&-^")
_ADDRESSES: Final = frozenset({"fn", "bound", "iter", "coro"})
_SEQUENCES: Final = frozenset({"list", "tuple", "tup", "iter", "str", "bytes", "lit"})

_CLIENTS: Final = frozenset({"WFL302", "WFL304", "WFL401", "WFL511"})

MAYBE_SET: Final = ("set",)


class Expressions(Types):
    """Values of expressions."""

    # Set by the classes that inherit from this one.
    call: Callable[..., Value]
    call_value: Callable[..., Value]
    attribute: Callable[..., Value]

    def eval(self, node: Node) -> Value:
        """What an expression is."""
        way = _WAYS.get(node[0])
        if way is None:
            return UNKNOWN
        return way(self, node)

    def eval_relaxed(self, node: Node, relaxed: str | None) -> Value:
        """The same, for somebody who does not care for order, or only logs it."""
        before, self.relaxed = self.relaxed, relaxed
        try:
            return self.eval(node)
        finally:
            self.relaxed = before

    def eval_strict(self, node: Node) -> Value:
        """The same where order matters again."""
        if self.relaxed == INSENSITIVE:
            return self.eval_relaxed(node, None)
        return self.eval(node)

    # --- leaves

    def on_const(self, node: Node) -> Value:
        kind, value = node[3], node[4]
        if kind == "str":
            return STR if value is None else of("lit", value)
        return _CONSTANTS.get(kind, UNKNOWN)

    def on_name(self, node: Node) -> Value:
        value = self.lookup(node[3])
        if value.origin is not None and self.context is not None:
            value = self.read_global(node, value)
        if len(value.types) == 1 and value.types[0][0] == "ext":
            return self.read_external(node, value)
        return value

    def read_global(self, node: Node, value: Value) -> Value:
        """A module-level name read while a workflow runs."""
        module_name, name = value.origin or ("", "")
        if value.sources:
            first = self.program.sources[value.sources[0]]
            numbers = self.ambient("WFL224", node[1], node[2], name, first.symbol)
            value = value._replace(sources=numbers)
        for kind in value.types if self.reports else ():
            effect = self.program.effects.lookup(kind[1]) if kind[0] == "xinst" else None
            if effect is not None and effect.code in _CLIENTS:
                self.emit("WFL511", node[1], node[2], name)
        if value.has("list", "dict", "odict", "set"):
            module = self.program.module(module_name)
            writers = [] if module is None else module.written_by_functions().get(name, [])
            if writers and self.reports:
                own = self.function is not None and self.function.qualname in writers
                if not (own and len(writers) == 1):
                    self.emit(
                        "WFL502", node[1], node[2], name, ", ".join(writers[:3]), writers=writers
                    )
        return value

    def read_external(self, node: Node, value: Value) -> Value:
        """A name from outside of the project, some of which are ambient by being read."""
        name = value.types[0][1]
        effect = self.program.effects.on_read(name)
        if effect is None:
            return value
        fix = None
        numbers = self.ambient(effect.code, node[1], node[2], name, effect.hint, fix)
        return tainted(effect.result() or value, numbers)

    def on_attr(self, node: Node) -> Value:
        owner = self.eval_strict(node[3])
        return self.attribute(owner, node[4], node)

    def on_fstr(self, node: Node) -> Value:
        sources: tuple[int, ...] = ()
        order: tuple[int, ...] = ()
        for part, conversion in node[3]:
            value = self.eval(part)
            self.into_text(value, part, conversion)
            sources = tainted(UNKNOWN, sources + value.sources).sources
            order += value.order
        return Value((("str",),), _unique(sources), None, _unique(order))

    def into_text(self, value: Value, node: Node, conversion: str = "") -> None:
        """A value becomes text: sets show their order, and some objects their address."""
        if value.has("set") and self.relaxed != INSENSITIVE:
            self.set_used(node, value, "WFL102", "its text")
        for kind in value.types:
            if (kind[0] in _ADDRESSES and len(value.types) == 1) or (
                kind[0] == "inst" and len(value.types) == 1 and self._shows_address(kind[1])
            ):
                self.emit("WFL108", node[1], node[2], self.shown(node), _described(kind))

    def _shows_address(self, cls: Class) -> bool:
        names = ("__repr__", "__str__", "__format__")
        for one in self.program.mro(cls):
            if isinstance(one, str):
                return one == "builtins.object"
            if one.cls.decorators or any(name in one.members for name in names):
                return False
        return True

    def shown(self, node: Node) -> str:
        """An expression as it stands in the text, shortened."""
        text = " ".join(self.module.text[node[1] : node[2]].split())
        return text if len(text) <= 60 else f"{text[:57]}..."

    # --- operators

    def on_sub(self, node: Node) -> Value:
        owner = self.eval_strict(node[3])
        index = self.eval_strict(node[4])
        if owner.has("xinst") and self.reports:
            for kind in owner.types:
                if kind[0] == "xinst":
                    effect = self.program.effects.lookup(f"{kind[1]}.__getitem__")
                    if effect is not None and effect.code:
                        numbers = self.ambient(effect.code, node[1], node[2], kind[1], effect.hint)
                        return tainted(UNKNOWN, numbers)
        found = UNKNOWN
        for kind in owner.types:
            if kind[0] == "tup" and node[4][0] == "const" and node[4][3] == "int":
                position = node[4][4]
                if position is not None and -len(kind[1]) <= position < len(kind[1]):
                    found = join(found, kind[1][position])
                    continue
            if kind[0] == "cls" or (kind[0] == "ext" and _is_class_name(kind[1])):
                found = join(found, Value((kind,)))
            elif node[4][0] == "slice" and kind[0] in _SEQUENCES:
                element = owner.element
                plain = ("str",) if kind[0] == "lit" else kind
                found = join(found, Value((plain,), (), element, owner.order))
            elif kind[0] in ("str", "lit"):
                found = join(found, STR)
            elif kind[0] == "inst":
                method = self.attribute(Value((kind,)), "__getitem__", node)
                argument = Arg("", None, node[4], index)
                found = join(found, self.call_value(method, [argument], node))
        if owner.element is not None and node[4][0] != "slice":
            found = join(found, owner.element)
        return tainted(found, _unique(owner.sources + index.sources))

    def on_slice(self, node: Node) -> Value:
        parts = [self.eval(part) for part in node[3:] if part is not None]
        return Value((), join_all(parts).sources)

    def on_un(self, node: Node) -> Value:
        value = self.eval(node[4])
        if node[3] == "not":
            for kind in value.types:
                if kind[0] in ("replaying", "inside"):
                    return Value(((kind[0], not kind[1]),))
            return Value((("bool",),), value.sources)
        return value

    def on_bin(self, node: Node) -> Value:
        operator, left_node, right_node = node[3], node[4], node[5]
        sets = operator in _SET_OPERATORS
        keep = self.relaxed if sets or operator == "+" else None
        if self.relaxed == LOGGED:
            keep = LOGGED
        left = self.eval_relaxed(left_node, keep)
        right = self.eval_relaxed(right_node, keep)
        sources = _unique(left.sources + right.sources)
        order = _unique(left.order + right.order)
        if sets and (left.has("set", "view", "oview") or right.has("set", "view", "oview")):
            if left.has("int", "float") and not left.has("set"):
                return Value((("int",),), sources)
            element = join(elements_of(left), elements_of(right)) if operator != "-" else None
            return Value((MAYBE_SET,), sources, element or left.element)
        if sets and (left.has("dict", "odict") or right.has("dict", "odict")):
            return join(left, right)
        if operator == "%" and left.has("str", "lit"):
            self.into_text(right, right_node)
            for kind in right.types:
                if kind[0] == "tup":
                    for one in kind[1]:
                        self.into_text(one, right_node)
            return Value((("str",),), sources, None, order)
        if left.has("str", "lit") and operator in "+*":
            return Value((("str",),), sources, None, order)
        if left.has("list") and operator in "+*":
            element = join(left.element or UNKNOWN, right.element or UNKNOWN)
            return Value((("list",),), sources, element, order)
        if left.only("int", "bool") and right.only("int", "bool"):
            return Value((("float",) if operator == "/" else ("int",),), sources)
        if left.only("int", "float", "bool") and right.only("int", "float", "bool"):
            return Value((("float",),), sources)
        return Value((), sources, None, order)

    def on_bool(self, node: Node) -> Value:
        left = self.eval(node[4])
        replaying = [kind for kind in left.types if kind[0] in ("replaying", "inside")]
        right = self.eval(node[5])
        replaying += [kind for kind in right.types if kind[0] in ("replaying", "inside")]
        if replaying:
            return Value((replaying[0],), _unique(left.sources + right.sources))
        return join(left, right)

    def on_cmp(self, node: Node) -> Value:
        membership = all(operator in ("in", "not in", "is", "is not") for operator, _ in node[4])
        relaxed = INSENSITIVE if membership or self.relaxed == INSENSITIVE else self.relaxed
        values = [self.eval_relaxed(node[3], relaxed)]
        for operator, one in node[4]:
            keep = INSENSITIVE if operator in ("in", "not in", "==", "!=") else relaxed
            values.append(self.eval_relaxed(one, keep if self.relaxed != LOGGED else LOGGED))
        sources = join_all(values).sources
        if membership:
            # Identity that is only looked for among identities says nothing of addresses.
            sources = tuple(
                number for number in sources if self.program.sources[number].code != "WFL107"
            )
        return Value((("bool",),), sources)

    def on_ifexp(self, node: Node) -> Value:
        test = self.eval_strict(node[3])
        self.sink(test, CONTROL)
        return tainted(join(self.eval(node[4]), self.eval(node[5])), test.sources)

    def on_walrus(self, node: Node) -> Value:
        value = self.eval(node[4])
        self.assign_local(node[3][3], value)
        return value

    # --- displays

    def on_list(self, node: Node) -> Value:
        return self._display(node, "list")

    def on_tuple(self, node: Node) -> Value:
        starred = any(element[0] == "star" for element in node[3])
        if starred or len(node[3]) > 8:
            return self._display(node, "tuple")
        values = tuple(self.eval(element) for element in node[3])
        sources = _unique(tuple(n for value in values for n in value.sources))
        order = _unique(tuple(n for value in values for n in value.order))
        return Value((("tup", values),), sources, None, order)

    def on_set(self, node: Node) -> Value:
        before, self.relaxed = self.relaxed, INSENSITIVE
        try:
            value = self._display(node, "set")
        finally:
            self.relaxed = before
        return value._replace(order=())

    def _display(self, node: Node, tag: str) -> Value:
        element = UNKNOWN
        order: tuple[int, ...] = ()
        sources: tuple[int, ...] = ()
        for one in node[3]:
            if one[0] == "star":
                value = self.iterated(one[3], "WFL102", "a sequence")
                element = join(element, elements_of(value))
                order += value.order
            else:
                value = self.eval_strict(one) if tag != "set" else self.eval(one)
                element = join(element, value)
            sources += value.sources
        return Value(((tag,),), _unique(sources), element, _unique(order))

    def on_dict(self, node: Node) -> Value:
        element = UNKNOWN
        sources: tuple[int, ...] = ()
        order: tuple[int, ...] = ()
        tag = "odict"
        for key, value_node in node[3]:
            value = self.eval_strict(value_node)
            if key is None:
                order += value.order
                if value.has("dict"):
                    tag = "dict"
                value = value.element or UNKNOWN
            else:
                sources += self.eval_strict(key).sources
            element = join(element, value)
            sources += value.sources
        return Value(((tag,),), _unique(sources), element, _unique(order))

    def on_star(self, node: Node) -> Value:
        return self.eval(node[3])

    def on_lambda(self, node: Node) -> Value:
        owner = None if self.function is None else self.function.owner
        function = self.module.function(node[3], self.qualname("<lambda>"), owner, self.parent)
        return of("fn", function)

    def publish_environment(self) -> None:
        """Variables that a nested function may see."""
        if self.function is None:
            return
        label = self.function.label
        for name, value in self.env.items():
            self.program.write(self.program.cell("local", label, name), value)

    def on_await(self, node: Node) -> Value:
        value = self.eval_strict(node[3])
        if node[3][0] == "call" and self.reports and not value.has("coro", "cmd"):
            self._check_foreign(node[3])
        return self.awaited(value)

    def _check_foreign(self, node: Node) -> None:
        """A coroutine of somebody else's is awaited."""
        for kind in self.eval(node[3]).types:
            name = kind[1] if kind[0] == "ext" else ""
            if not name or self.program.adapters.is_opaque(name) or name.startswith("asyncio."):
                continue
            if self.program.effects.lookup(name) is None:
                self.emit("WFL407", node[1], node[2], name)

    def awaited(self, value: Value) -> Value:
        """What awaiting a value gives."""
        if self.context is not None:
            self.context.suspends = True
        found = UNKNOWN
        for kind in value.types:
            if kind[0] in ("coro", "cmd"):
                found = join(found, kind[1])
            elif kind[0] == "inst":
                method = self.attribute(Value((kind,)), "__await__", None)
                if method.types:
                    self.call_value(method, [], None)
        return tainted(found, value.sources)

    def on_yield(self, node: Node) -> Value:
        value = NONE if node[3] is None else self.eval(node[3])
        adapter = self.adapter
        if adapter is not None and adapter.style == "generator":
            if value.has("cmd", "coro"):
                return self.awaited(value)
            return UNKNOWN
        if self.context is not None and self.function is not None:
            cell = self.program.cell("yield", self.function.label)
            self.program.write(cell, value)
        return UNKNOWN

    def on_yieldfrom(self, node: Node) -> Value:
        value = self.iterated(node[3], "WFL101", "what is yielded")
        if self.context is not None and self.function is not None:
            cell = self.program.cell("yield", self.function.label)
            self.program.write(cell, elements_of(value))
        for kind in value.types:
            if kind[0] == "coro":
                return self.awaited(value)
        return UNKNOWN

    # --- comprehensions

    def on_comp(self, node: Node) -> Value:
        kind, clauses = node[3], node[6]
        env: Env = self.env
        self.env = dict(env)
        relaxed = self.relaxed
        order: tuple[int, ...] = ()
        sources: tuple[int, ...] = ()
        self.loops += 1
        try:
            for target, iterable, conditions, _ in clauses:
                if kind == "set" or relaxed == INSENSITIVE:
                    value = self.eval_relaxed(iterable, INSENSITIVE)
                elif kind == "dict":
                    value = self.eval_relaxed(iterable, INSENSITIVE)
                    order += self.dict_order(iterable, value)
                else:
                    value = self.iterated(iterable, "WFL101", "a comprehension")
                    order += value.order
                sources += value.sources
                self.bind(target, elements_of(value))
                for condition in conditions:
                    test = self.eval_relaxed(condition, INSENSITIVE)
                    self.narrow(condition)
                    sources += test.sources
            if node[5] is not None:
                sources += self.eval_strict(node[4]).sources
                element = self.eval_strict(node[5])
            else:
                element = self.eval_relaxed(node[4], relaxed)
            sources += element.sources
        finally:
            self.loops -= 1
            bound = {name for one in clauses for name in _names(one[0])}
            for name, value in self.env.items():  # what `:=` has bound in it
                if name not in bound and env.get(name) is not value:
                    env[name] = value
            self.env = env
        tag = {"list": "list", "set": "set", "dict": "odict", "gen": "iter"}[kind]
        if kind == "set":
            order = ()
        return Value(((tag,),), _unique(sources), element, _unique(order))

    def dict_order(self, node: Node, value: Value) -> tuple[int, ...]:
        """Order that a dictionary takes over from what it was made of."""
        if value.has("set"):
            return (*value.order, *self.ordered_by("WFL105", node, self.shown(node)))
        return value.order

    # --- iterating

    def iterated(self, node: Node, code: str, what: str) -> Value:
        """The value of an expression that is iterated, where order matters or not."""
        relaxed = self.relaxed
        inner = relaxed if node[0] in ("comp",) else None
        value = self.eval_relaxed(node, LOGGED if relaxed == LOGGED else inner)
        if relaxed == INSENSITIVE:
            return value
        return self.iterate(node, value, code, what)

    def iterate(
        self, node: Node, value: Value, code: str, what: str, maker: Node | None = None
    ) -> Value:
        """A value is iterated, in an order that matters; ``maker`` is the ``list`` around it."""
        if value.has("set"):
            number = self.set_used(node, value, code, what, maker)
            value = value._replace(order=_unique(value.order + number))
        elif value.order and value.has("dict", "odict", "view", "oview"):
            self.dict_used(node, value, what, is_tainted=True)
        elif value.has("dict", "view"):
            self.dict_used(node, value, what, is_tainted=False)
        for kind in value.types:
            if kind[0] == "inst":
                method = self.attribute(Value((kind,)), "__iter__", None)
                if method.types:
                    found = self.call_value(method, [], node)
                    value = value._replace(
                        element=join(value.element or UNKNOWN, elements_of(found))
                    )
            elif kind[0] == "unordered":
                self.emit("WFL110", node[1], node[2], self.shown(node), kind[1])
        return value

    def set_used(
        self, node: Node, value: Value, code: str, what: str, maker: Node | None = None
    ) -> tuple[int, ...]:
        """A set's order becomes visible. Sets of the loop's own futures have a known order."""
        if self.adapter is not None and self.adapter.loop == "own":
            element = value.element
            if value.has("futures") or (
                element is not None and element.only("coro", "cmd", "task", "detached")
            ):
                return ()
        start, end = node[1], node[2]
        numbers = self.ordered_by(code, node, self.shown(node))
        text = self.module.text[start:end]
        parenthesised = text.startswith("(") and node[0] == "comp"
        opening = "sorted" if parenthesised else "sorted("
        edits = [Edit(start, start, opening), Edit(end, end, "" if parenthesised else ")")]
        if maker is not None:
            edits = [Edit(maker[1], maker[2], "sorted")]
        safe = value.element is not None and _orderable(value.element)
        fix = Fix("safe", edits) if safe else None
        self.emit(code, start, end, self.shown(node), what, fix=fix, source=numbers[0])
        return numbers

    def dict_used(self, node: Node, value: Value, what: str, *, is_tainted: bool) -> None:
        """A dictionary's order becomes visible."""
        policy = self.program.dict_iteration
        start, end = node[1], node[2]
        if is_tainted:
            if policy == "off":
                return
            places = [self.program.sources[number] for number in value.order]
            detail = places[0].symbol if places else ""
            self.emit("WFL105", start, end, self.shown(node), detail)
            return
        if policy != "strict":
            return
        fix = Fix("unsafe", [Edit(start, start, "sorted("), Edit(end, end, ")")])
        self.emit("WFL104", start, end, self.shown(node), what, fix=fix)

    # --- binding

    def bind(self, target: Node, value: Value) -> None:
        """Assigns to a target."""
        tag = target[0]
        if tag == "name":
            self.assign_local(target[3], value)
        elif tag in ("tuple", "list"):
            self._unpack(target[3], value)
        elif tag == "star":
            order = value.order
            self.bind(target[3], Value((("list",),), value.sources, elements_of(value), order))
        else:
            self.assign_into(target, value)

    def _unpack(self, targets: Sequence[Node], value: Value) -> None:
        for kind in value.types:
            if kind[0] == "tup" and len(kind[1]) == len(targets) and len(value.types) == 1:
                if not any(target[0] == "star" for target in targets):
                    for target, one in zip(targets, kind[1], strict=True):
                        self.bind(target, tainted(one, ()))
                    return
        element = elements_of(value)
        for target in targets:
            if target[0] == "star":
                self.bind(target[3], Value((("list",),), value.sources, element))
            else:
                self.bind(target, element)

    def assign_into(self, target: Node, value: Value) -> None:
        """Assigns to an attribute or an item; overridden where statements are understood."""
        raise NotImplementedError(target)

    def narrow(self, test: Node) -> None:
        """What a condition says of its names; overridden where statements are understood."""


def _is_class_name(name: str) -> bool:
    owner, _, last = name.rpartition(".")
    return last[:1].isupper() or owner == "builtins"


def _unique(numbers: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(dict.fromkeys(numbers)) if len(numbers) > 1 else numbers


def _orderable(value: Value) -> bool:
    """Whether elements can be compared with each other."""
    kinds = {kind[0] for kind in value.types}
    return bool(kinds) and (
        kinds <= {"str", "lit"} or kinds <= {"int", "float", "bool"} or kinds <= {"bytes"}
    )


def _names(target: Node) -> list[str]:
    from ._modules import target_names

    return list(target_names(target))


def _described(kind: Type) -> str:
    if kind[0] in ("fn", "bound"):
        return "a function"
    if kind[0] == "iter":
        return "a generator"
    if kind[0] == "coro":
        return "a coroutine"
    return f"an object of {kind[1].cls.name}, which has no __repr__"


def functions_of(value: Value) -> list[Function]:
    """The project's functions that a value may be."""
    return [kind[1] for kind in value.types if kind[0] in ("fn", "bound", "act", "wf")]


_WAYS: Final[dict[str, Callable[[Any, Node], Value]]] = {
    "const": Expressions.on_const,
    "name": Expressions.on_name,
    "attr": Expressions.on_attr,
    "call": lambda frame, node: frame.call(node),
    "fstr": Expressions.on_fstr,
    "sub": Expressions.on_sub,
    "slice": Expressions.on_slice,
    "un": Expressions.on_un,
    "bin": Expressions.on_bin,
    "bool": Expressions.on_bool,
    "cmp": Expressions.on_cmp,
    "ifexp": Expressions.on_ifexp,
    "lambda": Expressions.on_lambda,
    "await": Expressions.on_await,
    "yield": Expressions.on_yield,
    "yieldfrom": Expressions.on_yieldfrom,
    "list": Expressions.on_list,
    "tuple": Expressions.on_tuple,
    "set": Expressions.on_set,
    "dict": Expressions.on_dict,
    "star": Expressions.on_star,
    "comp": Expressions.on_comp,
    "walrus": Expressions.on_walrus,
}

__all__ = ["BOOL", "INT", "Expressions", "functions_of"]
