"""WFL403, unordered-wait.

PYTEST_DONT_REWRITE
"""

from .base import Case, Rule

RULE = Rule(
    code="WFL403",
    name="unordered-wait",
    message="`{symbol}` gives results in an order that is not recorded",
    severity="error",
    why=(
        "Which of several coroutines ends first is not in the history, unless the framework's "
        "own combinator puts it there."
    ),
    bad=(
        Case(
            """\
import asyncio
from dbos import DBOS

@DBOS.step()
async def step(value: int) -> int: ...

@DBOS.workflow()
async def flow() -> None:
    done, _ = await asyncio.wait([asyncio.create_task(step(1))])
""",
            whole=True,
        ),
        Case(
            """\
for one in asyncio.as_completed([helper(1), helper(2)]):
    await one""",
            before="""\
import asyncio
from perdure import activity, workflow
async def helper(n):
    await act(n)
@activity
async def act(value: object = None) -> str: ...""",
        ),
    ),
    good=(
        Case(
            "done, pending = await asyncio.wait([act(1)])",
            before="import asyncio",
        ),
    ),
)
