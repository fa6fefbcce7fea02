"""WFL221, environment.

PYTEST_DONT_REWRITE
"""

from .base import Case, Rule

RULE = Rule(
    code="WFL221",
    name="environment",
    message="`{symbol}` reads the environment",
    severity="error",
    scale="sink",
    why="The environment of the worker that replays is not that of the worker that recorded.",
    replay="""\
run 1 (FAST=1): act(1)
replay (FAST unset): no command""",
    bad=(
        Case(
            """\
if os.environ['FAST'] == '1':
    await act(1)""",
            before="import os",
        ),
        Case(
            "await act(os.getenv('URL'))",
            before="import os",
        ),
    ),
    good=(
        Case(
            "await act(url)",
            signature="url: str",
        ),
    ),
)
