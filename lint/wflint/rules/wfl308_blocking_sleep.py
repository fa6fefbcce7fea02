"""WFL308, blocking-sleep.

PYTEST_DONT_REWRITE
"""

from .base import Case, Rule

RULE = Rule(
    code="WFL308",
    name="blocking-sleep",
    message="`{symbol}` blocks the worker",
    severity="error",
    fix="safe",
    why="All workflows of the worker stand still meanwhile, and each replay waits again.",
    bad=(
        Case(
            """\
time.sleep(5)
await act(1)""",
            before="import time",
            fixed="""\
await sleep(5)
await act(1)""",
        ),
        Case(
            "event.wait()",
            before="""\
import threading
event = threading.Event()""",
        ),
    ),
    good=(
        Case(
            "await perdure.sleep(5)",
        ),
    ),
)
