"""Worker, client and tools that run durable workflows against a store.

PYTEST_DONT_REWRITE
"""

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
from ._sync import SyncClient as SyncClient
from ._sync import SyncHandle as SyncHandle
from ._worker import Worker as Worker

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
