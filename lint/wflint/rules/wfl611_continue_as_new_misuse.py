"""WFL611, continue-as-new-misuse.

PYTEST_DONT_REWRITE
"""

from .base import Case, Rule

RULE = Rule(
    code="WFL611",
    name="continue-as-new-misuse",
    message="`{symbol}` {detail}",
    severity="error",
    why=(
        "Continuing as new ends the run by an exception; what catches it, or stands in its way, "
        "keeps the run alive."
    ),
    bad=(
        Case(
            """\
try:
    flow.continue_as_new()
except BaseException:
    await act(1)
    raise""",
        ),
        Case(
            """\
try:
    await act(1)
finally:
    flow.continue_as_new()""",
        ),
    ),
    good=(
        Case(
            """\
await act(1)
flow.continue_as_new()""",
        ),
    ),
)
