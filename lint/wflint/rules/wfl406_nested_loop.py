"""WFL406, nested-loop.

PYTEST_DONT_REWRITE
"""

from .base import Case, Rule

RULE = Rule(
    code="WFL406",
    name="nested-loop",
    message="`{symbol}` runs another event loop",
    severity="error",
    why="Another loop inside of the workflow's is not replayed, and blocks it.",
    bad=(
        Case(
            "asyncio.run(helper())",
            before="""\
import asyncio
async def helper() -> None: ...""",
        ),
    ),
    good=(
        Case(
            "await helper()",
            before="async def helper() -> None: ...",
        ),
    ),
)
