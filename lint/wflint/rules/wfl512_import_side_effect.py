"""WFL512, import-side-effect.

PYTEST_DONT_REWRITE
"""

from .base import Case, Rule

RULE = Rule(
    code="WFL512",
    name="import-side-effect",
    message="`{symbol}` runs whenever the module of a workflow is loaded",
    severity="warning",
    level="strict",
    local=True,
    why="Loading the module, which every worker does, has effects by itself.",
    bad=(
        Case(
            "await act(1)",
            before="""\
import os
os.environ['X'] = '1'""",
        ),
        Case(
            "await act(DATA)",
            before="""\
import requests
DATA = requests.get('http://x')""",
        ),
    ),
    good=(
        Case(
            "await act(1)",
            before="""\
import os
SEP = os.sep""",
        ),
    ),
)
