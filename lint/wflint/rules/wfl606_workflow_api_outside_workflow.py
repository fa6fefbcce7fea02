"""WFL606, workflow-api-outside-workflow.

PYTEST_DONT_REWRITE
"""

from .base import Case, Rule

RULE = Rule(
    code="WFL606",
    name="workflow-api-outside-workflow",
    message="`{symbol}` only has a meaning in a workflow",
    severity="error",
    why=(
        "Activities run outside of the workflow: there is no replayed clock, and nothing to "
        "schedule."
    ),
    bad=(
        Case(
            """\
import perdure
from perdure import activity

@activity
async def stamp() -> str:
    return str(perdure.now())
""",
            whole=True,
        ),
    ),
    good=(
        Case(
            """\
from datetime import UTC, datetime
from perdure import activity

@activity
async def stamp() -> str:
    return str(datetime.now(UTC))
""",
            whole=True,
        ),
    ),
)
