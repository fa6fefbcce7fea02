"""Source text into a small tree of plain tuples, which is all that the analysis sees of a file.

The tree is a pure function of the file's text, holds nothing but tuples, strings and numbers, and
is therefore kept in the cache as it is. LibCST reads the text, whatever version of Python it is
written for; nothing else of LibCST is used, for its visitors cost more than the parsing.

An expression is ``(tag, start, end, …)``, a statement too; ``start`` and ``end`` are offsets of
characters in the text:

====================  =============================================================================
``name``              identifier
``const``             type (``str``, ``int``, …) and value
``fstr``              parts, each an expression and its conversion (``r``, ``s``, ``a`` or ````)
``attr``              value, attribute
``call``              function, arguments as (``""``, ``*`` or ``**``; keyword or ``None``; value)
``sub``               value, index
``slice``             lower, upper, step
``un``, ``bin``       operator, operand or operands
``bool``              operator, left, right
``cmp``               left, then pairs of operator and right
``ifexp``             test, value if true, value if false
``lambda``            a function
``await``, ``yield``  value or ``None``; ``yieldfrom`` too
``list``, ``tuple``   elements; ``set`` too
``dict``              pairs of key (``None`` before ``**value``) and value
``star``              ``*value``
``comp``              ``list``, ``set``, ``dict`` or ``gen``; element or key; value of a dict or
                      ``None``; clauses of target, iterable, conditions, asynchronous
``walrus``            target, value
====================  =============================================================================

Statements: ``expr``, ``assign`` (targets, value), ``ann`` (target, annotation, value), ``aug``
(target, operator, value), ``return``, ``raise`` (exception, cause), ``del``, ``global``,
``nonlocal``, ``import``, ``from`` (level, module, names or ``*``), ``assert``, ``pass``,
``break``, ``continue``, ``if``, ``for``, ``while``, ``try``, ``with``, ``match``, ``def``,
``class``, ``type``.

PYTEST_DONT_REWRITE
"""

from typing import Any, Final, NamedTuple

Node = tuple[Any, ...]
"""An expression or a statement."""

TAG: Final = 0
START: Final = 1
END: Final = 2

VERSION: Final = 2
"""Changed whenever the tree of a text is."""


class Param(NamedTuple):
    """A parameter. ``kind`` is one of ``pos``, ``any``, ``*``, ``kw`` and ``**``."""

    name: str
    kind: str
    annotation: Node | None
    default: Node | None
    start: int
    end: int


class Fn(NamedTuple):
    """A function or lambda; offsets are those of its name, and of all of it."""

    name: str
    start: int
    end: int
    is_async: bool
    is_generator: bool
    params: tuple[Node, ...]
    """Plain tuples of :class:`Param`."""
    returns: Node | None
    decorators: tuple[Node, ...]
    body: tuple[Node, ...]
    whole_start: int
    whole_end: int
    local_names: tuple[str, ...]
    captured: bool
    """Whether functions are nested in it, which may see its variables."""


class Cls(NamedTuple):
    """A class; offsets as in :class:`Fn`."""

    name: str
    start: int
    end: int
    arguments: tuple[Node, ...]
    decorators: tuple[Node, ...]
    body: tuple[Node, ...]
    whole_start: int
    whole_end: int


class Comment(NamedTuple):
    """A comment, from its ``#``."""

    start: int
    text: str


class Tree(NamedTuple):
    """A file."""

    body: tuple[Node, ...]
    comments: tuple[Comment, ...]


class UnparsableError(Exception):
    """A text that is not Python; with the line and column, from 1."""

    def __init__(self, message: str, line: int, column: int) -> None:
        super().__init__(message)
        self.message = message
        self.line = line
        self.column = column
