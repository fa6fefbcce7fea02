"""WFL109, unstable-sort-key.

PYTEST_DONT_REWRITE
"""

from .base import Case, Rule

RULE = Rule(
    code="WFL109",
    name="unstable-sort-key",
    message="the sort key `{symbol}` differs from run to run",
    severity="error",
    why="Sorting by something that differs from run to run gives another order at each of them.",
    bad=(
        Case(
            """\
for name in sorted(names, key=id):
    await act(name)""",
            signature="names: list[str]",
        ),
        Case(
            "await act(min(names, key=lambda n: random.random()))",
            before="import random",
            signature="names: list[str]",
        ),
    ),
    good=(
        Case(
            """\
for name in sorted(names, key=str.lower):
    await act(name)""",
            signature="names: list[str]",
        ),
    ),
)
