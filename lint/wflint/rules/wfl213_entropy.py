"""WFL213, entropy.

PYTEST_DONT_REWRITE
"""

from .base import Case, Rule

RULE = Rule(
    code="WFL213",
    name="entropy",
    message="`{symbol}` asks the operating system for randomness",
    severity="error",
    scale="unless-logged",
    why="Random bytes are others at each replay; secrets do not belong into histories at all.",
    bad=(
        Case(
            "await act(secrets.token_hex(8))",
            before="import secrets",
        ),
        Case(
            "await act(os.urandom(4))",
            before="import os",
        ),
    ),
    good=(
        Case(
            "await act(secrets.compare_digest('a', 'b'))",
            before="import secrets",
        ),
    ),
)
