"""WFL102, set-to-sequence.

PYTEST_DONT_REWRITE
"""

from .base import Case, Rule

RULE = Rule(
    code="WFL102",
    name="set-to-sequence",
    message="the order of the set `{symbol}` becomes that of {detail}",
    severity="error",
    scale="unless-logged",
    fix="safe",
    why=(
        "A list made of a set has the set's order, which differs from process to process; "
        "whatever reads the list does too."
    ),
    replay="""\
run 1: batch = ['b', 'a']
replay: batch = ['a', 'b']""",
    bad=(
        Case(
            """\
batch = list(names)
await act(batch[0])""",
            signature="names: set[str]",
            fixed="""\
batch = sorted(names)
await act(batch[0])""",
        ),
        Case(
            """\
first, second = {'a', 'b'}
await act(first)""",
        ),
        Case(
            "await act(', '.join(names))",
            signature="names: set[str]",
        ),
        Case(
            "await act(f'{names}')",
            signature="names: set[str]",
        ),
        Case(
            """\
for n, name in enumerate(names):
    await act(f'{n}: {name}')""",
            signature="names: set[str]",
        ),
        Case(
            """\
batch = [*names]
await act(batch)""",
            signature="names: set[str]",
        ),
    ),
    good=(
        Case(
            "await act(len(list(names)))",
            signature="names: set[str]",
        ),
        Case(
            """\
batch = list(names)
batch.sort()
await act(batch[0])""",
            signature="names: set[str]",
        ),
        Case(
            "await act(','.join(sorted(names)))",
            signature="names: set[str]",
        ),
    ),
)
