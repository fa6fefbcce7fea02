"""WFL202, implicit-now.

PYTEST_DONT_REWRITE
"""

from .base import Case, Rule

RULE = Rule(
    code="WFL202",
    name="implicit-now",
    message="`{symbol}` reads the clock when it is called like this",
    severity="error",
    scale="unless-logged",
    why="Some functions take the present moment where an argument is missing.",
    bad=(
        Case(
            "await act(time.strftime('%H:%M'))",
            before="import time",
        ),
        Case(
            "await act(email.utils.formatdate())",
            before="import email.utils",
        ),
    ),
    good=(
        Case(
            "await act(time.strftime('%H:%M', time.gmtime(0)))",
            before="import time",
        ),
    ),
)
