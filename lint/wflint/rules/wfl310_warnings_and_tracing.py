"""WFL310, warnings-and-tracing.

PYTEST_DONT_REWRITE
"""

from .base import Case, Rule

RULE = Rule(
    code="WFL310",
    name="warnings-and-tracing",
    message="`{symbol}` depends on what the process did before",
    severity="info",
    level="pedantic",
    why=(
        "A warning is shown once for each process; tracing belongs to the process, not to the "
        "workflow."
    ),
    bad=(
        Case(
            "warnings.warn('old')",
            before="import warnings",
        ),
    ),
    good=(
        Case(
            "perdure.logger.warning('old')",
        ),
    ),
)
