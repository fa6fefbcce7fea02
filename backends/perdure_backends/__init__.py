"""Stores: the contract, its records, and one package for each technology.

PYTEST_DONT_REWRITE
"""

from ._ids import new_id as new_id
from ._urls import open_backend as open_backend
from ._wakeups import Wakeups as Wakeups
from .contract import Backend as Backend
from .contract import Listing as Listing
from .contract import Liveness as Liveness
from .contract import Migrating as Migrating
from .contract import QueueControl as QueueControl
from .contract import SessionKeeper as SessionKeeper
from .contract import Sharded as Sharded

__all__ = [
    "Backend",
    "Listing",
    "Liveness",
    "Migrating",
    "QueueControl",
    "SessionKeeper",
    "Sharded",
    "Wakeups",
    "new_id",
    "open_backend",
]
