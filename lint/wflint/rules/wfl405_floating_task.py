"""WFL405, floating-task.

PYTEST_DONT_REWRITE
"""

from .base import Case, Rule

RULE = Rule(
    code="WFL405",
    name="floating-task",
    message="the task that `{symbol}` starts is dropped",
    severity="error",
    why=(
        "A task that nobody keeps may be collected in the middle, its error is lost, and it is "
        "cut off when the workflow ends."
    ),
    bad=(
        Case(
            """\
asyncio.create_task(helper())
await act(1)""",
            before="""\
import asyncio
async def helper() -> None: ...""",
        ),
    ),
    good=(
        Case(
            """\
task = asyncio.create_task(helper())
await act(1)
await task""",
            before="""\
import asyncio
async def helper() -> None: ...""",
        ),
    ),
)
