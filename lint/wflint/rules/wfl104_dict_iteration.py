"""WFL104, dict-iteration.

PYTEST_DONT_REWRITE
"""

from .base import Case, Rule

RULE = Rule(
    code="WFL104",
    name="dict-iteration",
    message="`{symbol}` is a dictionary whose order the workflow did not make, in {detail}",
    severity="error",
    fix="unsafe",
    why=(
        "A dictionary keeps the order of its insertions only as long as every producer inserts "
        "in the same order and everything that stores it keeps that order: JSON columns, sorted "
        "keys and workers in other languages do not."
    ),
    replay="""\
run 1: data = {'b': 1, 'a': 2}
replay, read back from a store that sorts keys: {'a': 2, 'b': 1}""",
    wrong_if=(
        "Whoever made it inserts in a fixed order and everything on the way keeps it: set "
        '`dict-iteration = "tainted"`.'
    ),
    bad=(
        Case(
            """\
for key, value in data.items():
    await act(key)""",
            signature="data: dict[str, int]",
            fixed="""\
for key, value in sorted(data.items()):
    await act(key)""",
        ),
        Case(
            "await act(list(data))",
            signature="data: dict[str, int]",
        ),
    ),
    good=(
        Case(
            """\
for key, value in sorted(data.items()):
    await act(key)""",
            signature="data: dict[str, int]",
        ),
        Case(
            """\
steps = {'a': 1, 'b': 2}
for key in steps:
    await act(key)""",
        ),
        Case(
            """\
if 'a' in data:
    await act(len(data))""",
            signature="data: dict[str, int]",
        ),
        Case(
            """\
for key in data:
    await act(key)""",
            signature="data: dict[str, int]",
            options={"dict-iteration": "tainted"},
        ),
    ),
)
