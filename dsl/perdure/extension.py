"""For those who execute workflows and activities (the runtime, testers); not for workflow code.

PYTEST_DONT_REWRITE
"""

from ._activity import ActivityDefinition as ActivityDefinition
from ._activity_context import ActivityContext as ActivityContext
from ._activity_context import activity_context as activity_context
from ._context import Attribute as Attribute
from ._context import WorkflowContext as WorkflowContext
from ._context import open_span as open_span
from ._durable_errors import cause_of as cause_of
from ._durable_errors import class_to_deliver as class_to_deliver
from ._durable_errors import record_error as record_error
from ._durable_errors import revive as revive
from ._messages import AnyQuery as AnyQuery
from ._middleware import Kind as Kind
from ._middleware import inside as inside
from ._middleware import outbound_headers as outbound_headers
from ._names import CATCH_ALL as CATCH_ALL
from ._names import DEFAULT_QUEUE as DEFAULT_QUEUE
from ._names import check_id as check_id
from ._names import check_name as check_name
from ._names import check_queue as check_queue
from ._workflow import WorkflowDefinition as WorkflowDefinition

__all__ = [
    "CATCH_ALL",
    "DEFAULT_QUEUE",
    "ActivityContext",
    "ActivityDefinition",
    "AnyQuery",
    "Attribute",
    "Kind",
    "WorkflowContext",
    "WorkflowDefinition",
    "activity_context",
    "cause_of",
    "check_id",
    "check_name",
    "check_queue",
    "class_to_deliver",
    "inside",
    "open_span",
    "outbound_headers",
    "record_error",
    "revive",
]
