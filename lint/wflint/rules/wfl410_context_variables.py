"""WFL410, context-variables.

PYTEST_DONT_REWRITE
"""

from .base import Case, Rule

RULE = Rule(
    code="WFL410",
    name="context-variables",
    message="`{symbol}` reads a context variable that the workflow did not set",
    severity="warning",
    level="strict",
    why="What a request has put into a context variable is not there at replay.",
    bad=(
        Case(
            "await act(TENANT.get())",
            before="""\
from contextvars import ContextVar
TENANT: ContextVar[str] = ContextVar('tenant')""",
        ),
    ),
    good=(
        Case(
            "await act(tenant)",
            signature="tenant: str",
        ),
    ),
)
