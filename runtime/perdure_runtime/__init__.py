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

# For programs without an event loop of their own; the others need not load it.
if TYPE_CHECKING:
    from ._sync import SyncClient as SyncClient
    from ._sync import SyncHandle as SyncHandle


def __getattr__(name: str) -> Any:
    if name not in ("SyncClient", "SyncHandle"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from . import _sync

    value = globals()[name] = getattr(_sync, name)
    return value


__all__ = [
    "ActivityHandle",
    "Client",
    "Handle",
    "InstanceRecord",
    "ListFilter",
    "Local",
    "Services",
    "SyncClient",
    "SyncHandle",
    "UpdateHandle",
    "Worker",
    "connect",
    "local",
]
