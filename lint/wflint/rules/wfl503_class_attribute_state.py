"""WFL503, class-attribute-state.

PYTEST_DONT_REWRITE
"""

from .base import Case, Rule

RULE = Rule(
    code="WFL503",
    name="class-attribute-state",
    message="`{symbol}` is shared by all objects of the class",
    severity="error",
    why="A class attribute belongs to all runs on the worker.",
    bad=(
        Case(
            """\
from temporalio import workflow

@workflow.defn
class Flow:
    items: list[str] = []

    @workflow.run
    async def run(self) -> None:
        self.items.append('x')
""",
            whole=True,
        ),
    ),
    good=(
        Case(
            """\
from temporalio import workflow

@workflow.defn
class Flow:
    def __init__(self) -> None:
        self.items: list[str] = []

    @workflow.run
    async def run(self) -> None:
        self.items.append('x')
""",
            whole=True,
        ),
    ),
)
