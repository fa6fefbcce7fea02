"""LibCST's tree into ours, by a walk of our own over the fields that carry meaning.

PYTEST_DONT_REWRITE
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Sequence
from typing import Any, Final, cast

import libcst as cst

from . import Cls, Comment, Fn, Node, Param, Tree, UnparsableError
from ._offsets import Offsets

_LONGEST: Final = 200
"""Characters of a literal that are kept; what matters of longer ones is that they are literals."""

_BINARY: Final[dict[type, str]] = {
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


def lower(text: str) -> Tree:
    """The tree of a file's text.

    Raises:
        UnparsableError: it is not Python that LibCST can read.
    """
    try:
        module = cst.parse_module(text)
    except cst.ParserSyntaxError as error:
        raise UnparsableError(error.message, error.raw_line, error.raw_column + 1) from None
    except RecursionError:
        raise UnparsableError("nested too deeply to be read", 1, 1) from None
    except Exception as error:  # the parser gives up in several ways
        raise UnparsableError(f"can't be read: {error}", 1, 1) from None
    offsets = Offsets(module)
    try:
        module._codegen(offsets)  # pyright: ignore[reportPrivateUsage]
        body = _Lowerer(offsets).block(module.body)
    except RecursionError:
        raise UnparsableError("nested too deeply to be read", 1, 1) from None
    return Tree(body, tuple(Comment(at, value) for at, value in offsets.comments))


class _Scope:
    """Names that a function binds, and what it contains."""

    def __init__(self) -> None:
        self.names: dict[str, None] = {}
        self.foreign: set[str] = set()
        self.is_generator = False
        self.captured = False


class _Lowerer:
    def __init__(self, offsets: Offsets) -> None:
        self._starts = offsets.starts
        self._ends = offsets.ends
        self._scope = _Scope()
        self._quote: tuple[int, int] | None = None
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
            cst.BinaryOperation: self._binary,
            cst.BooleanOperation: self._boolean,
            cst.Comparison: self._comparison,
            cst.IfExp: self._conditional,
            cst.Lambda: self._lambda,
            cst.Await: self._await,
            cst.Yield: self._yield,
            cst.List: self._display("list"),
            cst.Tuple: self._display("tuple"),
            cst.Set: self._display("set"),
            cst.Dict: self._dict,
            cst.StarredElement: self._starred,
            cst.ListComp: self._comprehension("list"),
            cst.SetComp: self._comprehension("set"),
            cst.GeneratorExp: self._comprehension("gen"),
            cst.DictComp: self._dict_comprehension,
            cst.NamedExpr: self._walrus,
            cst.From: self._from,
        }
        if hasattr(cst, "TemplatedString"):
            self._expressions[getattr(cst, "TemplatedString")] = self._formatted  # noqa: B009
        self._statements: dict[type, Callable[[Any], Node | None]] = {
            cst.Expr: lambda n: ("expr", *self._span(n), self.expression(n.value)),
            cst.Assign: self._assign,
            cst.AnnAssign: self._annotated,
            cst.AugAssign: self._augmented,
            cst.Return: lambda n: ("return", *self._span(n), self.optional(n.value)),
            cst.Raise: self._raise,
            cst.Del: lambda n: ("del", *self._span(n), self.expression(n.target)),
            cst.Global: self._global,
            cst.Nonlocal: self._global,
            cst.Import: self._import,
            cst.ImportFrom: self._import_from,
            cst.Assert: self._assert,
            cst.Pass: lambda n: ("pass", *self._span(n)),
            cst.Break: lambda n: ("break", *self._span(n)),
            cst.Continue: lambda n: ("continue", *self._span(n)),
            cst.If: self._if,
            cst.For: self._for,
            cst.While: self._while,
            cst.Try: self._try,
            cst.TryStar: self._try,
            cst.With: self._with,
            cst.Match: self._match,
            cst.FunctionDef: self._function,
            cst.ClassDef: self._class,
        }
        for name, way in (
            ("TypeAlias", self._type_alias),
            ("LazyImport", self._import),
            ("LazyImportFrom", self._import_from),
        ):
            if hasattr(cst, name):
                self._statements[getattr(cst, name)] = way

    def _span(self, node: cst.CSTNode) -> tuple[int, int]:
        if self._quote is not None:
            return self._quote
        return self._starts.get(id(node), 0), self._ends.get(id(node), 0)

    def expression(self, node: Any) -> Node:
        """An expression's tuple."""
        kind = cast("type[object]", type(node))
        found = self._expressions.get(kind)
        if found is None:
            return ("const", *self._span(node), "unknown", None)
        return found(node)

    def optional(self, node: Any) -> Node | None:
        return None if node is None else self.expression(node)

    def block(self, statements: Sequence[Any]) -> tuple[Node, ...]:
        """The statements of a block, simple ones each for itself."""
        found: list[Node] = []
        for statement in statements:
            if type(statement) is cst.SimpleStatementLine:
                small: Sequence[Any] = statement.body
            else:
                small = (statement,)
            for one in small:
                kind = cast("type[object]", type(one))
                way = self._statements.get(kind)
                lowered = None if way is None else way(one)
                if lowered is not None:
                    found.append(lowered)
        return tuple(found)

    def _suite(self, suite: Any) -> tuple[Node, ...]:
        if suite is None:
            return ()
        body: Any = suite.body
        if type(body) is cst.IndentedBlock or type(body) is cst.SimpleStatementSuite:
            body = body.body  # of `else` and `finally`
        if type(suite) is cst.SimpleStatementSuite or (body and not _is_statement(body[0])):
            found: list[Node] = []
            for one in body:
                kind = cast("type[object]", type(one))
                way = self._statements.get(kind)
                lowered = None if way is None else way(one)
                if lowered is not None:
                    found.append(lowered)
            return tuple(found)
        return self.block(body)

    # --- expressions

    def _name(self, node: cst.Name) -> Node:
        value = node.value
        if value in _SINGLETONS:
            kind, constant = _SINGLETONS[value]
            return ("const", *self._span(node), kind, constant)
        return ("name", *self._span(node), value)

    def _attribute(self, node: cst.Attribute) -> Node:
        return ("attr", *self._span(node), self.expression(node.value), node.attr.value)

    def _call(self, node: cst.Call) -> Node:
        return (
            "call",
            *self._span(node),
            self.expression(node.func),
            self._arguments(node.args),
        )

    def _arguments(self, arguments: Sequence[cst.Arg]) -> tuple[Node, ...]:
        return tuple(
            (a.star, None if a.keyword is None else a.keyword.value, self.expression(a.value))
            for a in arguments
        )

    def _string(self, node: cst.SimpleString) -> Node:
        prefix = node.prefix
        kind = "bytes" if "b" in prefix.lower() else "str"
        text = node.value
        if len(text) > _LONGEST or kind == "bytes":
            return ("const", *self._span(node), kind, None)
        if "\\" in text:
            try:
                return ("const", *self._span(node), kind, ast.literal_eval(text))
            except (SyntaxError, ValueError):
                return ("const", *self._span(node), kind, None)
        quotes = 3 if text[len(prefix) :].startswith(('"""', "'''")) else 1
        return ("const", *self._span(node), kind, text[len(prefix) + quotes : -quotes])

    def _concatenated(self, node: cst.ConcatenatedString) -> Node:
        left, right = self.expression(node.left), self.expression(node.right)
        if left[0] == right[0] == "const":
            value: Any = None
            if left[4] is not None and right[4] is not None:
                value = left[4] + right[4]
            return ("const", *self._span(node), left[3], value)
        parts = tuple(
            part for one in (left, right) for part in (one[3] if one[0] == "fstr" else ((one, ""),))
        )
        return ("fstr", *self._span(node), parts)

    def _formatted(self, node: Any) -> Node:
        parts: list[tuple[Node, str]] = []
        self._parts(node.parts, parts)
        return ("fstr", *self._span(node), tuple(parts))

    def _parts(self, parts: Sequence[Any], found: list[tuple[Node, str]]) -> None:
        for part in parts:
            if hasattr(part, "expression"):
                found.append((self.expression(part.expression), part.conversion or ""))
                if part.format_spec:
                    self._parts(part.format_spec, found)
            else:
                kind = ("const", *self._span(part), "str", part.value[:_LONGEST])
                found.append((kind, ""))

    def _number(self, node: Any) -> Node:
        numbers: dict[type, str] = {cst.Integer: "int", cst.Float: "float"}
        of_type = cast("type[object]", type(node))
        kind = numbers.get(of_type, "complex")
        text = node.value.replace("_", "")
        value: Any = None
        if kind == "int" and len(text) < 19:
            value = int(text, 0)
        elif kind == "float":
            value = float(text)
        return ("const", *self._span(node), kind, value)

    def _ellipsis(self, node: cst.Ellipsis) -> Node:
        return ("const", *self._span(node), "ellipsis", None)

    def _subscript(self, node: cst.Subscript) -> Node:
        elements = [self._index(element.slice) for element in node.slice]
        index = elements[0]
        if len(elements) > 1:
            index = ("tuple", elements[0][1], elements[-1][2], tuple(elements))
        return ("sub", *self._span(node), self.expression(node.value), index)

    def _index(self, node: Any) -> Node:
        if type(node) is cst.Slice:
            parts = (self.optional(part) for part in (node.lower, node.upper, node.step))
            return ("slice", *self._span(node), *parts)
        if node.star:
            return ("star", *self._span(node), self.expression(node.value))
        return self.expression(node.value)

    def _unary(self, node: cst.UnaryOperation) -> Node:
        operator = _BINARY[type(node.operator)]
        operand = self.expression(node.expression)
        if operator == "-" and operand[0] == "const" and operand[3] in ("int", "float"):
            value = None if operand[4] is None else -operand[4]
            return ("const", *self._span(node), operand[3], value)
        return ("un", *self._span(node), operator, operand)

    def _binary(self, node: cst.BinaryOperation) -> Node:
        # Long sums lean to the left: unrolled, for Python's stack is not endless.
        chain: list[cst.BinaryOperation] = []
        left: Any = node
        while type(left) is cst.BinaryOperation:
            chain.append(left)
            left = left.left
        value = self.expression(left)
        for one in reversed(chain):
            operator = _BINARY[type(one.operator)]
            value = ("bin", *self._span(one), operator, value, self.expression(one.right))
        return value

    def _boolean(self, node: cst.BooleanOperation) -> Node:
        chain: list[cst.BooleanOperation] = []
        left: Any = node
        while type(left) is cst.BooleanOperation:
            chain.append(left)
            left = left.left
        value = self.expression(left)
        for one in reversed(chain):
            operator = _BINARY[type(one.operator)]
            value = ("bool", *self._span(one), operator, value, self.expression(one.right))
        return value

    def _comparison(self, node: cst.Comparison) -> Node:
        pairs = tuple(
            (_BINARY[type(one.operator)], self.expression(one.comparator))
            for one in node.comparisons
        )
        return ("cmp", *self._span(node), self.expression(node.left), pairs)

    def _conditional(self, node: cst.IfExp) -> Node:
        parts = (self.expression(part) for part in (node.test, node.body, node.orelse))
        return ("ifexp", *self._span(node), *parts)

    def _await(self, node: cst.Await) -> Node:
        return ("await", *self._span(node), self.expression(node.expression))

    def _yield(self, node: cst.Yield) -> Node:
        self._scope.is_generator = True
        if type(node.value) is cst.From:
            return ("yieldfrom", *self._span(node), self.expression(node.value.item))
        return ("yield", *self._span(node), self.optional(node.value))

    def _from(self, node: cst.From) -> Node:
        return self.expression(node.item)

    def _display(self, tag: str) -> Callable[[Any], Node]:
        def display(node: Any) -> Node:
            elements = tuple(
                self._starred(e) if type(e) is cst.StarredElement else self.expression(e.value)
                for e in node.elements
            )
            return (tag, *self._span(node), elements)

        return display

    def _dict(self, node: cst.Dict) -> Node:
        pairs: list[tuple[Node | None, Node]] = []
        for element in node.elements:
            key = self.expression(element.key) if type(element) is cst.DictElement else None
            pairs.append((key, self.expression(element.value)))
        return ("dict", *self._span(node), tuple(pairs))

    def _starred(self, node: cst.StarredElement) -> Node:
        return ("star", *self._span(node), self.expression(node.value))

    def _comprehension(self, kind: str) -> Callable[[Any], Node]:
        def comprehension(node: Any) -> Node:
            clauses = self._clauses(node.for_in)
            return ("comp", *self._span(node), kind, self.expression(node.elt), None, clauses)

        return comprehension

    def _dict_comprehension(self, node: cst.DictComp) -> Node:
        clauses = self._clauses(node.for_in)
        pair = (self.expression(node.key), self.expression(node.value))
        return ("comp", *self._span(node), "dict", *pair, clauses)

    def _clauses(self, clause: cst.CompFor | None) -> tuple[Node, ...]:
        found: list[Node] = []
        while clause is not None:
            # Targets are the comprehension's own, and walrus targets the function's.
            names, self._scope.names = self._scope.names, {}
            target = self.expression(clause.target)
            self._scope.names = names
            conditions = tuple(self.expression(one.test) for one in clause.ifs)
            found.append(
                (
                    target,
                    self.expression(clause.iter),
                    conditions,
                    clause.asynchronous is not None,
                )
            )
            clause = clause.inner_for_in
        return tuple(found)

    def _walrus(self, node: cst.NamedExpr) -> Node:
        target = self.expression(node.target)
        self._bind(target)
        return ("walrus", *self._span(node), target, self.expression(node.value))

    # --- binding

    def _bind(self, target: Node) -> None:
        if target[0] == "name":
            self._scope.names[target[3]] = None
        elif target[0] in ("tuple", "list"):
            for element in target[3]:
                self._bind(element)
        elif target[0] == "star":
            self._bind(target[3])

    def _target(self, node: Any) -> Node:
        target = self.expression(node)
        self._bind(target)
        return target

    # --- simple statements

    def _assign(self, node: cst.Assign) -> Node:
        targets = tuple(self._target(one.target) for one in node.targets)
        return ("assign", *self._span(node), targets, self.expression(node.value))

    def _annotation(self, node: cst.Annotation | None) -> Node | None:
        if node is None:
            return None
        return self._quoted(self.expression(node.annotation))

    def _quoted(self, annotation: Node) -> Node:
        """An annotation; one in quotes as if it stood without them."""
        if annotation[0] == "const" and annotation[3] == "str" and annotation[4]:
            try:
                inner = cst.parse_expression(annotation[4])
            except Exception:
                return annotation
            before, self._quote = self._quote, (annotation[1], annotation[2])
            lowered = self.expression(inner)
            self._quote = before
            return lowered
        if annotation[0] == "sub":
            index = annotation[4]
            if index[0] == "tuple":
                index = (*index[:3], tuple(self._quoted(one) for one in index[3]))
            else:
                index = self._quoted(index)
            return (*annotation[:4], index)
        if annotation[0] == "bin":
            return (*annotation[:4], self._quoted(annotation[4]), self._quoted(annotation[5]))
        return annotation

    def _annotated(self, node: cst.AnnAssign) -> Node:
        target = self._target(node.target)
        annotation = self._annotation(node.annotation)
        return ("ann", *self._span(node), target, annotation, self.optional(node.value))

    def _augmented(self, node: cst.AugAssign) -> Node:
        target = self._target(node.target)
        operator = _BINARY[type(node.operator)]
        return ("aug", *self._span(node), target, operator, self.expression(node.value))

    def _raise(self, node: cst.Raise) -> Node:
        cause = None if node.cause is None else self.expression(node.cause.item)
        return ("raise", *self._span(node), self.optional(node.exc), cause)

    def _global(self, node: cst.Global | cst.Nonlocal) -> Node:
        names = tuple(item.name.value for item in node.names)
        self._scope.foreign.update(names)
        tag = "global" if type(node) is cst.Global else "nonlocal"
        return (tag, *self._span(node), names)

    def _import(self, node: Any) -> Node:
        names: list[tuple[str, str | None]] = []
        for alias in node.names:
            dotted = _dotted(alias.name)
            asname = None if alias.asname is None else alias.asname.name.value
            names.append((dotted, asname))
            self._scope.names[asname or dotted.partition(".")[0]] = None
        return ("import", *self._span(node), tuple(names))

    def _import_from(self, node: Any) -> Node:
        module = "" if node.module is None else _dotted(node.module)
        level = len(node.relative)
        if isinstance(node.names, cst.ImportStar):
            return ("from", *self._span(node), level, module, "*")
        names: list[tuple[str, str | None]] = []
        for alias in node.names:
            asname = None if alias.asname is None else alias.asname.name.value
            names.append((alias.name.value, asname))
            self._scope.names[asname or alias.name.value] = None
        return ("from", *self._span(node), level, module, tuple(names))

    def _assert(self, node: cst.Assert) -> Node:
        return ("assert", *self._span(node), self.expression(node.test), self.optional(node.msg))

    def _type_alias(self, node: Any) -> Node:
        self._scope.names[node.name.value] = None
        return ("type", *self._span(node), node.name.value, self.expression(node.value))

    # --- compound statements

    def _if(self, node: cst.If) -> Node:
        test = self.expression(node.test)
        body = self._suite(node.body)
        orelse: tuple[Node, ...] = ()
        if node.orelse is not None:
            if type(node.orelse) is cst.If:
                orelse = (self._if(node.orelse),)
            else:
                orelse = self._suite(node.orelse)
        return ("if", *self._span(node), test, body, orelse)

    def _for(self, node: cst.For) -> Node:
        target = self._target(node.target)
        iterable = self.expression(node.iter)
        body, orelse = self._suite(node.body), self._suite(node.orelse)
        is_async = node.asynchronous is not None
        return ("for", *self._span(node), target, iterable, body, orelse, is_async)

    def _while(self, node: cst.While) -> Node:
        test = self.expression(node.test)
        return ("while", *self._span(node), test, self._suite(node.body), self._suite(node.orelse))

    def _try(self, node: Any) -> Node:
        handlers: list[Node] = []
        body = self._suite(node.body)
        for handler in node.handlers:
            name = None
            if handler.name is not None:
                name = handler.name.name.value
                self._scope.names[name] = None
            kind = self.optional(handler.type)
            handlers.append((*self._span(handler), kind, name, self._suite(handler.body)))
        orelse, final = self._suite(node.orelse), self._suite(node.finalbody)
        return ("try", *self._span(node), body, tuple(handlers), orelse, final)

    def _with(self, node: cst.With) -> Node:
        items: list[Node] = []
        for item in node.items:
            value = self.expression(item.item)
            target = None if item.asname is None else self._target(item.asname.name)
            items.append((value, target))
        is_async = node.asynchronous is not None
        return ("with", *self._span(node), tuple(items), self._suite(node.body), is_async)

    def _match(self, node: cst.Match) -> Node:
        subject = self.expression(node.subject)
        cases: list[Node] = []
        for case in node.cases:
            names: list[str] = []
            classes: list[Node] = []
            self._pattern(case.pattern, names, classes)
            for name in names:
                self._scope.names[name] = None
            guard = self.optional(case.guard)
            cases.append((tuple(names), tuple(classes), guard, self._suite(case.body)))
        return ("match", *self._span(node), subject, tuple(cases))

    def _pattern(self, pattern: Any, names: list[str], classes: list[Node]) -> None:
        """What a pattern binds, and the classes that it asks for."""
        if pattern is None:
            return
        kind = cast("type[object]", type(pattern))
        if kind is cst.MatchAs or kind is cst.MatchStar:
            if pattern.name is not None:
                names.append(pattern.name.value)
            self._pattern(getattr(pattern, "pattern", None), names, classes)
        elif kind is cst.MatchOr:
            for element in pattern.patterns:
                self._pattern(element.pattern, names, classes)
        elif kind is cst.MatchList or kind is cst.MatchTuple:
            for element in pattern.patterns:
                inner = element if type(element) is cst.MatchStar else element.value
                self._pattern(inner, names, classes)
        elif kind is cst.MatchMapping:
            for element in pattern.elements:
                self._pattern(element.pattern, names, classes)
            if pattern.rest is not None:
                names.append(pattern.rest.value)
        elif kind is cst.MatchClass:
            classes.append(self.expression(pattern.cls))
            for element in pattern.patterns:
                self._pattern(element.value, names, classes)
            for keyword in pattern.kwds:
                self._pattern(keyword.pattern, names, classes)

    # --- functions and classes

    def _parameters(self, node: cst.Parameters) -> tuple[Node, ...]:
        found: list[Node] = []
        for kind, params in (
            ("pos", node.posonly_params),
            ("any", node.params),
            ("*", (node.star_arg,)),
            ("kw", node.kwonly_params),
            ("**", (node.star_kwarg,)),
        ):
            for param in params:
                if type(param) is not cst.Param:
                    continue  # a lone star, or nothing
                found.append(
                    tuple(
                        Param(
                            param.name.value,
                            kind,
                            self._annotation(param.annotation),
                            self.optional(param.default),
                            *self._span(param.name),
                        )
                    )
                )
        return tuple(found)

    def _function(self, node: cst.FunctionDef) -> Node:
        self._scope.names[node.name.value] = None
        self._scope.captured = True
        decorators = tuple(self.expression(one.decorator) for one in node.decorators)
        params = self._parameters(node.params)
        returns = self._annotation(node.returns)
        outer, self._scope = self._scope, _Scope()
        for param in params:
            self._scope.names[param[0]] = None
        body = self._suite(node.body)
        scope, self._scope = self._scope, outer
        function = Fn(
            node.name.value,
            *self._span(node.name),
            node.asynchronous is not None,
            scope.is_generator,
            params,
            returns,
            decorators,
            body,
            *self._span(node),
            tuple(name for name in scope.names if name not in scope.foreign),
            scope.captured,
        )
        return ("def", *self._span(node), tuple(function))

    def _lambda(self, node: cst.Lambda) -> Node:
        self._scope.captured = True
        params = self._parameters(node.params)
        outer, self._scope = self._scope, _Scope()
        for param in params:
            self._scope.names[param[0]] = None
        value = self.expression(node.body)
        scope, self._scope = self._scope, outer
        span = self._span(node)
        body = (("return", value[1], value[2], value),)
        names = tuple(scope.names)
        function = Fn(
            *("<lambda>", *span, False, scope.is_generator, params, None, (), body, *span),
            names,
            scope.captured,
        )
        return ("lambda", *span, tuple(function))

    def _class(self, node: cst.ClassDef) -> Node:
        self._scope.names[node.name.value] = None
        decorators = tuple(self.expression(one.decorator) for one in node.decorators)
        arguments = self._arguments((*node.bases, *node.keywords))
        outer, self._scope = self._scope, _Scope()
        body = self._suite(node.body)
        self._scope = outer
        self._scope.captured = True
        cls = Cls(
            node.name.value,
            *self._span(node.name),
            arguments,
            decorators,
            body,
            *self._span(node),
        )
        return ("class", *self._span(node), tuple(cls))


_SINGLETONS: Final[dict[str, tuple[str, bool | None]]] = {
    "True": ("bool", True),
    "False": ("bool", False),
    "None": ("none", None),
}


def _is_statement(node: Any) -> bool:
    return isinstance(node, (cst.SimpleStatementLine, cst.BaseCompoundStatement))


def _dotted(node: Any) -> str:
    if type(node) is cst.Attribute:
        return f"{_dotted(node.value)}.{node.attr.value}"
    return str(node.value)
