"""LibCST's statements into ours, and with them a whole file.

PYTEST_DONT_REWRITE
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, cast

import libcst as cst

from . import Cls, Fn, Node, Tree, UnparsableError
from ._expressions import BINARY, Scope
from ._functions import Functions
from ._tokens import LostError


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
    statements = _Statements(text, module.default_indent)
    try:
        body = statements.block(module.body)
        statements.space()
    except RecursionError:
        raise UnparsableError("nested too deeply to be read", 1, 1) from None
    except LostError as error:
        raise UnparsableError(f"can't be read: {error}", 1, 1) from None
    return Tree(body, tuple(statements.comments))


class _Statements(Functions):
    def __init__(self, text: str, indent: str) -> None:
        super().__init__(text)
        self._indent = indent
        self._statements: dict[type, Callable[[Any], Node]] = {
            cst.Expr: self._expr,
            cst.Assign: self._assign,
            cst.AnnAssign: self._annotated,
            cst.AugAssign: self._augmented,
            cst.Return: self._return,
            cst.Raise: self._raise,
            cst.Del: self._del,
            cst.Global: self._global,
            cst.Nonlocal: self._global,
            cst.Import: self._import,
            cst.ImportFrom: self._import_from,
            cst.Assert: self._assert,
            cst.Pass: self._word("pass"),
            cst.Break: self._word("break"),
            cst.Continue: self._word("continue"),
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

    def block(self, statements: Sequence[Any]) -> tuple[Node, ...]:
        """The statements of a block, simple ones each for itself."""
        found: list[Node] = []
        for statement in statements:
            if type(statement) is cst.SimpleStatementLine:
                self._simple(statement.body, found)
            else:
                self._statement(statement, found)
        return tuple(found)

    def _simple(self, statements: Sequence[Any], found: list[Node]) -> None:
        for one in statements:
            self._statement(one, found)
            if type(one.semicolon) is cst.Semicolon:
                self.token(";")

    def _statement(self, statement: Any, found: list[Node]) -> None:
        kind = cast("type[object]", type(statement))
        way = self._statements.get(kind)
        if way is None:
            self._unknown(statement)
        else:
            found.append(way(statement))

    def _unknown(self, statement: Any) -> None:
        """Passes over a statement of a later Python's."""
        changes: dict[str, Any] = {}
        if hasattr(statement, "leading_lines"):
            changes["leading_lines"] = ()
        if hasattr(statement, "semicolon"):
            changes["semicolon"] = cst.MaybeSentinel.DEFAULT
        self.skip(statement.with_changes(**changes))

    def _suite(self, suite: Any) -> tuple[Node, ...]:
        self.token(":")
        if type(suite) is cst.SimpleStatementSuite:
            found: list[Node] = []
            self._simple(suite.body, found)
            return tuple(found)
        self._indents.append(self._indent if suite.indent is None else suite.indent)
        body = self.block(suite.body)
        self._indents.pop()
        return body

    def _else(self, orelse: Any, word: str = "else") -> tuple[Node, ...]:
        if orelse is None:
            return ()
        self.token(word)
        return self._suite(orelse.body)

    # --- simple statements

    def _word(self, word: str) -> Callable[[Any], Node]:
        return lambda node: (word, self.token(word), self.at)

    def _expr(self, node: cst.Expr) -> Node:
        value = self.expression(node.value)
        return ("expr", value[1], value[2], value)

    def _assign(self, node: cst.Assign) -> Node:
        start = self.space()
        targets: list[Node] = []
        for one in node.targets:
            targets.append(self.target(one.target))
            self.token("=")
        value = self.expression(node.value)
        return ("assign", start, self.at, tuple(targets), value)

    def _annotated(self, node: cst.AnnAssign) -> Node:
        start = self.space()
        target = self.target(node.target)
        annotation = self.annotation(node.annotation, ":")
        value: Node | None = None
        if node.value is not None:
            self.token("=")
            value = self.expression(node.value)
        return ("ann", start, self.at, target, annotation, value)

    def _augmented(self, node: cst.AugAssign) -> Node:
        start = self.space()
        target = self.target(node.target)
        operator = BINARY[type(node.operator)]
        self.token(operator + "=")
        value = self.expression(node.value)
        return ("aug", start, self.at, target, operator, value)

    def _return(self, node: cst.Return) -> Node:
        start = self.token("return")
        end = self.at
        value: Node | None = None
        if node.value is not None:
            value = self.expression(node.value)
            end = self.at
        return ("return", start, end, value)

    def _raise(self, node: cst.Raise) -> Node:
        start = self.token("raise")
        error, cause = self.optional(node.exc), None
        if node.cause is not None:
            self.token("from")
            cause = self.expression(node.cause.item)
        return ("raise", start, self.at, error, cause)

    def _del(self, node: cst.Del) -> Node:
        start = self.token("del")
        target = self.expression(node.target)
        return ("del", start, self.at, target)

    def _global(self, node: cst.Global | cst.Nonlocal) -> Node:
        tag = "global" if type(node) is cst.Global else "nonlocal"
        start = self.token(tag)
        names: list[str] = []
        for item in node.names:
            names.append(item.name.value)
            self.token(item.name.value)
            self.comma(item)
        self._scope.foreign.update(names)
        return (tag, start, self.at, tuple(names))

    def _lazy(self, node: Any, word: str) -> int:
        """Passes over the word that begins an import, and ``lazy`` before it."""
        if type(node) is cst.Import or type(node) is cst.ImportFrom:
            return self.token(word)
        start = self.token("lazy")
        self.token(word)
        return start

    def _dotted(self, node: Any) -> str:
        """Passes over a dotted name."""
        if type(node) is cst.Attribute:
            before = self._dotted(node.value)
            self.token(".")
            self.token(node.attr.value)
            return f"{before}.{node.attr.value}"
        self.token(node.value)
        return str(node.value)

    def _as(self, asname: Any) -> str | None:
        """Passes over ``as`` and a name."""
        if asname is None:
            return None
        self.token("as")
        self.token(asname.name.value)
        return str(asname.name.value)

    def _import(self, node: Any) -> Node:
        start = self._lazy(node, "import")
        names: list[tuple[str, str | None]] = []
        for alias in node.names:
            dotted, asname = self._dotted(alias.name), self._as(alias.asname)
            self.comma(alias)
            names.append((dotted, asname))
            self._scope.names[asname or dotted.partition(".")[0]] = None
        return ("import", start, self.at, tuple(names))

    def _import_from(self, node: Any) -> Node:
        start = self._lazy(node, "from")
        level = len(node.relative)
        for _ in node.relative:
            self.token(".")
        module = "" if node.module is None else self._dotted(node.module)
        self.token("import")
        if isinstance(node.names, cst.ImportStar):
            self.token("*")
            return ("from", start, self.at, level, module, "*")
        names: list[tuple[str, str | None]] = []
        if node.lpar is not None:
            self.token("(")
        for alias in node.names:
            self.token(alias.name.value)
            asname = self._as(alias.asname)
            self.comma(alias)
            names.append((alias.name.value, asname))
            self._scope.names[asname or alias.name.value] = None
        if node.rpar is not None:
            self.token(")")
        return ("from", start, self.at, level, module, tuple(names))

    def _assert(self, node: cst.Assert) -> Node:
        start = self.token("assert")
        test, message = self.expression(node.test), None
        if node.msg is not None:
            self.token(",")
            message = self.expression(node.msg)
        return ("assert", start, self.at, test, message)

    def _type_alias(self, node: Any) -> Node:
        start = self.token("type")
        self.token(node.name.value)
        self._scope.names[node.name.value] = None
        self._type_parameters(node)
        self.token("=")
        value = self.expression(node.value)
        return ("type", start, self.at, node.name.value, value)

    # --- compound statements

    def _if(self, node: cst.If, word: str = "if") -> Node:
        start = self.token(word)
        test = self.expression(node.test)
        body = self._suite(node.body)
        if type(node.orelse) is cst.If:
            orelse: tuple[Node, ...] = (self._if(node.orelse, "elif"),)
        else:
            orelse = self._else(node.orelse)
        return ("if", start, self.at, test, body, orelse)

    def _asynchronous(self, node: Any, word: str) -> tuple[int, bool]:
        if node.asynchronous is None:
            return self.token(word), False
        start = self.token("async")
        self.token(word)
        return start, True

    def _for(self, node: cst.For) -> Node:
        start, is_async = self._asynchronous(node, "for")
        target = self.target(node.target)
        self.token("in")
        iterable = self.expression(node.iter)
        body = self._suite(node.body)
        orelse = self._else(node.orelse)
        return ("for", start, self.at, target, iterable, body, orelse, is_async)

    def _while(self, node: cst.While) -> Node:
        start = self.token("while")
        test = self.expression(node.test)
        body = self._suite(node.body)
        orelse = self._else(node.orelse)
        return ("while", start, self.at, test, body, orelse)

    def _try(self, node: Any) -> Node:
        start = self.token("try")
        body = self._suite(node.body)
        handlers: list[Node] = []
        for handler in node.handlers:
            at = self.token("except")
            if type(node) is cst.TryStar:
                self.token("*")
            kind = self.optional(handler.type)
            name = self._as(handler.name)
            if name is not None:
                self._scope.names[name] = None
            suite = self._suite(handler.body)
            handlers.append((at, self.at, kind, name, suite))
        orelse = self._else(node.orelse)
        final = self._else(node.finalbody, "finally")
        return ("try", start, self.at, body, tuple(handlers), orelse, final)

    def _with(self, node: cst.With) -> Node:
        start, is_async = self._asynchronous(node, "with")
        if isinstance(node.lpar, cst.LeftParen):
            self.token("(")
        items: list[Node] = []
        for item in node.items:
            value, target = self.expression(item.item), None
            if item.asname is not None:
                self.token("as")
                target = self.target(item.asname.name)
            self.comma(item)
            items.append((value, target))
        if isinstance(node.rpar, cst.RightParen):
            self.token(")")
        body = self._suite(node.body)
        return ("with", start, self.at, tuple(items), body, is_async)

    def _match(self, node: cst.Match) -> Node:
        start = self.token("match")
        subject = self.expression(node.subject)
        self.token(":")
        self._indents.append(self._indent if node.indent is None else node.indent)
        cases: list[Node] = []
        for case in node.cases:
            self.token("case")
            starts = self.skip(case.pattern)
            names: list[str] = []
            classes: list[Node] = []
            self._pattern(case.pattern, names, classes, starts)
            for name in names:
                self._scope.names[name] = None
            guard: Node | None = None
            if case.guard is not None:
                self.token("if")
                guard = self.expression(case.guard)
            cases.append((tuple(names), tuple(classes), guard, self._suite(case.body)))
        self._indents.pop()
        return ("match", start, self.at, subject, tuple(cases))

    def _pattern(
        self, pattern: Any, names: list[str], classes: list[Node], starts: dict[int, int]
    ) -> None:
        """What a pattern binds, and the classes that it asks for."""
        if pattern is None:
            return
        kind = cast("type[object]", type(pattern))
        inner: list[Any] = []
        if kind is cst.MatchAs or kind is cst.MatchStar:
            if pattern.name is not None:
                names.append(pattern.name.value)
            inner.append(getattr(pattern, "pattern", None))
        elif kind is cst.MatchOr:
            inner += [element.pattern for element in pattern.patterns]
        elif kind is cst.MatchList or kind is cst.MatchTuple:
            inner += [one if type(one) is cst.MatchStar else one.value for one in pattern.patterns]
        elif kind is cst.MatchMapping:
            inner += [element.pattern for element in pattern.elements]
            if pattern.rest is not None:
                names.append(pattern.rest.value)
        elif kind is cst.MatchClass:
            before, self.at = self.at, starts[id(pattern.cls)]
            classes.append(self.expression(pattern.cls))
            self.at = before
            inner += [element.value for element in pattern.patterns]
            inner += [keyword.pattern for keyword in pattern.kwds]
        for one in inner:
            self._pattern(one, names, classes, starts)

    # --- functions and classes

    def _decorators(self, decorators: Sequence[cst.Decorator]) -> tuple[Node, ...]:
        found: list[Node] = []
        for one in decorators:
            self.token("@")
            found.append(self.expression(one.decorator))
        return tuple(found)

    def _type_parameters(self, node: Any) -> None:
        parameters = getattr(node, "type_parameters", None)
        if parameters is not None:
            self.skip(parameters)

    def _function(self, node: cst.FunctionDef) -> Node:
        name = node.name.value
        self._scope.names[name] = None
        self._scope.captured = True
        decorators = self._decorators(node.decorators)
        whole, is_async = self._asynchronous(node, "def")
        start = self.token(name)
        end = self.at
        self._type_parameters(node)
        self.token("(")
        params = self.parameters(node.params)
        self.token(")")
        returns = self.annotation(node.returns, "->")
        outer = self.inside(params)
        body = self._suite(node.body)
        scope, self._scope = self._scope, outer
        function = Fn(
            name,
            start,
            end,
            is_async,
            scope.is_generator,
            params,
            returns,
            decorators,
            body,
            whole,
            self.at,
            tuple(name for name in scope.names if name not in scope.foreign),
            scope.captured,
        )
        return ("def", whole, self.at, tuple(function))

    def _class(self, node: cst.ClassDef) -> Node:
        name = node.name.value
        self._scope.names[name] = None
        decorators = self._decorators(node.decorators)
        whole = self.token("class")
        start = self.token(name)
        end = self.at
        self._type_parameters(node)
        if isinstance(node.lpar, cst.LeftParen):
            self.token("(")
        arguments = self.arguments((*node.bases, *node.keywords))
        if isinstance(node.rpar, cst.RightParen):
            self.token(")")
        outer, self._scope = self._scope, Scope()
        body = self._suite(node.body)
        self._scope = outer
        self._scope.captured = True
        cls = Cls(name, start, end, arguments, decorators, body, whole, self.at)
        return ("class", whole, self.at, tuple(cls))
