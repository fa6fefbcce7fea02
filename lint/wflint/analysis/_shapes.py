"""Shapes of statements, by their syntax alone.

PYTEST_DONT_REWRITE
"""

from __future__ import annotations

from typing import Any, Final

from ..syntax import Node
from ._builtins import LOG_METHODS
from ._modules import Function, each_statement, walk

_EXITS: Final = frozenset({"return", "raise", "break", "continue"})


def declares_global(function: Function, name: str) -> bool:
    return any(s[0] == "global" and name in s[3] for s in each_statement(function.fn.body))


def is_type_checking(test: Node) -> bool:
    if test[0] == "name":
        return bool(test[3] == "TYPE_CHECKING")
    return bool(test[0] == "attr" and test[4] == "TYPE_CHECKING")


def single_name(test: Node) -> tuple[str, bool] | None:
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


def leaves(body: tuple[Node, ...]) -> bool:
    return any(statement[0] in _EXITS for statement in each_statement(body))


def leaves_loop(body: tuple[Node, ...]) -> bool:
    """Whether a loop's body can end the loop; breaks of inner loops do not."""
    for statement in body:
        tag = statement[0]
        if tag in ("return", "raise", "break"):
            return True
        if tag == "if" and (leaves_loop(statement[4]) or leaves_loop(statement[5])):
            return True
        if tag in ("for", "while"):
            inner = (*statement[4], *statement[5]) if tag == "while" else statement[5]
            if any(s[0] in ("return", "raise") for s in each_statement(tuple(inner))):
                return True
        if tag == "try":
            handled = [s for handler in statement[4] for s in handler[4]]
            parts = (*statement[3], *handled, *statement[5], *statement[6])
            if leaves_loop(parts):
                return True
        if tag == "with" and leaves_loop(statement[4]):
            return True
        if tag == "match" and any(leaves_loop(case[3]) for case in statement[4]):
            return True
    return False


def raises_always(body: tuple[Node, ...]) -> bool:
    """Whether every way through a block ends in ``raise``."""
    for statement in body:
        tag = statement[0]
        if tag == "raise":
            return True
        if tag == "if" and raises_always(statement[4]) and raises_always(statement[5]):
            return True
        if tag == "try" and (raises_always(statement[6]) or raises_always(statement[3])):
            return True
        if tag == "with" and raises_always(statement[4]):
            return True
    return False


def changes_something(node: Node) -> bool:
    """Whether a statement's body assigns, or leaves."""
    bodies = (*node[4], *node[5])
    return any(
        statement[0] in ("assign", "aug", "ann", "del") or statement[0] in _EXITS
        for statement in each_statement(bodies)
    )


def mentions(body: tuple[Node, ...], name: str) -> bool:
    return any(
        (node[0] == "attr" and node[4] == name) or (node[0] == "name" and node[3] == name)
        for node in walk(body)
    )


def order_free(body: tuple[Node, ...]) -> bool | None:
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
            if statement[3][3][4] in ("add", "discard", "update") and not awaits(statement):
                continue
            return None
        if tag == "aug" and statement[4] in ("+", "|", "&") and statement[5][0] == "const":
            continue
        if tag == "assign" and all(target[0] == "sub" for target in statement[3]):
            if awaits(statement):
                return None
            fills = True
            continue
        if tag == "if" and not awaits(statement[3]):
            bodies: list[Any] = [statement[4], statement[5]]
            inner = [order_free(one) for one in bodies]
            if None in inner:
                return None
            fills = fills or any(inner)
            continue
        return None
    return fills


def only_logs(body: tuple[Node, ...]) -> bool:
    """Whether a block does nothing but log."""
    return all(
        statement[0] == "pass"
        or (statement[0] == "expr" and _is_log_call(statement[3]))
        or (statement[0] == "if" and only_logs(statement[4]) and only_logs(statement[5]))
        for statement in body
    )


def is_only_logged(function: Function, name: str) -> bool:
    """Whether a local variable is read in the arguments of log calls, and nowhere else."""
    logged = read = 0
    for node in walk(function.fn.body):
        if node[0] == "name" and node[3] == name:
            read += 1
        elif _is_log_call(node):
            logged += sum(one[0] == "name" and one[3] == name for one in walk(node[4]))
    return 0 < logged == read - 1  # once it is assigned


def _is_log_call(node: Node) -> bool:
    return node[0] == "call" and looks_like_logging(node[3])


def looks_like_logging(function: Node) -> bool:
    """Whether a function is, by its name, a method of a logger."""
    if function[0] != "attr" or function[4] not in LOG_METHODS:
        return False
    owner = function[3]
    last = owner[3] if owner[0] == "name" else owner[4] if owner[0] == "attr" else ""
    return isinstance(last, str) and last.lower().strip("_") in ("log", "logger", "logging")


def awaits(node: Node) -> bool:
    return any(one[0] in ("await", "yield", "yieldfrom") for one in walk(node))
