"""WFL511, process-singleton.

PYTEST_DONT_REWRITE
"""

from .base import Case, Rule

RULE = Rule(
    code="WFL511",
    name="process-singleton",
    message="`{symbol}` is a client of the process",
    severity="warning",
    level="strict",
    why=(
        "A client that is shared by the process brings its connections, caches and threads into "
        "the workflow."
    ),
    bad=(
        Case(
            "await act(client.models)",
            before="""\
from openai import OpenAI
client = OpenAI()""",
        ),
    ),
    good=(
        Case(
            "await act(1)",
        ),
    ),
)
