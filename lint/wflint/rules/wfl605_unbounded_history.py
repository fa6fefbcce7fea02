"""WFL605, unbounded-history.

PYTEST_DONT_REWRITE
"""

from .base import Case, Rule

RULE = Rule(
    code="WFL605",
    name="unbounded-history",
    message="this loop has no end and never continues as new: its history only grows",
    severity="warning",
    why="Each turn of the loop adds to the history, which every replay reads from the start.",
    bad=(
        Case(
            """\
while True:
    await act(1)""",
        ),
        Case(
            """\
while True:
    await helper()""",
            before="""\
from perdure import activity, workflow
@activity
async def act(value: object = None) -> str: ...
async def helper() -> None:
    await act(1)""",
        ),
    ),
    good=(
        Case(
            """\
while True:
    if await act(1):
        break""",
        ),
        Case(
            """\
while True:
    await act(1)
    flow.continue_as_new()""",
        ),
        Case(
            """\
for n in range(3):
    await act(n)""",
        ),
    ),
)
