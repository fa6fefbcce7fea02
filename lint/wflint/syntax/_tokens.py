"""Where nodes stand in the text: it is read along with the tree, one token after the other.

LibCST's tree knows no positions. Its own providers of them copy the tree and visit it several
times over, and even writing the tree out costs a third of parsing it, for most of its nodes are
white space. That is what this passes over with one regular expression.

PYTEST_DONT_REWRITE
"""

from __future__ import annotations

import re
from typing import Any, Final

import libcst as cst
from libcst._nodes.internal import CodegenState

from . import Comment

_BLANK: Final = frozenset(" \t\n\r\f\\#")
_SPACE: Final = re.compile(r"(?:[ \t\n\r\f]+|\\(?:\r\n|\n|\r)|#[^\r\n]*)+").match
_COMMENT: Final = re.compile(r"#[^\r\n]*").finditer
_END: Final = "\0"
"""Stands behind the text, so that looking at what is next needs no question."""


class LostError(Exception):
    """The tree does not say what the text says."""


class Tokens:
    """Goes through a text token by token, as the tree foretells them.

    Args:
        text: what the tree was made from.
    """

    def __init__(self, text: str) -> None:
        self._text = text + _END
        self._indents: list[str] = []
        self.at = 0
        self.comments: list[Comment] = []

    def space(self) -> int:
        """Passes over white space, comments and continued lines; where the next token is."""
        at = self.at
        if self._text[at] in _BLANK:
            found = _SPACE(self._text, at)
            if found is not None:
                end = found.end()
                if "#" in self._text[at:end]:
                    for comment in _COMMENT(self._text, at, end):
                        self.comments.append(Comment(comment.start(), comment.group()))
                self.at = at = end
        return at

    def token(self, value: str) -> int:
        """Passes over a token; where it began.

        Raises:
            LostError: something else stands there.
        """
        at = self.space()
        if not self._text.startswith(value, at):
            raise LostError(f"{value!r} was expected at offset {at}")
        self.at = at + len(value)
        return at

    def verbatim(self, value: str) -> int:
        """Passes over what may begin with a space."""
        at = self.at
        if not self._text.startswith(value, at):
            raise LostError(f"{value!r} was expected at offset {at}")
        self.at = at + len(value)
        return at

    def comma(self, node: Any) -> None:
        """Passes over the comma behind a node, if it has one."""
        if type(node.comma) is cst.Comma:
            self.token(",")

    def skip(self, node: cst.CSTNode) -> dict[int, int]:
        """Passes over all of a node; the offsets at which it and its parts begin, by ``id``."""
        self.space()
        written = _Written(self._indents, self.at, self.comments)
        node._codegen(written)  # pyright: ignore[reportPrivateUsage]
        self.at = written.at
        return written.starts


class _Written(CodegenState):
    """Counts the characters of a node that is written out, without keeping them."""

    def __init__(self, indents: list[str], at: int, comments: list[Comment]) -> None:
        super().__init__("", "\n", indent_tokens=indents)
        self.at = at
        self.comments = comments
        self.starts: dict[int, int] = {}

    def add_indent_tokens(self) -> None:
        for token in self.indent_tokens:
            self.at += len(token)

    def add_token(self, value: str) -> None:
        self.at += len(value)

    def before_codegen(self, node: cst.CSTNode) -> None:
        self.starts[id(node)] = self.at
        if type(node) is cst.Comment:
            self.comments.append(Comment(self.at, node.value))
