"""WFL610, replay-dependent-control-flow.

PYTEST_DONT_REWRITE
"""

from .base import Case, Rule

RULE = Rule(
    code="WFL610",
    name="replay-dependent-control-flow",
    message="`{symbol}` decides what the workflow does",
    severity="error",
    why=(
        "What happens only when nothing is replayed is missing from every replay, and the "
        "history does not match."
    ),
    bad=(
        Case(
            """\
if not perdure.is_replaying():
    await act(1)""",
        ),
    ),
    good=(
        Case(
            """\
if not perdure.is_replaying():
    print('x')
await act(1)""",
        ),
    ),
)
