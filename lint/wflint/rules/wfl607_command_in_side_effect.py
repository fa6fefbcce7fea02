"""WFL607, command-in-side-effect.

PYTEST_DONT_REWRITE
"""

from .base import Case, Rule

RULE = Rule(
    code="WFL607",
    name="command-in-side-effect",
    message="`{symbol}` is used in a callback that does not run at replay",
    severity="error",
    why=(
        "At replay the callback's recorded result is taken; a command or a draw in it would be "
        "missing then."
    ),
    bad=(
        Case(
            """\
value = perdure.side_effect(lambda: str(perdure.uuid4()), str)
await act(value)""",
        ),
    ),
    good=(
        Case(
            "await act(str(perdure.uuid4()))",
        ),
    ),
)
