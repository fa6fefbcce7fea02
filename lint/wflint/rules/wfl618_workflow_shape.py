"""WFL618, workflow-shape.

PYTEST_DONT_REWRITE
"""

from .base import Case, Rule

RULE = Rule(
    code="WFL618",
    name="workflow-shape",
    message="workflow `{symbol}` {detail}",
    severity="error",
    local=True,
    why="The framework can't run it, or can't find it again.",
    bad=(
        Case(
            """\
from perdure import workflow

@workflow
def flow() -> None: ...
""",
            whole=True,
        ),
    ),
    good=(
        Case(
            "await act(1)",
        ),
    ),
)
