"""WFL608, impure-predicate.

PYTEST_DONT_REWRITE
"""

from .base import Case, Rule

RULE = Rule(
    code="WFL608",
    name="impure-predicate",
    message="`{symbol}` {detail} in a condition that is asked any number of times",
    severity="error",
    why="The framework asks the condition whenever something has happened, as often as it likes.",
    bad=(
        Case(
            "await perdure.wait_until(lambda: time.time() > 5)",
            before="import time",
        ),
        Case(
            "await perdure.wait_until(lambda: bool(act(1)))",
        ),
    ),
    good=(
        Case(
            """\
ready: list[int] = []
await perdure.wait_until(lambda: len(ready) > 1)""",
        ),
    ),
)
