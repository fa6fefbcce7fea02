"""WFL222, process-or-host.

PYTEST_DONT_REWRITE
"""

from .base import Case, Rule

RULE = Rule(
    code="WFL222",
    name="process-or-host",
    message="`{symbol}` differs from process to process",
    severity="error",
    scale="sink",
    why="Process ids, host names, versions and arguments are those of one worker.",
    bad=(
        Case(
            """\
if socket.gethostname() == 'a':
    await act(1)""",
            before="import socket",
        ),
        Case(
            "await act(os.getpid())",
            before="import os",
        ),
        Case(
            "await act(sys.argv)",
            before="import sys",
        ),
    ),
    good=(
        Case(
            "await act(perdure.info())",
        ),
    ),
)
