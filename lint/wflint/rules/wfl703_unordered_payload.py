"""WFL703, unordered-payload.

PYTEST_DONT_REWRITE
"""

from .base import Case, Rule

RULE = Rule(
    code="WFL703",
    name="unordered-payload",
    message="`{symbol}` is a set: {detail} is encoded in another order in each process",
    severity="error",
    fix="unsafe",
    why=(
        "The encoded bytes differ from process to process, and with them hashes, comparisons "
        "and idempotency keys."
    ),
    bad=(
        Case(
            """\
from perdure import workflow

@workflow
async def flow(ids: set[str]) -> None: ...
""",
            whole=True,
        ),
        Case(
            "await act({'a', 'b'})",
        ),
    ),
    good=(
        Case(
            "await act(sorted({'a', 'b'}))",
        ),
        Case(
            """\
from perdure import workflow

@workflow
async def flow(ids: list[str]) -> None: ...
""",
            whole=True,
        ),
    ),
)
