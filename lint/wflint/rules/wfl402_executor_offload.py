"""WFL402, executor-offload.

PYTEST_DONT_REWRITE
"""

from .base import Case, Rule

RULE = Rule(
    code="WFL402",
    name="executor-offload",
    message="`{symbol}` moves work to a thread",
    severity="error",
    why=(
        "What comes back from a thread comes back at a moment that nobody records, with a "
        "result that nobody records."
    ),
    bad=(
        Case(
            "await asyncio.to_thread(work)",
            before="""\
import asyncio
def work() -> int: ...""",
        ),
        Case(
            "await asyncio.get_running_loop().run_in_executor(None, work)",
            before="""\
import asyncio
def work() -> int: ...""",
        ),
    ),
    good=(
        Case(
            "await act(1)",
        ),
    ),
)
