"""WFL001, unused-suppression.

PYTEST_DONT_REWRITE
"""

from .base import Case, Rule

RULE = Rule(
    code="WFL001",
    name="unused-suppression",
    message="`{symbol}` keeps nothing quiet",
    severity="warning",
    fix="safe",
    local=True,
    why=(
        "A comment that keeps nothing quiet hides the next finding on its line, and tells "
        "readers of a problem that is not there."
    ),
    wrong_if="Other settings would bring a finding here.",
    bad=(
        Case(
            "await act(1)  # wflint: ignore[WFL201] -- was needed once",
            fixed="await act(1)",
        ),
    ),
    good=(
        Case(
            "await act(time.time())  # wflint: ignore[WFL201] -- measured only",
            before="import time",
        ),
    ),
)
