"""WFL103, set-pop.

PYTEST_DONT_REWRITE
"""

from .base import Case, Rule

RULE = Rule(
    code="WFL103",
    name="set-pop",
    message="`{symbol}.pop()` takes an arbitrary element of a set",
    severity="error",
    why="Which element `set.pop` takes depends on the process's hash seed.",
    replay="""\
run 1: act('b')
replay: act('a')""",
    bad=(
        Case(
            "await act(names.pop())",
            signature="names: set[str]",
        ),
    ),
    good=(
        Case(
            "await act(names.pop())",
            signature="names: list[str]",
        ),
        Case(
            """\
name = min(names)
names.remove(name)
await act(name)""",
            signature="names: set[str]",
        ),
    ),
)
