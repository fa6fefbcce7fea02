"""For those who execute workflows and activities (the runtime, testers); not for workflow code.

PYTEST_DONT_REWRITE
"""

from ._activity import ActivityDefinition as ActivityDefinition
from ._activity_context import ActivityContext as ActivityContext
from ._activity_context import activity_context as activity_context
from ._context import WorkflowContext as WorkflowContext
from ._names import DEFAULT_QUEUE as DEFAULT_QUEUE
from ._names import check_id as check_id
from ._names import check_name as check_name
from ._names import check_queue as check_queue
from ._workflow import WorkflowDefinition as WorkflowDefinition

__all__ = [
    "DEFAULT_QUEUE",
    "ActivityContext",
    "ActivityDefinition",
    "WorkflowContext",
    "WorkflowDefinition",
    "activity_context",
    "check_id",
    "check_name",
    "check_queue",
]
