"""WFL108, address-repr.

PYTEST_DONT_REWRITE
"""

from .base import Case, Rule

RULE = Rule(
    code="WFL108",
    name="address-repr",
    message="the text of `{symbol}` ({detail}) holds an address",
    severity="warning",
    why=(
        "The default text of a function or an object names its address in memory, which no "
        "replay repeats."
    ),
    bad=(
        Case(
            "await act(f'handler={callback}')",
            before="def callback() -> None: ...",
        ),
        Case(
            "await act(str(Node()))",
            before="""\
class Node:
    pass""",
        ),
    ),
    good=(
        Case(
            "await act(f'handler={callback.__qualname__}')",
            before="def callback() -> None: ...",
        ),
        Case(
            "await act(str(Node(1)))",
            before="""\
import dataclasses
@dataclasses.dataclass
class Node:
    x: int""",
        ),
    ),
)
