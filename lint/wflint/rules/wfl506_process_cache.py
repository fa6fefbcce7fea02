"""WFL506, process-cache.

PYTEST_DONT_REWRITE
"""

from .base import Case, Rule

RULE = Rule(
    code="WFL506",
    name="process-cache",
    message="`{symbol}` remembers its result for the whole process",
    severity="warning",
    level="strict",
    why=(
        "The first run on a worker fills the cache; later ones, and replays elsewhere, see what "
        "others left."
    ),
    bad=(
        Case(
            "await act(config())",
            before="""\
import functools
@functools.cache
def config() -> list[str]:
    return ['a']""",
        ),
    ),
    good=(
        Case(
            "await act(square(2))",
            before="""\
import functools
@functools.cache
def square(n: int) -> int:
    return n * n""",
        ),
    ),
)
