"""WFL224, ambient-constant.

PYTEST_DONT_REWRITE
"""

from .base import Case, Rule

RULE = Rule(
    code="WFL224",
    name="ambient-constant",
    message="`{symbol}` was made of `{detail}` when the module was loaded",
    severity="error",
    scale="sink",
    why=(
        "A constant that was read from the environment, the clock or a file when the module was "
        "loaded has another value in another process."
    ),
    replay="""\
run 1 (LIMIT=10): ten commands
replay (LIMIT=5): five""",
    bad=(
        Case(
            """\
for n in range(LIMIT):
    await act(n)""",
            before="""\
import os
LIMIT = int(os.getenv('LIMIT', '10'))""",
        ),
        Case(
            """\
if settings.DEBUG:
    await act(1)""",
            before="import settings",
            others={
                "settings.py": """\
import os
DEBUG = os.environ.get('DEBUG') == '1'
"""
            },
        ),
    ),
    good=(
        Case(
            """\
for n in range(LIMIT):
    await act(n)""",
            before="LIMIT = 10",
        ),
    ),
)
