"""WFL215, factory-default.

PYTEST_DONT_REWRITE
"""

from .base import Case, Rule

RULE = Rule(
    code="WFL215",
    name="factory-default",
    message="making `{symbol}` takes its default from `{detail}`",
    severity="error",
    scale="sink",
    why=(
        "A default factory runs whenever an object is made, also at replay; the call site does "
        "not show it."
    ),
    replay="""\
run 1: Order(id='7f3c…')
replay: Order(id='92aa…')""",
    bad=(
        Case(
            """\
order = Order()
await act(order)""",
            before="""\
import uuid
from dataclasses import dataclass, field
@dataclass
class Order:
    id: str = field(default_factory=lambda: str(uuid.uuid4()))""",
        ),
        Case(
            "await act(Event())",
            before="""\
from datetime import datetime
from pydantic import BaseModel, Field
class Event(BaseModel):
    at: datetime = Field(default_factory=datetime.now)""",
        ),
    ),
    good=(
        Case(
            """\
order = Order(id=str(perdure.uuid4()))
await act(order)""",
            before="""\
import perdure
from perdure import activity, workflow
import uuid
from dataclasses import dataclass, field
@dataclass
class Order:
    id: str = field(default_factory=lambda: str(uuid.uuid4()))""",
        ),
        Case(
            "await act(Bag())",
            before="""\
from dataclasses import dataclass, field
@dataclass
class Bag:
    items: list[str] = field(default_factory=list)""",
        ),
    ),
)
