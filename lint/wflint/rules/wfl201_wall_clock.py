"""WFL201, wall-clock.

PYTEST_DONT_REWRITE
"""

from .base import Case, Rule

RULE = Rule(
    code="WFL201",
    name="wall-clock",
    message="`{symbol}` reads the clock",
    severity="error",
    scale="unless-logged",
    fix="safe",
    why=(
        "The clock shows another time at each replay. What is decided by it, or computed from "
        "it, differs from what the history recorded."
    ),
    replay="""\
run 1 (12:00): time.time() > deadline is false, sleep
replay (13:00): true, no sleep: the history has one""",
    bad=(
        Case(
            """\
if time.time() > 1_800_000_000:
    await act(1)""",
            before="import time",
            fixed="""\
if now().timestamp() > 1_800_000_000:
    await act(1)""",
        ),
        Case(
            "await act(datetime.now(UTC))",
            before="from datetime import UTC, datetime",
            fixed="await act(now())",
        ),
        Case(
            "await act(stamp())",
            before="from clock import stamp",
            others={
                "clock.py": """\
import time
def stamp():
    return time.monotonic()
"""
            },
        ),
        Case(
            """\
clock = time.time
await act(clock())""",
            before="import time",
        ),
        Case(
            "await act(getattr(time, 'time')())",
            before="import time",
        ),
    ),
    good=(
        Case(
            """\
if perdure.now().timestamp() > 1:
    await act(1)""",
        ),
        Case(
            "await act(1)",
            before="""\
import time
STARTED = 1.0
def unused() -> float:
    return time.time()""",
        ),
        Case(
            "await act(asyncio.get_running_loop().time())",
            before="import asyncio",
        ),
    ),
)
