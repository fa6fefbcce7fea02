"""WFL508, dynamic-code.

PYTEST_DONT_REWRITE
"""

from .base import Case, Rule

RULE = Rule(
    code="WFL508",
    name="dynamic-code",
    message="`{symbol}` runs code that nobody can check",
    severity="error",
    why="What a string or a name found at run time leads to is not known before it runs.",
    bad=(
        Case(
            "await act(eval(text))",
            signature="text: str",
        ),
        Case(
            "await act(importlib.import_module(name))",
            before="import importlib",
            signature="name: str",
        ),
        Case(
            "await act(getattr(math, name)(1))",
            before="import math",
            signature="name: str",
        ),
    ),
    good=(
        Case(
            "await act(getattr(math, 'sqrt')(4))",
            before="import math",
        ),
    ),
)
