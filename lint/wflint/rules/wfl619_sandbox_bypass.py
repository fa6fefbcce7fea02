"""WFL619, sandbox-bypass.

PYTEST_DONT_REWRITE
"""

from .base import Case, Rule

RULE = Rule(
    code="WFL619",
    name="sandbox-bypass",
    message="`{symbol}` switches the sandbox off",
    severity="warning",
    level="strict",
    why="What the sandbox would have refused runs now; the linter is all that is left.",
    bad=(
        Case(
            """\
from temporalio import workflow

@workflow.defn(sandboxed=False)
class Flow:
    @workflow.run
    async def run(self) -> None: ...
""",
            whole=True,
        ),
        Case(
            """\
from temporalio import activity, workflow

@activity.defn
async def act(value: str) -> str: ...

@workflow.defn
class Flow:
    @workflow.run
    async def run(self) -> None:
        with workflow.unsafe.sandbox_unrestricted():
            pass
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
    @workflow.run
    async def run(self) -> None: ...
""",
            whole=True,
        ),
    ),
)
