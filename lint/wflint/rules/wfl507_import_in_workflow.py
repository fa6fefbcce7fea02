"""WFL507, import-in-workflow.

PYTEST_DONT_REWRITE
"""

from .base import Case, Rule

RULE = Rule(
    code="WFL507",
    name="import-in-workflow",
    message="`{symbol}` runs a module's code in the middle of a workflow",
    severity="warning",
    why=(
        "A module's code runs at the first import in each process: in one run, and not in its "
        "replay."
    ),
    bad=(
        Case(
            """\
import json
await act(json.dumps(1))""",
        ),
    ),
    good=(
        Case(
            "await act(json.dumps(1))",
            before="import json",
        ),
    ),
)
