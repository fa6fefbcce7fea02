"""WFL307, interactive.

PYTEST_DONT_REWRITE
"""

from .base import Case, Rule

RULE = Rule(
    code="WFL307",
    name="interactive",
    message="`{symbol}` waits for a person at the worker's terminal",
    severity="error",
    why="Nobody sits at a worker's terminal, and nobody will at its replay.",
    bad=(
        Case(
            "await act(input('name? '))",
        ),
        Case(
            "breakpoint()",
        ),
    ),
    good=(
        Case(
            "await act('name?')",
        ),
    ),
)
