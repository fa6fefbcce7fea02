"""WFL107, object-identity.

PYTEST_DONT_REWRITE
"""

from .base import Case, Rule

RULE = Rule(
    code="WFL107",
    name="object-identity",
    message="`{symbol}` is an address, which no replay repeats",
    severity="error",
    scale="sink",
    why="`id` gives an address in memory: another one in each process.",
    bad=(
        Case(
            """\
key = f'node-{id(node)}'
await act(key)""",
            signature="node: str",
        ),
        Case(
            "await act(id(node))",
            signature="node: str",
        ),
    ),
    good=(
        Case(
            """\
seen = set()
if id(node) in seen:
    return
seen.add(id(node))
await act(1)""",
            signature="node: str",
        ),
    ),
)
