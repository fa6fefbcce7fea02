"""WFL305, print.

PYTEST_DONT_REWRITE
"""

from .base import Case, Rule

RULE = Rule(
    code="WFL305",
    name="print",
    message="`{symbol}` prints again at every replay",
    severity="warning",
    fix="safe",
    why="Whatever a workflow prints comes again at each replay, perhaps on another machine.",
    bad=(
        Case(
            """\
print('started')
await act(1)""",
            fixed="""\
logger.info('started')
await act(1)""",
        ),
        Case(
            "sys.stdout.write('x')",
            before="import sys",
        ),
    ),
    good=(
        Case(
            "perdure.logger.info('started')",
        ),
        Case(
            """\
if not perdure.is_replaying():
    print('started')
await act(1)""",
        ),
    ),
)
