"""WFL501, global-write.

PYTEST_DONT_REWRITE
"""

from .base import Case, Rule

RULE = Rule(
    code="WFL501",
    name="global-write",
    message="`{symbol}` is shared by all runs in the process",
    severity="error",
    why=(
        "A run that changes a global is seen by every other run on the worker, and once more at "
        "each replay."
    ),
    bad=(
        Case(
            """\
CACHE[name] = 1
await act(1)""",
            before="CACHE: dict[str, int] = {}",
            signature="name: str",
        ),
        Case(
            """\
global MODE
MODE = 'x'
await act(MODE)""",
            before="MODE = 'y'",
        ),
        Case(
            """\
SEEN.append(1)
await act(1)""",
            before="SEEN: list[int] = []",
        ),
        Case(
            "random.seed(1)",
            before="import random",
        ),
    ),
    good=(
        Case(
            """\
cache: dict[str, int] = {}
cache[name] = 1
await act(1)""",
            signature="name: str",
        ),
    ),
)
