"""WFL110, registry-order.

PYTEST_DONT_REWRITE
"""

from .base import Case, Rule

RULE = Rule(
    code="WFL110",
    name="registry-order",
    message="the order of `{symbol}` is that of {detail}",
    severity="warning",
    level="strict",
    why=(
        "The order of directory listings, weak sets, subclasses and entry points depends on the "
        "machine and on what was imported when."
    ),
    bad=(
        Case(
            """\
for name in os.listdir('.'):
    await act(name)""",
            before="import os",
        ),
        Case(
            """\
for point in importlib.metadata.entry_points():
    await act(1)""",
            before="import importlib.metadata",
        ),
    ),
    good=(
        Case(
            """\
for name in sorted(names):
    await act(name)""",
            signature="names: list[str]",
        ),
    ),
)
