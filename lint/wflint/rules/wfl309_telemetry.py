"""WFL309, telemetry.

PYTEST_DONT_REWRITE
"""

from .base import Case, Rule

RULE = Rule(
    code="WFL309",
    name="telemetry",
    message="`{symbol}` counts again at every replay",
    severity="warning",
    level="strict",
    why="Counters and captured events are counted once more at each replay.",
    bad=(
        Case(
            """\
JOBS.inc()
await act(1)""",
            before="""\
from prometheus_client import Counter
JOBS = Counter('jobs', 'Jobs')""",
        ),
    ),
    good=(
        Case(
            """\
if not perdure.is_replaying():
    JOBS.inc()
await act(1)""",
            before="""\
import perdure
from perdure import activity, workflow
from prometheus_client import Counter
JOBS = Counter('jobs', 'Jobs')""",
        ),
    ),
)
