"""WFL212, unseeded-generator.

PYTEST_DONT_REWRITE
"""

from .base import Case, Rule

RULE = Rule(
    code="WFL212",
    name="unseeded-generator",
    message="`{symbol}` makes a generator without a seed",
    severity="error",
    scale="unless-logged",
    why=(
        "A generator that is not seeded by something of the history gives other numbers at each "
        "replay."
    ),
    bad=(
        Case(
            "await act(random.Random().random())",
            before="import random",
        ),
        Case(
            "await act(numpy.random.default_rng())",
            before="import numpy",
        ),
    ),
    good=(
        Case(
            "await act(random.Random(42).random())",
            before="import random",
        ),
    ),
)
