"""WFL004, unresolved-call.

PYTEST_DONT_REWRITE
"""

from .base import Case, Rule

RULE = Rule(
    code="WFL004",
    name="unresolved-call",
    message="the target of `{symbol}` is not known",
    severity="info",
    level="pedantic",
    why=(
        "What a call reaches is not known to the linter: nothing that it does was checked. With "
        "--require-resolved these are errors."
    ),
    bad=(
        Case(
            "await helper(1)",
            before="""\
import perdure
from perdure import activity, workflow
from somewhere import tools
helper = tools['x']""",
        ),
    ),
    good=(
        Case(
            "await act(1)",
        ),
    ),
)
