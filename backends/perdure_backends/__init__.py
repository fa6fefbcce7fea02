"""Stores: the contract, its records, and one package for each technology.

PYTEST_DONT_REWRITE
"""

from ._ids import new_id as new_id
from ._images import ActivityImage as ActivityImage
from ._images import InstanceImage as InstanceImage
from ._images import RunImage as RunImage
from ._images import UpdateImage as UpdateImage
from ._urls import open_backend as open_backend
from ._wakeups import Wakeups as Wakeups
from .contract import Backend as Backend
from .contract import Documents as Documents
from .contract import Listing as Listing
from .contract import Liveness as Liveness
from .contract import Migrating as Migrating
from .contract import Moving as Moving
from .contract import Overseeing as Overseeing
from .contract import QueueControl as QueueControl
from .contract import SessionKeeper as SessionKeeper
from .contract import Sharded as Sharded

__all__ = [
    "ActivityImage",
    "Backend",
    "Documents",
    "InstanceImage",
    "Listing",
    "Liveness",
    "Migrating",
    "Moving",
    "Overseeing",
    "QueueControl",
    "RunImage",
    "SessionKeeper",
    "Sharded",
    "UpdateImage",
    "Wakeups",
    "new_id",
    "open_backend",
]
