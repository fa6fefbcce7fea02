"""WFL106, hash-builtin.

PYTEST_DONT_REWRITE
"""

from .base import Case, Rule

RULE = Rule(
    code="WFL106",
    name="hash-builtin",
    message="`{symbol}` differs from process to process",
    severity="error",
    scale="sink",
    why=(
        "`hash` of a string depends on the process's hash seed, that of most objects on their "
        "address."
    ),
    replay="""\
run 1: hash('ada') = 3151…, act(1)
replay: hash('ada') = -812…, no command""",
    bad=(
        Case(
            "await act(hash(customer) % 1000)",
            signature="customer: str",
        ),
    ),
    good=(
        Case(
            """\
if zlib.crc32(customer.encode()) % 2:
    await act(1)""",
            before="import zlib",
            signature="customer: str",
        ),
        Case(
            "await act(hash(3))",
        ),
    ),
)
