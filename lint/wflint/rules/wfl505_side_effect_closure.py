"""WFL505, side-effect-closure.

PYTEST_DONT_REWRITE
"""

from .base import Case, Rule

RULE = Rule(
    code="WFL505",
    name="side-effect-closure",
    message="`{symbol}` is changed in a callback that does not run at replay",
    severity="error",
    why=(
        "The framework calls the callback once and records its result. At replay it does not "
        "run, and what it changed stays as it was."
    ),
    bad=(
        Case(
            """\
found = []
perdure.side_effect(lambda: found.append(1), None)
await act(found)""",
        ),
        Case(
            """\
count = 0
def draw() -> int:
    nonlocal count
    count = 1
    return count
perdure.side_effect(draw, int)
await act(count)""",
        ),
    ),
    good=(
        Case(
            """\
found = [perdure.side_effect(lambda: 1, int)]
await act(found)""",
        ),
    ),
)
