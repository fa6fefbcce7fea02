"""WFL404, raw-asyncio.

PYTEST_DONT_REWRITE
"""

from .base import Case, Rule

RULE = Rule(
    code="WFL404",
    name="raw-asyncio",
    message="`{symbol}` runs on a loop that is not replayed",
    severity="error",
    why="On an event loop of the application, timers and tasks are neither recorded nor repeated.",
    bad=(
        Case(
            """\
import asyncio
from dbos import DBOS

@DBOS.step()
async def step(value: int) -> int: ...

@DBOS.workflow()
async def flow() -> None:
    await asyncio.sleep(5)
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
    await DBOS.sleep_async(5)
""",
            whole=True,
        ),
        Case(
            "await asyncio.sleep(5)",
            before="import asyncio",
        ),
    ),
)
