"""WFL303, process.

PYTEST_DONT_REWRITE
"""

from .base import Case, Rule

RULE = Rule(
    code="WFL303",
    name="process",
    message="`{symbol}` starts, ends or signals a process",
    severity="error",
    why=(
        "It happens again at every replay, gives another result then, and blocks the loop "
        "meanwhile. What an activity does is recorded."
    ),
    bad=(
        Case(
            "subprocess.run(['ls'])",
            before="import subprocess",
        ),
        Case(
            "os.system('ls')",
            before="import os",
        ),
    ),
    good=(
        Case(
            "await act('ls')",
        ),
    ),
)
