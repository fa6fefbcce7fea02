"""WFL701, missing-annotation.

PYTEST_DONT_REWRITE
"""

from .base import Case, Rule

RULE = Rule(
    code="WFL701",
    name="missing-annotation",
    message="{symbol} has no type",
    severity="warning",
    local=True,
    why=(
        "Payloads are decoded by their annotations; without one a dictionary comes back where "
        "an object went in."
    ),
    bad=(
        Case(
            """\
from perdure import workflow

@workflow
async def flow(order) -> None: ...
""",
            whole=True,
        ),
    ),
    good=(
        Case(
            "await act(1)",
            signature="order: str",
        ),
    ),
)
