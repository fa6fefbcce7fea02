"""WFL706, activity-call-mismatch.

PYTEST_DONT_REWRITE
"""

from .base import Case, Rule

RULE = Rule(
    code="WFL706",
    name="activity-call-mismatch",
    message="`{symbol}` {detail}",
    severity="error",
    why="The call fails when it runs, which is after everything before it was done.",
    bad=(
        Case(
            "await charge('x')",
            before="""\
from perdure import activity, workflow
@activity
async def charge(order: str, amount: int) -> None: ...
@activity
async def act(value: object = None) -> str: ...""",
        ),
        Case(
            "await act(1, 2)",
        ),
        Case(
            "await act(valeu=1)",
        ),
    ),
    good=(
        Case(
            "await act(1)",
        ),
        Case(
            "await act(value=1)",
        ),
        Case(
            "await act()",
        ),
    ),
)
