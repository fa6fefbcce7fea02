"""Whole-program analysis: from workflows to all that they reach.

PYTEST_DONT_REWRITE
"""

from ._events import Edit as Edit
from ._events import Event as Event
from ._events import Fix as Fix
from ._events import Source as Source
from ._modules import Class as Class
from ._modules import Function as Function
from ._modules import Module as Module
from ._program import Context as Context
from ._program import Edge as Edge
from ._program import Program as Program
from ._program import Root as Root
from ._roots import find_roots as find_roots

__all__ = [
    "Class",
    "Context",
    "Edge",
    "Edit",
    "Event",
    "Fix",
    "Function",
    "Module",
    "Program",
    "Root",
    "Source",
    "find_roots",
]
