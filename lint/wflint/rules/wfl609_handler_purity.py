"""WFL609, handler-purity.

PYTEST_DONT_REWRITE
"""

from .base import Case, Rule

RULE = Rule(
    code="WFL609",
    name="handler-purity",
    message="`{symbol}` {detail} in a query or a validator",
    severity="error",
    why="Queries and validators are not in the history. What they change, no replay repeats.",
    bad=(
        Case(
            """\
count = 0
@size.handler
def _() -> int:
    nonlocal count
    count += 1
    return count
await act(count)""",
            before="""\
import perdure
from perdure import Query, activity, workflow
size = Query('size', int)""",
        ),
        Case(
            """\
from temporalio import workflow

@workflow.defn
class Flow:
    def __init__(self) -> None:
        self.n = 0

    @workflow.run
    async def run(self) -> None: ...

    @workflow.query
    def q(self) -> int:
        self.n += 1
        return self.n
""",
            whole=True,
        ),
    ),
    good=(
        Case(
            """\
count = 0
@size.handler
def _() -> int:
    return count
await act(count)""",
            before="""\
import perdure
from perdure import Query, activity, workflow
size = Query('size', int)""",
        ),
    ),
)
