"""WFL602, unawaited-command.

PYTEST_DONT_REWRITE
"""

from .base import Case, Rule

RULE = Rule(
    code="WFL602",
    name="unawaited-command",
    message="the result of `{symbol}` is dropped",
    severity="error",
    fix="safe",
    why=(
        "A command that nobody awaits may not have run when the workflow ends, and its error is "
        "lost."
    ),
    bad=(
        Case(
            "act(1)",
        ),
        Case(
            """\
perdure.sleep(5)
await act(1)""",
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
        workflow.execute_activity(act, 'x')
""",
            whole=True,
        ),
    ),
    good=(
        Case(
            "await act(1)",
        ),
        Case(
            """\
future = act(1)
await future""",
        ),
    ),
)
