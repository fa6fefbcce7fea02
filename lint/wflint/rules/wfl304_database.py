"""WFL304, database.

PYTEST_DONT_REWRITE
"""

from .base import Case, Rule

RULE = Rule(
    code="WFL304",
    name="database",
    message="`{symbol}` asks a database",
    severity="error",
    why=(
        "It happens again at every replay, gives another result then, and blocks the loop "
        "meanwhile. What an activity does is recorded."
    ),
    bad=(
        Case(
            """\
conn = await asyncpg.connect()
await act(1)""",
            before="import asyncpg",
        ),
        Case(
            "await load(1)",
            before="""\
from sqlalchemy.orm import Session
session: Session
async def load(n: int) -> None:
    session.execute('select 1')""",
        ),
    ),
    good=(
        Case(
            "await act(select(1))",
            before="from sqlalchemy import select",
        ),
    ),
)
