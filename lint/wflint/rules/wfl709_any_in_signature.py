"""WFL709, any-in-signature.

PYTEST_DONT_REWRITE
"""

from .base import Case, Rule

RULE = Rule(
    code="WFL709",
    name="any-in-signature",
    message="`{symbol}` says nothing of {detail}",
    severity="info",
    level="pedantic",
    local=True,
    why="A payload that may be anything is decoded as whatever JSON makes of it.",
    bad=(
        Case(
            """\
from typing import Any
from perdure import workflow

@workflow
async def flow(order: Any) -> None: ...
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
