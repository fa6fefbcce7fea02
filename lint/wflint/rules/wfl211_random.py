"""WFL211, random.

PYTEST_DONT_REWRITE
"""

from .base import Case, Rule

RULE = Rule(
    code="WFL211",
    name="random",
    message="`{symbol}` draws from the process's generator",
    severity="error",
    scale="unless-logged",
    fix="safe",
    why="A random number is another one at each replay.",
    replay="""\
run 1: randint = 3, act(3)
replay: randint = 5, act(5)""",
    bad=(
        Case(
            "await act(random.uniform(1, 5))",
            before="import random",
        ),
        Case(
            """\
for name in sorted(names, key=lambda n: random.random()):
    await act(name)""",
            before="import random",
            signature="names: list[str]",
        ),
        Case(
            """\
random.shuffle(names)
await act(names)""",
            before="import random",
            signature="names: list[str]",
        ),
        Case(
            """\
values = list(map(random.uniform, [1], [5]))
await act(values)""",
            before="import random",
        ),
    ),
    good=(
        Case(
            "await act(perdure.random().randint(1, 6))",
        ),
        Case(
            "await act(random.Random(7).random())",
            before="import random",
        ),
    ),
)
