"""WFL612, patch-id.

PYTEST_DONT_REWRITE
"""

from .base import Case, Rule

RULE = Rule(
    code="WFL612",
    name="patch-id",
    message="the patch id {symbol} {detail}",
    severity="error",
    why="A patch is one decision for the whole run, known by a name that stands in the code.",
    bad=(
        Case(
            """\
for n in range(3):
    if perdure.patched(f'p-{n}'):
        await act(n)""",
        ),
        Case(
            """\
perdure.patched('x')
await act(1)""",
        ),
    ),
    good=(
        Case(
            """\
if perdure.patched('add-check'):
    await act(1)""",
        ),
    ),
)
