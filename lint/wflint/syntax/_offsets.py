"""Where nodes stand in the text, by writing the tree out without keeping what is written.

LibCST's own position providers copy the tree and visit it several times over; this costs a sixth.

PYTEST_DONT_REWRITE
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any, Final

import libcst as cst
from libcst._nodes.internal import CodegenState

_COMPOUND: Final = frozenset(
    {
        *(cst.FunctionDef, cst.ClassDef, cst.If, cst.For, cst.While, cst.Try, cst.TryStar),
        *(cst.With, cst.Match),
    }
)
"""What has empty lines, comments and decorators before it that do not belong to its position."""

_COMMENT: Final = cst.Comment
_NOTHING: Final = nullcontext()


class Offsets(CodegenState):
    """Records the offset of each node's beginning and end while a module is written out."""

    def __init__(self, module: cst.Module) -> None:
        super().__init__(module.default_indent, module.default_newline)
        self.at = 0
        self.starts: dict[int, int] = {}
        self.ends: dict[int, int] = {}
        self.comments: list[tuple[int, str]] = []

    def add_indent_tokens(self) -> None:
        for token in self.indent_tokens:
            self.at += len(token)

    def add_token(self, value: str) -> None:
        self.at += len(value)

    def before_codegen(self, node: cst.CSTNode) -> None:
        self.starts[id(node)] = self.at
        if type(node) is _COMMENT:
            self.comments.append((self.at, node.value))

    def after_codegen(self, node: cst.CSTNode) -> None:
        self.ends[id(node)] = self.at

    def pop_trailing_newline(self) -> None:
        pass

    # The base promises a generator's context manager, which costs more than all the rest.
    def record_syntactic_position(  # type: ignore[override]  # pyright: ignore[reportIncompatibleMethodOverride]
        self,
        node: cst.CSTNode,
        *,
        start_node: cst.CSTNode | None = None,
        end_node: cst.CSTNode | None = None,
    ) -> AbstractContextManager[Any]:
        if type(node) in _COMPOUND:
            self.starts[id(node)] = self.at
        return _NOTHING
