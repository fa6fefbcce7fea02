"""WFL231, platform-numerics.

PYTEST_DONT_REWRITE
"""

from .base import Case, Rule

RULE = Rule(
    code="WFL231",
    name="platform-numerics",
    message="`{symbol}` may round otherwise on another machine",
    severity="info",
    level="pedantic",
    why=(
        "The last bit of a transcendental function depends on the C library. Where it decides a "
        "comparison, runs diverge."
    ),
    bad=(
        Case(
            """\
if math.sin(1.0) == 0.8414709848078965:
    await act(1)""",
            before="import math",
        ),
    ),
    good=(
        Case(
            "await act(math.floor(1.5))",
            before="import math",
        ),
    ),
)
