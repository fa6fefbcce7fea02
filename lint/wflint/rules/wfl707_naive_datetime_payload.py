"""WFL707, naive-datetime-payload.

PYTEST_DONT_REWRITE
"""

from .base import Case, Rule

RULE = Rule(
    code="WFL707",
    name="naive-datetime-payload",
    message="`{symbol}` has no time zone",
    severity="info",
    level="pedantic",
    why="A time without a zone is read in the zone of whoever decodes it.",
    bad=(
        Case(
            "await act(datetime(2030, 1, 1))",
            before="from datetime import datetime",
        ),
    ),
    good=(
        Case(
            "await act(datetime(2030, 1, 1, tzinfo=UTC))",
            before="from datetime import UTC, datetime",
        ),
    ),
)
