"""Imports that a fix needs, as further replacements.

PYTEST_DONT_REWRITE
"""

from __future__ import annotations

from ..analysis import Edit, Module


def import_edits(module: Module, needed: str) -> list[Edit]:
    """What makes ``module:name`` known in a file; nothing where it is known already."""
    source, _, name = needed.partition(":")
    for statement in module.bindings.get(name, ()):
        if statement[0] == "from" and statement[4] == source:
            return []
    place = 0
    line_end = "\r\n" if "\r\n" in module.text else "\n"
    for statement in module.tree.body:
        if statement[0] == "from" and statement[4] == source and not statement[3]:
            if statement[5] != "*" and module.text[statement[2] - 1] != ")":
                return [Edit(statement[2], statement[2], f", {name}")]
        if statement[0] in ("import", "from"):
            place = statement[2]
        elif statement[0] == "expr" and not place:
            place = statement[2]  # the docstring
    after = module.text.find("\n", place)
    at = len(module.text) if place and after < 0 else after + 1 if place else 0
    return [Edit(at, at, f"from {source} import {name}{line_end}")]
