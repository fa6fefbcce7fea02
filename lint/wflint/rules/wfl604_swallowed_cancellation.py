"""WFL604, swallowed-cancellation.

PYTEST_DONT_REWRITE
"""

from .base import Case, Rule

RULE = Rule(
    code="WFL604",
    name="swallowed-cancellation",
    message="`{symbol}` swallows a cancellation",
    severity="error",
    fix="unsafe",
    why=(
        "A workflow that swallows its cancellation can't be cancelled; the framework's own ways "
        "out are caught as well."
    ),
    bad=(
        Case(
            """\
try:
    await act(1)
except BaseException:
    pass""",
        ),
        Case(
            """\
try:
    await act(1)
except:
    await act(2)""",
        ),
        Case(
            """\
with contextlib.suppress(asyncio.CancelledError):
    await act(1)""",
            before="""\
import asyncio
import contextlib""",
        ),
    ),
    good=(
        Case(
            """\
try:
    await act(1)
except Exception:
    pass""",
        ),
        Case(
            """\
try:
    await act(1)
except BaseException:
    await act(2)
    raise""",
        ),
        Case(
            """\
try:
    int('1')
except BaseException:
    pass""",
        ),
    ),
)
