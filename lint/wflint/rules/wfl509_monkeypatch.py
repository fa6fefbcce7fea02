"""WFL509, monkeypatch.

PYTEST_DONT_REWRITE
"""

from .base import Case, Rule

RULE = Rule(
    code="WFL509",
    name="monkeypatch",
    message="`{symbol}` changes code for the whole process",
    severity="error",
    why="A patch holds for all runs on the worker, and for none elsewhere.",
    bad=(
        Case(
            """\
json.JSONEncoder.default = None
await act(1)""",
            before="import json",
        ),
    ),
    good=(
        Case(
            "await act(1)",
        ),
    ),
)
