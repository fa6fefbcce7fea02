"""WFL510, memory-and-gc.

PYTEST_DONT_REWRITE
"""

from .base import Case, Rule

RULE = Rule(
    code="WFL510",
    name="memory-and-gc",
    message="`{symbol}` depends on the memory of the process",
    severity="error",
    why="When the collector runs, and what it finds, differs from process to process.",
    bad=(
        Case(
            """\
gc.collect()
await act(1)""",
            before="import gc",
        ),
        Case(
            "await act(sys.getrefcount(1))",
            before="import sys",
        ),
    ),
    good=(
        Case(
            "await act(1)",
        ),
    ),
)
