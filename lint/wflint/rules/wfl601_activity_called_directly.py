"""WFL601, activity-called-directly.

PYTEST_DONT_REWRITE
"""

from .base import Case, Rule

RULE = Rule(
    code="WFL601",
    name="activity-called-directly",
    message="`{symbol}` is called like a function: the {detail} runs in the workflow, unrecorded",
    severity="error",
    fix="unsafe",
    why=(
        "With this framework an activity has to be scheduled. Called directly it runs inside of "
        "the workflow, again at every replay."
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
        await act('x')
""",
            whole=True,
        ),
    ),
    good=(
        Case(
            """\
from temporalio import activity, workflow

@activity.defn
async def act(value: str) -> str: ...

@workflow.defn
class Flow:
    @workflow.run
    async def run(self) -> None:
        await workflow.execute_activity(act, 'x')
""",
            whole=True,
        ),
        Case(
            "await act(1)",
        ),
    ),
)
