"""WFL702, non-serialisable-type.

PYTEST_DONT_REWRITE
"""

from .base import Case, Rule

RULE = Rule(
    code="WFL702",
    name="non-serialisable-type",
    message="`{symbol}` can't be stored: {detail}",
    severity="error",
    why=(
        "What goes into a history is encoded. Functions, files, locks and connections have no "
        "meaning in another process."
    ),
    bad=(
        Case(
            """\
from collections.abc import Callable
from perdure import workflow

@workflow
async def flow(callback: Callable[[], int]) -> None: ...
""",
            whole=True,
        ),
        Case(
            "await act(lambda: 1)",
        ),
        Case(
            "await act(n for n in [1])",
        ),
    ),
    good=(
        Case(
            "await act([1, 2])",
        ),
    ),
)
