"""WFL408, interleaved-sequences.

PYTEST_DONT_REWRITE
"""

from .base import Case, Rule

RULE = Rule(
    code="WFL408",
    name="interleaved-sequences",
    message="`{symbol}` runs several sequences of steps at once, whose numbering depends on timing",
    severity="error",
    why=(
        "Where steps are told apart by their position, two sequences that run at once number "
        "theirs in the order in which they happen to come along."
    ),
    bad=(
        Case(
            """\
import asyncio
from dbos import DBOS

@DBOS.step()
async def step(value: int) -> int: ...

async def sequence(n: int) -> None:
    await step(n)
    await step(n)

@DBOS.workflow()
async def flow() -> None:
    await asyncio.gather(sequence(1), sequence(2))
""",
            whole=True,
        ),
    ),
    good=(
        Case(
            """\
import asyncio
from dbos import DBOS

@DBOS.step()
async def step(value: int) -> int: ...

@DBOS.workflow()
async def flow() -> None:
    await asyncio.gather(step(1), step(2))
""",
            whole=True,
        ),
        Case(
            "await asyncio.gather(sequence(), sequence())",
            before="""\
import asyncio
from perdure import activity, workflow
@activity
async def act(value: object = None) -> str: ...
async def sequence() -> None:
    await act(1)
    await act(2)""",
        ),
    ),
)
