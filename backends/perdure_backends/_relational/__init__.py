"""What the stores on database servers share: decisions in Python, rows in tables.

A method of the contract is a *unit of work*: it locks and loads the rows that it concerns, in key
order, decides on them in memory, and writes the difference with one statement for each table,
however many instances took part. A store adds its SQL, its driver and its ways to push
(:class:`~._database.Database`).

PYTEST_DONT_REWRITE
"""

from ._backend import RelationalBackend as RelationalBackend
from ._database import Asked as Asked
from ._database import Claimed as Claimed
from ._database import ConflictError as ConflictError
from ._database import Database as Database
from ._database import Link as Link
from ._database import Look as Look
from ._database import PlainLink as PlainLink
from ._database import Undivided as Undivided
from ._database import Write as Write
from ._pools import LoopPools as LoopPools
from ._pools import opened as opened
from ._posting import Posted as Posted
from ._posting import Waiting as Waiting
from ._rows import ACTIVITY_MUTABLE as ACTIVITY_MUTABLE
from ._rows import RUN_COLUMNS as RUN_COLUMNS
from ._rows import RUN_FIXED as RUN_FIXED
from ._telling import Teller as Teller
from ._telling import end_tasks as end_tasks

__all__ = [
    "ACTIVITY_MUTABLE",
    "RUN_COLUMNS",
    "RUN_FIXED",
    "Asked",
    "Claimed",
    "ConflictError",
    "Database",
    "Link",
    "Look",
    "LoopPools",
    "PlainLink",
    "Posted",
    "RelationalBackend",
    "Teller",
    "Undivided",
    "Waiting",
    "Write",
    "end_tasks",
    "opened",
]
