"""WFL301, file-io.

PYTEST_DONT_REWRITE
"""

from .base import Case, Rule

RULE = Rule(
    code="WFL301",
    name="file-io",
    message="`{symbol}` uses the file system",
    severity="error",
    why=(
        "It happens again at every replay, gives another result then, and blocks the loop "
        "meanwhile. What an activity does is recorded."
    ),
    bad=(
        Case(
            "await act(open('a.txt').read())",
        ),
        Case(
            "await act(Path('a').read_text())",
            before="from pathlib import Path",
        ),
        Case(
            """\
if os.path.exists('a'):
    await act(1)""",
            before="import os",
        ),
    ),
    good=(
        Case(
            "await act(str(PurePath('a') / 'b'))",
            before="from pathlib import PurePath",
        ),
        Case(
            "await act(os.path.join('a', 'b'))",
            before="import os",
        ),
    ),
)
