"""WFL411, shared-handler-race.

PYTEST_DONT_REWRITE
"""

from .base import Case, Rule

RULE = Rule(
    code="WFL411",
    name="shared-handler-race",
    message="`{symbol}` is read before an `await` and written after it, and {detail} writes it too",
    severity="info",
    level="pedantic",
    local=True,
    why=(
        "Handlers run whenever a message comes. Between the read and the write another one may "
        "have written: deterministic, but an update is lost."
    ),
    bad=(
        Case(
            """\
import asyncio
from temporalio import workflow

@workflow.defn
class Flow:
    def __init__(self) -> None:
        self.total = 0

    @workflow.run
    async def run(self) -> None: ...

    @workflow.signal
    async def add(self, n: int) -> None:
        before = self.total
        await asyncio.sleep(1)
        self.total = before + n

    @workflow.signal
    async def reset(self) -> None:
        self.total = 0
""",
            whole=True,
        ),
    ),
    good=(
        Case(
            """\
import asyncio
from temporalio import workflow

@workflow.defn
class Flow:
    def __init__(self) -> None:
        self.total = 0

    @workflow.run
    async def run(self) -> None: ...

    @workflow.signal
    async def add(self, n: int) -> None:
        await asyncio.sleep(1)
        self.total += n
""",
            whole=True,
        ),
    ),
)
