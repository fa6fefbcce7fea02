"""WFL409, gather-without-return-exceptions.

PYTEST_DONT_REWRITE
"""

from .base import Case, Rule

RULE = Rule(
    code="WFL409",
    name="gather-without-return-exceptions",
    message="`{symbol}` gives up on the others at the first error",
    severity="info",
    level="pedantic",
    why=(
        "The first error ends `gather` while the other steps go on; after a recovery they may "
        "end in another order. With `return_exceptions=True` all of them are waited for."
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
    await asyncio.gather(step(1), step(2))
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
    await asyncio.gather(step(1), step(2), return_exceptions=True)
""",
            whole=True,
        ),
    ),
)
