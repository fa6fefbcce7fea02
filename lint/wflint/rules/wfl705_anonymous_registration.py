"""WFL705, anonymous-registration.

PYTEST_DONT_REWRITE
"""

from .base import Case, Rule

RULE = Rule(
    code="WFL705",
    name="anonymous-registration",
    message="`{symbol}` has no name that another process could find it by",
    severity="error",
    local=True,
    why=(
        "Histories name workflows and activities. A lambda or a partial has no name of its own, "
        "and the next deploy may give it another."
    ),
    bad=(
        Case(
            """\
from perdure import activity, workflow

add = activity(lambda a: a)

@workflow
async def flow() -> None: ...
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
