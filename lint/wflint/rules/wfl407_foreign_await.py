"""WFL407, foreign-await.

PYTEST_DONT_REWRITE
"""

from .base import Case, Rule

RULE = Rule(
    code="WFL407",
    name="foreign-await",
    message="`{symbol}` is awaited, and is no part of the workflow",
    severity="warning",
    level="strict",
    why="What is awaited is neither recorded nor repeated at replay.",
    bad=(
        Case(
            """\
import tools
from temporalio import activity, workflow

@activity.defn
async def act(value: str) -> str: ...

@workflow.defn
class Flow:
    @workflow.run
    async def run(self) -> None:
        await tools.fetch('k')
""",
            whole=True,
        ),
    ),
    good=(
        Case(
            "await act(1)",
        ),
    ),
)
