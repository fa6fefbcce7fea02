"""WFL101, set-iteration.

PYTEST_DONT_REWRITE
"""

from .base import Case, Rule

RULE = Rule(
    code="WFL101",
    name="set-iteration",
    message="`{symbol}` is a set: its order differs from process to process in {detail}",
    severity="error",
    scale="unless-logged",
    fix="safe",
    why=(
        "The order of a set of strings depends on the process's hash seed. A loop over it "
        "issues its commands in another order when the history is replayed elsewhere, and the "
        "history does not match."
    ),
    replay="""\
run 1 (hash seed 1): act('b'), act('a')
replay (hash seed 2): act('a') where the history has act('b')""",
    wrong_if=(
        "The body gives the same in any order in a way that the linter does not see, or all "
        "elements are small integers."
    ),
    bad=(
        Case(
            """\
for name in names:
    await act(name)""",
            signature="names: set[str]",
            fixed="""\
for name in sorted(names):
    await act(name)""",
        ),
        Case(
            """\
for name in {'a', 'b'}:
    await act(name)""",
            fixed="""\
for name in sorted({'a', 'b'}):
    await act(name)""",
        ),
        Case(
            "results = [await act(x) for x in first & second]",
            signature="first: frozenset[str], second: frozenset[str]",
        ),
        Case(
            """\
for name in pick():
    await act(name)""",
            before="""\
def pick() -> set[str]:
    return {'a', 'b', 'c'}""",
        ),
        Case(
            "await helper({'b', 'a'})",
            before="""\
from perdure import activity, workflow
async def helper(xs):
    for x in xs:
        await act(x)
@activity
async def act(value: object = None) -> str: ...""",
        ),
    ),
    good=(
        Case(
            """\
for name in sorted(names):
    await act(name)""",
            signature="names: set[str]",
        ),
        Case(
            """\
if any(name != 'done' for name in names):
    await act(1)""",
            signature="names: set[str]",
        ),
        Case(
            """\
total = 0
for name in names:
    total += 1
await act(total)""",
            signature="names: set[str]",
        ),
        Case(
            """\
done, pending = await asyncio.wait([act(1), act(2)])
for one in done:
    one.result()""",
            before="import asyncio",
        ),
        Case(
            """\
if len(names) != 1:
    raise ValueError
await act(next(iter(names)))""",
            signature="names: set[str]",
        ),
    ),
)
