"""Parameters, annotations and lambdas.

PYTEST_DONT_REWRITE
"""

from __future__ import annotations

import re
from typing import Final

import libcst as cst

from . import Fn, Node, Param
from ._expressions import Expressions, Scope

_QUOTE: Final = re.compile(r"""[uUrR]?(\"{3}|'{3}|"|')""").match


class Functions(Expressions):
    """What functions are made of, besides their statements."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._expressions[cst.Lambda] = self._lambda

    def annotation(self, node: cst.Annotation | None, before: str) -> Node | None:
        """What follows a ``:`` or ``->``."""
        if node is None:
            return None
        self.token(before)
        return self._quoted(self.expression(node.annotation))

    def _quoted(self, annotation: Node) -> Node:
        """An annotation; one in quotes as if it stood without them."""
        if annotation[0] == "const" and annotation[3] == "str" and annotation[4]:
            return self._unquoted(annotation)
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

    def _unquoted(self, annotation: Node) -> Node:
        _, start, end, _, value = annotation
        quote = _QUOTE(self._text, start, end)
        if quote is None or not self._text.startswith(value + quote[1], quote.end()):
            return annotation  # in parentheses, in pieces or with escapes
        before = self.at
        try:
            inner = cst.parse_expression(value)
            self.at = quote.end()
            return self.expression(inner)
        except Exception:
            return annotation
        finally:
            self.at = before

    def parameters(self, node: cst.Parameters) -> tuple[Node, ...]:
        """Those of a function or lambda."""
        found: list[Node] = []
        for one in node.posonly_params:
            found.append(self._parameter(one, "pos"))
        if isinstance(node.posonly_ind, cst.ParamSlash):
            self.token("/")
            self.comma(node.posonly_ind)
        for one in node.params:
            found.append(self._parameter(one, "any"))
        if isinstance(node.star_arg, cst.Param):
            found.append(self._parameter(node.star_arg, "*"))
        elif isinstance(node.star_arg, cst.ParamStar):
            self.token("*")
            self.token(",")
        for one in node.kwonly_params:
            found.append(self._parameter(one, "kw"))
        if node.star_kwarg is not None:
            found.append(self._parameter(node.star_kwarg, "**"))
        return tuple(found)

    def _parameter(self, param: cst.Param, kind: str) -> Node:
        if kind in ("*", "**"):
            self.token(kind)
        name = param.name.value
        start = self.token(name)
        end = self.at
        annotation = self.annotation(param.annotation, ":")
        default: Node | None = None
        if param.default is not None:
            self.token("=")
            default = self.expression(param.default)
        self.comma(param)
        return tuple(Param(name, kind, annotation, default, start, end))

    def inside(self, params: tuple[Node, ...]) -> Scope:
        """Goes into a function; the scope to come back to."""
        outer, self._scope = self._scope, Scope()
        for param in params:
            self._scope.names[param[0]] = None
        return outer

    def _lambda(self, node: cst.Lambda) -> Node:
        start = self.open(node)
        self.token("lambda")
        self._scope.captured = True
        params = self.parameters(node.params)
        self.token(":")
        outer = self.inside(params)
        value = self.expression(node.body)
        scope, self._scope = self._scope, outer
        span = (start, self.close(node))
        body = (("return", value[1], value[2], value),)
        function = Fn(
            *("<lambda>", *span, False, scope.is_generator, params, None, (), body, *span),
            tuple(scope.names),
            scope.captured,
        )
        return ("lambda", *span, tuple(function))
