"""WFL708, large-literal.

PYTEST_DONT_REWRITE
"""

from .base import Case, Rule

RULE = Rule(
    code="WFL708",
    name="large-literal",
    message="a literal of {detail} characters is stored with every call",
    severity="info",
    level="pedantic",
    why="It stands in each history, and is read at each replay. Let the activity hold it.",
    bad=(Case("await act('" + "x" * 8300 + "')"),),
    good=(
        Case(
            "await act('x')",
        ),
    ),
)
