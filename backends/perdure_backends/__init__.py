"""Stores: the contract, its records, and one package for each technology."""

from ._ids import new_id as new_id
from ._urls import open_backend as open_backend
from ._wakeups import Wakeups as Wakeups
from .contract import Backend as Backend
from .contract import Listing as Listing
from .contract import Migrating as Migrating
from .contract import SessionKeeper as SessionKeeper

PYTEST_DONT_REWRITE = True

__all__ = ["Backend", "Listing", "Migrating", "SessionKeeper", "Wakeups", "new_id", "open_backend"]
