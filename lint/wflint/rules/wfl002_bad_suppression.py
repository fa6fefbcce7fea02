"""WFL002, bad-suppression.

PYTEST_DONT_REWRITE
"""

from .base import Case, Rule

RULE = Rule(
    code="WFL002",
    name="bad-suppression",
    message="`{symbol}` {detail}",
    severity="error",
    local=True,
    why=(
        "A suppression that names no rule keeps quiet what nobody has looked at; one that names "
        "an unknown rule keeps quiet nothing."
    ),
    bad=(
        Case(
            "await act(time.time())  # wflint: ignore",
            before="import time",
        ),
        Case(
            "await act(1)  # wflint: ignore[WFL999] -- ?",
        ),
    ),
    good=(
        Case(
            "await act(time.time())  # wflint: ignore[wall-clock] -- shown to people only",
            before="import time",
        ),
    ),
)
