"""WFL704, rigid-signature.

PYTEST_DONT_REWRITE
"""

from .base import Case, Rule

RULE = Rule(
    code="WFL704",
    name="rigid-signature",
    message="`{symbol}`: {detail} are hard to change while runs are in flight",
    severity="warning",
    level="strict",
    local=True,
    why="A single object with defaults can grow; a list of positions can't.",
    bad=(
        Case(
            """\
from perdure import workflow

@workflow
async def flow(a: int, b: int, c: int, d: int) -> None: ...
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
