"""WFL502, mutable-global-read.

PYTEST_DONT_REWRITE
"""

from .base import Case, Rule

RULE = Rule(
    code="WFL502",
    name="mutable-global-read",
    message="`{symbol}` is changed while the process runs, by {detail}",
    severity="error",
    why="What a global holds at replay depends on what the process did before.",
    bad=(
        Case(
            """\
if name in ENABLED:
    await act(1)""",
            before="""\
ENABLED: list[str] = []
def enable(name: str) -> None:
    ENABLED.append(name)""",
            signature="name: str",
        ),
    ),
    good=(
        Case(
            """\
if name in ENABLED:
    await act(1)""",
            before="ENABLED = ['a']",
            signature="name: str",
        ),
    ),
)
