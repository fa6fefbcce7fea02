"""All rules, by their codes. A rule is a module of its own in this folder.

PYTEST_DONT_REWRITE
"""

from __future__ import annotations

from functools import cache
from importlib import import_module
from importlib.resources import files

from .base import Case as Case
from .base import Rule as Rule


@cache
def all_rules() -> dict[str, Rule]:
    """Rules by code, in order."""
    found: dict[str, Rule] = {}
    names = (item.name for item in files(__package__ or "").iterdir())
    for name in sorted(names):
        if name.startswith("wfl") and name.endswith(".py"):
            module = import_module(f"{__package__}.{name.removesuffix('.py')}")
            rule: Rule = module.RULE
            found[rule.code] = rule
    return found


def find_rule(name: str) -> Rule | None:
    """A rule by its code or its name, in any case."""
    wanted = name.strip()
    by_code = all_rules().get(wanted.upper())
    if by_code is not None:
        return by_code
    return next((one for one in all_rules().values() if one.name == wanted.lower()), None)


__all__ = ["Case", "Rule", "all_rules", "find_rule"]
