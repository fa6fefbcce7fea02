"""WFL214, uuid.

PYTEST_DONT_REWRITE
"""

from .base import Case, Rule

RULE = Rule(
    code="WFL214",
    name="uuid",
    message="`{symbol}` makes another id at each replay",
    severity="error",
    scale="unless-logged",
    fix="safe",
    why=(
        "An id that is made in the workflow is another one at each replay, and with it whatever "
        "it names."
    ),
    replay="""\
run 1: child id 7f3c…
replay: child id 92aa…, the history has 7f3c…""",
    bad=(
        Case(
            "await act(str(uuid.uuid4()))",
            before="import uuid",
            fixed="await act(str(uuid4()))",
        ),
        Case(
            "await act(new_id())",
            before="from uuid import uuid4 as new_id",
        ),
    ),
    good=(
        Case(
            "await act(str(perdure.uuid4()))",
        ),
        Case(
            "await act(uuid.uuid5(uuid.NAMESPACE_DNS, 'a'))",
            before="import uuid",
        ),
    ),
)
