"""WFL105, tainted-dict-order.

PYTEST_DONT_REWRITE
"""

from .base import Case, Rule

RULE = Rule(
    code="WFL105",
    name="tainted-dict-order",
    message="`{symbol}` was filled in the order of the set `{detail}`",
    severity="error",
    why=(
        "A dictionary that was filled from a set has the set's order, which differs from "
        "process to process."
    ),
    replay="""\
run 1: owners = {'b': 1, 'a': 1}
replay: owners = {'a': 1, 'b': 1}""",
    bad=(
        Case(
            """\
owners = {name: 1 for name in names}
for owner in owners:
    await act(owner)""",
            signature="names: set[str]",
        ),
        Case(
            """\
found = {}
for name in names:
    found[name] = 1
await act(list(found))""",
            signature="names: set[str]",
        ),
        Case(
            """\
import json
await act(json.dumps({name: 1 for name in names}))""",
            signature="names: set[str]",
        ),
    ),
    good=(
        Case(
            """\
owners = {name: 1 for name in sorted(names)}
for owner in owners:
    await act(owner)""",
            signature="names: set[str]",
        ),
        Case(
            """\
owners = {name: 1 for name in names}
await act(owners['a'])""",
            signature="names: set[str]",
        ),
    ),
)
