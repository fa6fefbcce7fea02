"""Tests of workflows and activities, in one process and in no time.

PYTEST_DONT_REWRITE
"""

from ._activities import ActivityTester as ActivityTester
from ._clock import VirtualClock as VirtualClock
from ._crashes import CrashFoundError as CrashFoundError
from ._crashes import CrashRun as CrashRun
from ._crashes import Explored as Explored
from ._crashes import explore_crashes as explore_crashes
from ._environment import Environment as Environment
from ._environment import TestHandle as TestHandle
from ._environment import WorkflowBlockedError as WorkflowBlockedError
from ._environment import WorkflowParkedError as WorkflowParkedError
from ._mocks import Mock as Mock
from ._mocks import MockCall as MockCall
from ._store import Happened as Happened
from ._stores import StoreEnvironment as StoreEnvironment
from ._sync import Blocking as Blocking
from ._sync import SyncEnvironment as SyncEnvironment
from ._sync import SyncStoreEnvironment as SyncStoreEnvironment

__all__ = [
    "ActivityTester",
    "Blocking",
    "CrashFoundError",
    "CrashRun",
    "Environment",
    "Explored",
    "Happened",
    "Mock",
    "MockCall",
    "StoreEnvironment",
    "SyncEnvironment",
    "SyncStoreEnvironment",
    "TestHandle",
    "VirtualClock",
    "WorkflowBlockedError",
    "WorkflowParkedError",
    "explore_crashes",
]
