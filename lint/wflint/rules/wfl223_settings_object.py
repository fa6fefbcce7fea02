"""WFL223, settings-object.

PYTEST_DONT_REWRITE
"""

from .base import Case, Rule

RULE = Rule(
    code="WFL223",
    name="settings-object",
    message="`{symbol}` reads settings of the deployment",
    severity="warning",
    scale="sink",
    level="strict",
    why=(
        "Settings and feature flags change between the run and its replay. Use `patched`, or "
        "pass the flag in as input."
    ),
    bad=(
        Case(
            """\
if settings.NEW_FLOW:
    await act(1)""",
            before="from django.conf import settings",
        ),
    ),
    good=(
        Case(
            """\
if perdure.patched('new-flow'):
    await act(1)""",
        ),
    ),
)
