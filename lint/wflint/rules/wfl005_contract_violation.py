"""WFL005, contract-violation.

PYTEST_DONT_REWRITE
"""

from .base import Case, Rule

RULE = Rule(
    code="WFL005",
    name="contract-violation",
    message="`{symbol}` is vouched for as deterministic, but {detail}",
    severity="error",
    why=(
        "An assumption must not hide a contradiction that stands in the very same function; "
        "suppress it at the effect instead."
    ),
    bad=(
        Case(
            "helper()",
            before="""\
import time
def helper() -> float:  # wflint: deterministic -- trust me
    return time.time()""",
        ),
    ),
    good=(
        Case(
            "helper()",
            before="""\
def helper() -> int:  # wflint: deterministic -- pure
    return 1""",
        ),
    ),
)
