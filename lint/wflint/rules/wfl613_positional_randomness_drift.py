"""WFL613, positional-randomness-drift.

PYTEST_DONT_REWRITE
"""

from .base import Case, Rule

RULE = Rule(
    code="WFL613",
    name="positional-randomness-drift",
    message="`{symbol}` is drawn in a branch, before other draws",
    severity="info",
    level="strict",
    why=(
        "Draws are told apart by their order. A draw that is added to a branch, or taken from "
        "it, shifts all later ones for runs in flight. A stream of its own "
        "(`perdure.random('name')`) shifts nothing."
    ),
    bad=(
        Case(
            """\
if big:
    await act(perdure.random().random())
await act(perdure.random().random())""",
            signature="big: bool",
        ),
    ),
    good=(
        Case(
            """\
if big:
    await act(perdure.random('big').random())
await act(perdure.random().random())""",
            signature="big: bool",
        ),
    ),
)
