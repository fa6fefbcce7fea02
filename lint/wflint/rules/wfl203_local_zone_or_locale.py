"""WFL203, local-zone-or-locale.

PYTEST_DONT_REWRITE
"""

from .base import Case, Rule

RULE = Rule(
    code="WFL203",
    name="local-zone-or-locale",
    message="`{symbol}` depends on the machine's time zone or locale",
    severity="warning",
    scale="sink",
    level="strict",
    why="Workers run in other zones and locales than the one that recorded the history.",
    bad=(
        Case(
            "await act(datetime.fromtimestamp(0))",
            before="from datetime import datetime",
        ),
        Case(
            "await act(time.mktime(time.gmtime(0)))",
            before="import time",
        ),
    ),
    good=(
        Case(
            "await act(datetime.fromtimestamp(0, tz=UTC))",
            before="from datetime import UTC, datetime",
        ),
    ),
)
