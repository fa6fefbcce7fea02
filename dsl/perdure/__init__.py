"""Perdure: durable workflows as ordinary async functions. All that a file with workflows needs.

PYTEST_DONT_REWRITE
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

from ._activity import Activity as Activity
from ._activity import ActivityOptions as ActivityOptions
from ._activity import AsyncActivity as AsyncActivity
from ._activity import SyncActivity as SyncActivity
from ._activity import activity as activity
from ._activity_context import ActivityInfo as ActivityInfo
from ._activity_context import activity_info as activity_info
from ._activity_context import cancel_reason as cancel_reason
from ._activity_context import complete_later as complete_later
from ._activity_context import heartbeat as heartbeat
from ._activity_context import is_cancelled as is_cancelled
from ._activity_context import last_heartbeat as last_heartbeat
from ._activity_context import raise_if_cancelled as raise_if_cancelled
from ._call import Call as Call
from ._combine import TaskGroup as TaskGroup
from ._combine import as_completed as as_completed
from ._combine import fan_out as fan_out
from ._combine import shielded as shielded
from ._context import WorkflowInfo as WorkflowInfo
from ._conversion import Codec as Codec
from ._conversion import Converter as Converter
from ._conversion import DataConverter as DataConverter
from ._conversion import JsonConverter as JsonConverter
from ._conversion import Serializer as Serializer
from ._duration import Duration as Duration
from ._errors import ActivityCancelledError as ActivityCancelledError
from ._errors import ActivityError as ActivityError
from ._errors import ActivityGoneError as ActivityGoneError
from ._errors import ActivityTimeoutError as ActivityTimeoutError
from ._errors import ApplicationError as ApplicationError
from ._errors import ArgumentsError as ArgumentsError
from ._errors import ArgumentValueError as ArgumentValueError
from ._errors import BackendError as BackendError
from ._errors import BackendFormatError as BackendFormatError
from ._errors import BackendFullError as BackendFullError
from ._errors import BackendReadOnlyError as BackendReadOnlyError
from ._errors import BackendUnavailableError as BackendUnavailableError
from ._errors import ChannelClosedError as ChannelClosedError
from ._errors import ChildWorkflowError as ChildWorkflowError
from ._errors import CompensationError as CompensationError
from ._errors import CompletesLater as CompletesLater
from ._errors import ContinueAsNew as ContinueAsNew
from ._errors import DefinitionError as DefinitionError
from ._errors import Evicted as Evicted
from ._errors import ExecutionError as ExecutionError
from ._errors import InstanceError as InstanceError
from ._errors import InstanceExistsError as InstanceExistsError
from ._errors import InstanceFinishedError as InstanceFinishedError
from ._errors import InstanceNotFinishedError as InstanceNotFinishedError
from ._errors import InstanceNotFoundError as InstanceNotFoundError
from ._errors import InternalError as InternalError
from ._errors import InvalidIdError as InvalidIdError
from ._errors import InvalidOptionError as InvalidOptionError
from ._errors import NonDeterminismError as NonDeterminismError
from ._errors import NonDeterministicCall as NonDeterministicCall
from ._errors import OutsideWorkflowError as OutsideWorkflowError
from ._errors import PayloadError as PayloadError
from ._errors import PayloadTooLargeError as PayloadTooLargeError
from ._errors import PerdureError as PerdureError
from ._errors import QueryError as QueryError
from ._errors import ReadOnlyError as ReadOnlyError
from ._errors import RegistrationError as RegistrationError
from ._errors import RemoteError as RemoteError
from ._errors import SchemaVersionError as SchemaVersionError
from ._errors import SessionLostError as SessionLostError
from ._errors import SignalError as SignalError
from ._errors import UnsupportedInWorkflowError as UnsupportedInWorkflowError
from ._errors import UpdateError as UpdateError
from ._errors import UpdateFailedError as UpdateFailedError
from ._errors import UpdateRejectedError as UpdateRejectedError
from ._errors import UsageError as UsageError
from ._errors import WorkflowCancelledError as WorkflowCancelledError
from ._errors import WorkflowError as WorkflowError
from ._errors import WorkflowFailedError as WorkflowFailedError
from ._errors import WorkflowTerminatedError as WorkflowTerminatedError
from ._errors import WorkflowTimeoutError as WorkflowTimeoutError
from ._failure import Failure as Failure
from ._functions import deprecate_patch as deprecate_patch
from ._functions import info as info
from ._functions import is_replaying as is_replaying
from ._functions import now as now
from ._functions import patched as patched
from ._functions import publish as publish
from ._functions import random as random
from ._functions import side_effect as side_effect
from ._functions import sleep as sleep
from ._functions import sleep_until as sleep_until
from ._functions import timer as timer
from ._functions import uuid4 as uuid4
from ._functions import wait_until as wait_until
from ._functions import with_retries as with_retries
from ._futures import ActivityFuture as ActivityFuture
from ._futures import SignalFuture as SignalFuture
from ._futures import TimerFuture as TimerFuture
from ._futures import WorkflowFuture as WorkflowFuture
from ._injection import inject as inject
from ._log import logger as logger
from ._messages import Query as Query
from ._messages import QueryWith as QueryWith
from ._messages import Signal as Signal
from ._messages import Update as Update
from ._messages import any_signal_handler as any_signal_handler
from ._retry import Retry as Retry
from ._workflow import Workflow as Workflow
from ._workflow import WorkflowOptions as WorkflowOptions
from ._workflow import workflow as workflow

__version__ = "0.1.0"

# Loaded when first used: a process that only starts workflows needs none of them.
if TYPE_CHECKING:
    from ._channels import Channel as Channel
    from ._durable_errors import durable_error as durable_error
    from ._instances import Instance as Instance
    from ._instances import instance as instance
    from ._middleware import Inbound as Inbound
    from ._middleware import Middleware as Middleware
    from ._middleware import Outbound as Outbound
    from ._middleware import Propagate as Propagate
    from ._saga import Saga as Saga
    from ._select import Case as Case
    from ._select import case as case
    from ._select import select as select
    from ._select import sending as sending
    from ._timers import ResettableTimer as ResettableTimer
    from ._tracing import Span as Span
    from ._tracing import span as span

_LATER: Final = {
    "Channel": "_channels",
    "durable_error": "_durable_errors",
    "Instance": "_instances",
    "instance": "_instances",
    "Inbound": "_middleware",
    "Middleware": "_middleware",
    "Outbound": "_middleware",
    "Propagate": "_middleware",
    "Saga": "_saga",
    "Case": "_select",
    "case": "_select",
    "select": "_select",
    "sending": "_select",
    "ResettableTimer": "_timers",
    "Span": "_tracing",
    "span": "_tracing",
}


def __getattr__(name: str) -> Any:
    module = _LATER.get(name)
    if module is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(f".{module}", __name__), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


__all__ = [
    "Activity",
    "ActivityCancelledError",
    "ActivityError",
    "ActivityFuture",
    "ActivityGoneError",
    "ActivityInfo",
    "ActivityOptions",
    "ActivityTimeoutError",
    "ApplicationError",
    "ArgumentValueError",
    "ArgumentsError",
    "AsyncActivity",
    "BackendError",
    "BackendFormatError",
    "BackendFullError",
    "BackendReadOnlyError",
    "BackendUnavailableError",
    "Call",
    "Case",
    "Channel",
    "ChannelClosedError",
    "ChildWorkflowError",
    "Codec",
    "CompensationError",
    "CompletesLater",
    "ContinueAsNew",
    "Converter",
    "DataConverter",
    "DefinitionError",
    "Duration",
    "Evicted",
    "ExecutionError",
    "Failure",
    "Inbound",
    "Instance",
    "InstanceError",
    "InstanceExistsError",
    "InstanceFinishedError",
    "InstanceNotFinishedError",
    "InstanceNotFoundError",
    "InternalError",
    "InvalidIdError",
    "InvalidOptionError",
    "JsonConverter",
    "Middleware",
    "NonDeterminismError",
    "NonDeterministicCall",
    "Outbound",
    "OutsideWorkflowError",
    "PayloadError",
    "PayloadTooLargeError",
    "PerdureError",
    "Propagate",
    "Query",
    "QueryError",
    "QueryWith",
    "ReadOnlyError",
    "RegistrationError",
    "RemoteError",
    "ResettableTimer",
    "Retry",
    "Saga",
    "SchemaVersionError",
    "Serializer",
    "SessionLostError",
    "Signal",
    "SignalError",
    "SignalFuture",
    "Span",
    "SyncActivity",
    "TaskGroup",
    "TimerFuture",
    "UnsupportedInWorkflowError",
    "Update",
    "UpdateError",
    "UpdateFailedError",
    "UpdateRejectedError",
    "UsageError",
    "Workflow",
    "WorkflowCancelledError",
    "WorkflowError",
    "WorkflowFailedError",
    "WorkflowFuture",
    "WorkflowInfo",
    "WorkflowOptions",
    "WorkflowTerminatedError",
    "WorkflowTimeoutError",
    "activity",
    "activity_info",
    "any_signal_handler",
    "as_completed",
    "cancel_reason",
    "case",
    "complete_later",
    "deprecate_patch",
    "durable_error",
    "fan_out",
    "heartbeat",
    "info",
    "inject",
    "instance",
    "is_cancelled",
    "is_replaying",
    "last_heartbeat",
    "logger",
    "now",
    "patched",
    "publish",
    "raise_if_cancelled",
    "random",
    "select",
    "sending",
    "shielded",
    "side_effect",
    "sleep",
    "sleep_until",
    "span",
    "timer",
    "uuid4",
    "wait_until",
    "with_retries",
    "workflow",
]
