"""WFL617, non-workflow-exception.

PYTEST_DONT_REWRITE
"""

from .base import Case, Rule

RULE = Rule(
    code="WFL617",
    name="non-workflow-exception",
    message="`{symbol}` fails the task, and not the workflow",
    severity="info",
    level="pedantic",
    why=(
        "With this framework only its own exceptions end a workflow. Any other one, or an "
        "`assert`, fails the task, which is tried again for ever."
    ),
    bad=(
        Case(
            """\
from temporalio import activity, workflow

@activity.defn
async def act(value: str) -> str: ...

@workflow.defn
class Flow:
    @workflow.run
    async def run(self) -> None:
        assert 1 > 2
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
        raise ValueError('x')
""",
            whole=True,
        ),
    ),
    good=(
        Case(
            """\
from temporalio.exceptions import ApplicationError
from temporalio import activity, workflow

@activity.defn
async def act(value: str) -> str: ...

@workflow.defn
class Flow:
    @workflow.run
    async def run(self) -> None:
        raise ApplicationError('x')
""",
            whole=True,
        ),
    ),
)
