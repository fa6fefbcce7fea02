"""WFL616, activity-options.

PYTEST_DONT_REWRITE
"""

from .base import Case, Rule

RULE = Rule(
    code="WFL616",
    name="activity-options",
    message="`{symbol}` has no time limit: give {detail}",
    severity="warning",
    level="strict",
    why=(
        "Without a limit the server refuses the activity, or waits for a worker that is gone "
        "for as long as its defaults say."
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
        await workflow.execute_activity(act, 'x')
""",
            whole=True,
        ),
    ),
    good=(
        Case(
            """\
from datetime import timedelta
from temporalio import activity, workflow

@activity.defn
async def act(value: str) -> str: ...

@workflow.defn
class Flow:
    @workflow.run
    async def run(self) -> None:
        await workflow.execute_activity(act, 'x', start_to_close_timeout=timedelta(seconds=5))
""",
            whole=True,
        ),
    ),
)
