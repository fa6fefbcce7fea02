"""Worker, client and tools that run durable workflows against a store.

PYTEST_DONT_REWRITE
"""

from typing import TYPE_CHECKING, Any

from perdure_backends.records import InstanceRecord as InstanceRecord
from perdure_backends.records import ListFilter as ListFilter

from ._asking import ActivityHandle as ActivityHandle
from ._asking import UpdateHandle as UpdateHandle
from ._client import Client as Client
from ._connect import Local as Local
from ._connect import connect as connect
from ._connect import local as local
from ._handle import Handle as Handle
from ._services import Services as Services
from ._worker import Worker as Worker

# What few programs need is loaded when it is asked for.
if TYPE_CHECKING:
    from ._logs import JsonFormatter as JsonFormatter
    from ._replay import Debugger as Debugger
    from ._replay import Divergence as Divergence
    from ._replay import FrameView as FrameView
    from ._replay import History as History
    from ._replay import HistoryFileError as HistoryFileError
    from ._replay import Moment as Moment
    from ._replay import PendingView as PendingView
    from ._replay import ReplayResult as ReplayResult
    from ._replay import TaskView as TaskView
    from ._replay import Verified as Verified
    from ._replay import Verifier as Verifier
    from ._replay import read_histories as read_histories
    from ._replay import replay as replay
    from ._replay import write_history as write_history
    from ._sync import SyncClient as SyncClient
    from ._sync import SyncHandle as SyncHandle
    from ._telemetry import CommittedTurn as CommittedTurn
    from ._telemetry import Telemetry as Telemetry
    from ._telemetry import WorkerState as WorkerState

_LATER = {
    **dict.fromkeys(("SyncClient", "SyncHandle"), "_sync"),
    **dict.fromkeys(("Divergence", "History", "HistoryFileError", "ReplayResult"), "_replay"),
    **dict.fromkeys(("Verified", "Verifier", "read_histories", "replay"), "_replay"),
    **dict.fromkeys(("Debugger", "Moment", "FrameView", "PendingView", "TaskView"), "_replay"),
    **dict.fromkeys(("CommittedTurn", "Telemetry", "WorkerState"), "_telemetry"),
    "JsonFormatter": "_logs",
    "write_history": "_replay",
}


def __getattr__(name: str) -> Any:
    home = _LATER.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    value = globals()[name] = getattr(import_module(f"{__name__}.{home}"), name)
    return value


__all__ = [
    "ActivityHandle",
    "Client",
    "CommittedTurn",
    "Debugger",
    "Divergence",
    "FrameView",
    "Handle",
    "History",
    "HistoryFileError",
    "InstanceRecord",
    "JsonFormatter",
    "ListFilter",
    "Local",
    "Moment",
    "PendingView",
    "ReplayResult",
    "Services",
    "SyncClient",
    "SyncHandle",
    "TaskView",
    "Telemetry",
    "UpdateHandle",
    "Verified",
    "Verifier",
    "Worker",
    "WorkerState",
    "connect",
    "local",
    "read_histories",
    "replay",
    "write_history",
]
