"""LibCST's expressions into ours, by a walk of our own over the fields that carry meaning.

Each method goes through its node's tokens in the order in which they stand in the text.

PYTEST_DONT_REWRITE
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Sequence
from typing import Any, Final, cast

import libcst as cst

from . import Node
from ._tokens import Tokens

_LONGEST: Final = 200
"""Characters of a literal that are kept; what matters of longer ones is that they are literals."""

BINARY: Final[dict[type, str]] = {
    cst.Add: "+",
    cst.Subtract: "-",
    cst.Multiply: "*",
    cst.Divide: "/",
    cst.FloorDivide: "//",
    cst.Modulo: "%",
    cst.Power: "**",
    cst.LeftShift: "<<",
    cst.RightShift: ">>",
    cst.BitOr: "|",
    cst.BitAnd: "&",
    cst.BitXor: "^",
    cst.MatrixMultiply: "@",
    cst.AddAssign: "+",
    cst.SubtractAssign: "-",
    cst.MultiplyAssign: "*",
    cst.DivideAssign: "/",
    cst.FloorDivideAssign: "//",
    cst.ModuloAssign: "%",
    cst.PowerAssign: "**",
    cst.LeftShiftAssign: "<<",
    cst.RightShiftAssign: ">>",
    cst.BitOrAssign: "|",
    cst.BitAndAssign: "&",
    cst.BitXorAssign: "^",
    cst.MatrixMultiplyAssign: "@",
    cst.LessThan: "<",
    cst.GreaterThan: ">",
    cst.Equal: "==",
    cst.LessThanEqual: "<=",
    cst.GreaterThanEqual: ">=",
    cst.NotEqual: "!=",
    cst.In: "in",
    cst.NotIn: "not in",
    cst.Is: "is",
    cst.IsNot: "is not",
    cst.And: "and",
    cst.Or: "or",
    cst.Not: "not",
    cst.Minus: "-",
    cst.Plus: "+",
    cst.BitInvert: "~",
}
"""How operators are written."""

_SINGLETONS: Final[dict[str, tuple[str, bool | None]]] = {
    "True": ("bool", True),
    "False": ("bool", False),
    "None": ("none", None),
}


class Scope:
    """Names that a function binds, and what it contains."""

    def __init__(self) -> None:
        self.names: dict[str, None] = {}
        self.foreign: set[str] = set()
        self.is_generator = False
        self.captured = False


class Expressions(Tokens):
    """Expressions; those that define functions are in the class that inherits from this one."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._scope = Scope()
        self._expressions: dict[type, Callable[[Any], Node]] = {
            cst.Name: self._name,
            cst.Attribute: self._attribute,
            cst.Call: self._call,
            cst.SimpleString: self._string,
            cst.ConcatenatedString: self._concatenated,
            cst.FormattedString: self._formatted,
            cst.Integer: self._number,
            cst.Float: self._number,
            cst.Imaginary: self._number,
            cst.Ellipsis: self._ellipsis,
            cst.Subscript: self._subscript,
            cst.UnaryOperation: self._unary,
            cst.BinaryOperation: self._chain("bin", cst.BinaryOperation),
            cst.BooleanOperation: self._chain("bool", cst.BooleanOperation),
            cst.Comparison: self._comparison,
            cst.IfExp: self._conditional,
            cst.Await: self._await,
            cst.Yield: self._yield,
            cst.List: self._display("list", "[", "]"),
            cst.Set: self._display("set", "{", "}"),
            cst.Tuple: self._tuple,
            cst.Dict: self._dict,
            cst.StarredElement: self._starred,
            cst.ListComp: self._comprehension("list", "[", "]"),
            cst.SetComp: self._comprehension("set", "{", "}"),
            cst.GeneratorExp: self._generator,
            cst.DictComp: self._dict_comprehension,
            cst.NamedExpr: self._walrus,
        }
        if hasattr(cst, "TemplatedString"):
            self._expressions[getattr(cst, "TemplatedString")] = self._formatted  # noqa: B009

    def expression(self, node: Any) -> Node:
        """An expression's tuple."""
        kind = cast("type[object]", type(node))
        found = self._expressions.get(kind)
        if found is None:
            start = self.space()
            self.skip(node)
            return ("const", start, self.at, "unknown", None)
        return found(node)

    def optional(self, node: Any) -> Node | None:
        return None if node is None else self.expression(node)

    def open(self, node: Any) -> int:
        """Passes over the parentheses before a node; where they begin."""
        at = self.space()
        for _ in node.lpar:
            self.token("(")
        return at

    def close(self, node: Any) -> int:
        """Passes over the parentheses behind a node; where they end."""
        for _ in node.rpar:
            self.token(")")
        return self.at

    # --- names and constants

    def _name(self, node: cst.Name) -> Node:
        value = node.value
        if node.lpar:
            start = self.open(node)
            self.token(value)
            end = self.close(node)
        else:
            start = self.token(value)
            end = self.at
        if value in _SINGLETONS:
            kind, constant = _SINGLETONS[value]
            return ("const", start, end, kind, constant)
        return ("name", start, end, value)

    def _string(self, node: cst.SimpleString) -> Node:
        start = self.open(node)
        text = node.value
        self.token(text)
        end = self.close(node)
        prefix = node.prefix
        kind = "bytes" if "b" in prefix.lower() else "str"
        if len(text) > _LONGEST or kind == "bytes":
            return ("const", start, end, kind, None)
        if "\\" in text:
            try:
                return ("const", start, end, kind, ast.literal_eval(text))
            except (SyntaxError, ValueError):
                return ("const", start, end, kind, None)
        quotes = 3 if text[len(prefix) :].startswith(('"""', "'''")) else 1
        return ("const", start, end, kind, text[len(prefix) + quotes : -quotes])

    def _concatenated(self, node: cst.ConcatenatedString) -> Node:
        start = self.open(node)
        left, right = self.expression(node.left), self.expression(node.right)
        end = self.close(node)
        if left[0] == right[0] == "const":
            value: Any = None
            if left[4] is not None and right[4] is not None:
                value = left[4] + right[4]
            return ("const", start, end, left[3], value)
        parts = tuple(
            part for one in (left, right) for part in (one[3] if one[0] == "fstr" else ((one, ""),))
        )
        return ("fstr", start, end, parts)

    def _formatted(self, node: Any) -> Node:
        start = self.open(node)
        self.token(node.start)
        parts: list[tuple[Node, str]] = []
        self._parts(node.parts, parts)
        self.verbatim(node.end)
        return ("fstr", start, self.close(node), tuple(parts))

    def _parts(self, parts: Sequence[Any], found: list[tuple[Node, str]]) -> None:
        for part in parts:
            if not hasattr(part, "expression"):
                at = self.verbatim(part.value)
                found.append((("const", at, self.at, "str", part.value[:_LONGEST]), ""))
                continue
            self.verbatim("{")
            found.append((self.expression(part.expression), part.conversion or ""))
            if part.equal is not None:
                self.token("=")
            self.space()
            if part.conversion is not None:
                self.verbatim("!")
                self.verbatim(part.conversion)
            if part.format_spec is not None:
                self.verbatim(":")
                self._parts(part.format_spec, found)
            self.verbatim("}")

    def _number(self, node: Any) -> Node:
        start = self.open(node)
        self.token(node.value)
        end = self.close(node)
        text = node.value.replace("_", "")
        if type(node) is cst.Integer:
            return ("const", start, end, "int", int(text, 0) if len(text) < 19 else None)
        if type(node) is cst.Float:
            return ("const", start, end, "float", float(text))
        return ("const", start, end, "complex", None)

    def _ellipsis(self, node: cst.Ellipsis) -> Node:
        start = self.open(node)
        self.token("...")
        return ("const", start, self.close(node), "ellipsis", None)

    # --- what hangs on a value

    def _attribute(self, node: cst.Attribute) -> Node:
        start = self.open(node)
        value, name = self.expression(node.value), node.attr.value
        self.token(".")
        self.token(name)
        return ("attr", start, self.close(node) if node.rpar else self.at, value, name)

    def _call(self, node: cst.Call) -> Node:
        start = self.open(node)
        function = self.expression(node.func)
        self.token("(")
        arguments = self.arguments(node.args)
        self.token(")")
        return ("call", start, self.close(node) if node.rpar else self.at, function, arguments)

    def arguments(self, arguments: Sequence[cst.Arg]) -> tuple[Node, ...]:
        """Those of a call or a class."""
        found: list[Node] = []
        for one in arguments:
            keyword: str | None = None
            if one.star:
                self.token(one.star)
            if one.keyword is not None:
                keyword = one.keyword.value
                self.token(keyword)
                self.token("=")
            found.append((one.star, keyword, self.expression(one.value)))
            self.comma(one)
        return tuple(found)

    def _subscript(self, node: cst.Subscript) -> Node:
        start = self.open(node)
        value = self.expression(node.value)
        self.token("[")
        elements: list[Node] = []
        for element in node.slice:
            elements.append(self._index(element.slice))
            self.comma(element)
        self.token("]")
        index = elements[0]
        if len(elements) > 1:
            index = ("tuple", elements[0][1], elements[-1][2], tuple(elements))
        return ("sub", start, self.close(node), value, index)

    def _index(self, node: Any) -> Node:
        start = self.space()
        if type(node) is cst.Slice:
            lower = self.optional(node.lower)
            self.token(":")
            end = self.at
            upper = self.optional(node.upper)
            if upper is not None:
                end = self.at
            step = None
            if type(node.second_colon) is cst.Colon:
                self.token(":")
                step = self.optional(node.step)
                end = self.at
            return ("slice", start, end, lower, upper, step)
        if node.star:
            self.token("*")
            value = self.expression(node.value)
            return ("star", start, self.at, value)
        return self.expression(node.value)

    # --- operators

    def operator(self, operator: Any) -> str:
        """Passes over an operator; how it is written."""
        kind = cast("type[object]", type(operator))
        written = BINARY[kind]
        if kind is cst.NotEqual:
            self.token(operator.value)
        else:
            for part in written.split(" "):
                self.token(part)
        return written

    def _unary(self, node: cst.UnaryOperation) -> Node:
        start = self.open(node)
        operator = self.operator(node.operator)
        operand = self.expression(node.expression)
        end = self.close(node)
        if operator == "-" and operand[0] == "const" and operand[3] in ("int", "float"):
            value = None if operand[4] is None else -operand[4]
            return ("const", start, end, operand[3], value)
        return ("un", start, end, operator, operand)

    def _chain(self, tag: str, kind: type[Any]) -> Callable[[Any], Node]:
        def chain(node: Any) -> Node:
            # Long sums lean to the left: unrolled, for Python's stack is not endless.
            levels: list[tuple[Any, int]] = []
            left: Any = node
            while type(left) is kind:
                levels.append((left, self.open(left)))
                left = left.left
            value = self.expression(left)
            for one, start in reversed(levels):
                operator = self.operator(one.operator)
                right = self.expression(one.right)
                value = (tag, start, self.close(one), operator, value, right)
            return value

        return chain

    def _comparison(self, node: cst.Comparison) -> Node:
        start = self.open(node)
        left = self.expression(node.left)
        pairs: list[tuple[str, Node]] = []
        for one in node.comparisons:
            operator = self.operator(one.operator)
            pairs.append((operator, self.expression(one.comparator)))
        return ("cmp", start, self.close(node), left, tuple(pairs))

    def _conditional(self, node: cst.IfExp) -> Node:
        start = self.open(node)
        body = self.expression(node.body)
        self.token("if")
        test = self.expression(node.test)
        self.token("else")
        orelse = self.expression(node.orelse)
        return ("ifexp", start, self.close(node), test, body, orelse)

    def _await(self, node: cst.Await) -> Node:
        start = self.open(node)
        self.token("await")
        value = self.expression(node.expression)
        return ("await", start, self.close(node), value)

    def _yield(self, node: cst.Yield) -> Node:
        self._scope.is_generator = True
        start = self.open(node)
        self.token("yield")
        if type(node.value) is cst.From:
            self.token("from")
            value = self.expression(node.value.item)
            return ("yieldfrom", start, self.close(node), value)
        given = self.optional(node.value)
        return ("yield", start, self.close(node), given)

    def _walrus(self, node: cst.NamedExpr) -> Node:
        start = self.open(node)
        target = self.target(node.target)
        self.token(":=")
        value = self.expression(node.value)
        return ("walrus", start, self.close(node), target, value)

    # --- displays and comprehensions

    def _elements(self, elements: Sequence[Any]) -> tuple[Node, ...]:
        found: list[Node] = []
        for one in elements:
            if type(one) is cst.StarredElement:
                found.append(self._starred(one))
            else:
                found.append(self.expression(one.value))
            self.comma(one)
        return tuple(found)

    def _starred(self, node: cst.StarredElement) -> Node:
        start = self.open(node)
        self.token("*")
        value = self.expression(node.value)
        return ("star", start, self.close(node), value)

    def _display(self, tag: str, before: str, behind: str) -> Callable[[Any], Node]:
        def display(node: Any) -> Node:
            start = self.open(node)
            self.token(before)
            elements = self._elements(node.elements)
            self.token(behind)
            return (tag, start, self.close(node), elements)

        return display

    def _tuple(self, node: cst.Tuple) -> Node:
        start = self.open(node)
        elements = self._elements(node.elements)
        return ("tuple", start, self.close(node), elements)

    def _dict(self, node: cst.Dict) -> Node:
        start = self.open(node)
        self.token("{")
        pairs: list[tuple[Node | None, Node]] = []
        for element in node.elements:
            key: Node | None = None
            if type(element) is cst.DictElement:
                key = self.expression(element.key)
                self.token(":")
            else:
                self.token("**")
            pairs.append((key, self.expression(element.value)))
            self.comma(element)
        self.token("}")
        return ("dict", start, self.close(node), tuple(pairs))

    def _comprehension(self, kind: str, before: str, behind: str) -> Callable[[Any], Node]:
        def comprehension(node: Any) -> Node:
            start = self.open(node)
            self.token(before)
            element = self.expression(node.elt)
            clauses = self._clauses(node.for_in)
            self.token(behind)
            return ("comp", start, self.close(node), kind, element, None, clauses)

        return comprehension

    def _generator(self, node: cst.GeneratorExp) -> Node:
        start = self.open(node)
        element = self.expression(node.elt)
        clauses = self._clauses(node.for_in)
        return ("comp", start, self.close(node), "gen", element, None, clauses)

    def _dict_comprehension(self, node: cst.DictComp) -> Node:
        start = self.open(node)
        self.token("{")
        key = self.expression(node.key)
        self.token(":")
        value = self.expression(node.value)
        clauses = self._clauses(node.for_in)
        self.token("}")
        return ("comp", start, self.close(node), "dict", key, value, clauses)

    def _clauses(self, clause: cst.CompFor | None) -> tuple[Node, ...]:
        found: list[Node] = []
        while clause is not None:
            is_async = clause.asynchronous is not None
            if is_async:
                self.token("async")
            self.token("for")
            # Targets are the comprehension's own, and walrus targets the function's.
            names, self._scope.names = self._scope.names, {}
            target = self.expression(clause.target)
            self._scope.names = names
            self.token("in")
            iterable = self.expression(clause.iter)
            conditions: list[Node] = []
            for one in clause.ifs:
                self.token("if")
                conditions.append(self.expression(one.test))
            found.append((target, iterable, tuple(conditions), is_async))
            clause = clause.inner_for_in
        return tuple(found)

    # --- binding

    def bind(self, target: Node) -> None:
        """Notes the names that a target binds."""
        if target[0] == "name":
            self._scope.names[target[3]] = None
        elif target[0] in ("tuple", "list"):
            for element in target[3]:
                self.bind(element)
        elif target[0] == "star":
            self.bind(target[3])

    def target(self, node: Any) -> Node:
        """What is assigned to."""
        target = self.expression(node)
        self.bind(target)
        return target
