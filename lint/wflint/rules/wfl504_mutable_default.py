"""WFL504, mutable-default.

PYTEST_DONT_REWRITE
"""

from .base import Case, Rule

RULE = Rule(
    code="WFL504",
    name="mutable-default",
    message="the default `{symbol}` is made once in each process",
    severity="warning",
    local=True,
    why=(
        "A default is evaluated when the function is defined: all calls share it, and an "
        "ambient one differs from worker to worker."
    ),
    bad=(
        Case(
            "await act(names)",
            signature="names: list[str] = []",
        ),
        Case(
            "await act(at)",
            before="import time",
            signature="at: float = time.time()",
        ),
    ),
    good=(
        Case(
            "await act(names)",
            signature="names: list[str] | None = None",
        ),
    ),
)
