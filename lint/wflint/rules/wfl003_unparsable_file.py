"""WFL003, unparsable-file.

PYTEST_DONT_REWRITE
"""

from .base import Case, Rule

RULE = Rule(
    code="WFL003",
    name="unparsable-file",
    message="{symbol} can't be read: {detail}",
    severity="error",
    local=True,
    why=(
        "What can't be read can't be checked, and a file that is skipped in silence looks like "
        "one that is clean."
    ),
    bad=(
        Case(
            """\
from perdure import workflow

@workflow
async def flow( -> None: ...
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
