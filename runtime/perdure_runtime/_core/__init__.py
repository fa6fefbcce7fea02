"""The replay core: events and a time go in, commands and state come out.

Nothing in this package does I/O, reads a clock or knows a store (a test guards its imports). The
worker, the tester and the replayer all drive the same :class:`Execution`.

PYTEST_DONT_REWRITE
"""

from ._calls import Scheduled as Scheduled
from ._execution import Execution as Execution
from ._execution import TurnResult as TurnResult
from ._faults import Fault as Fault
from ._handlers import STACKS as STACKS
from ._sources import is_ours as is_ours
from ._spans import HEADER as HEADER
from ._spans import RUN as RUN
from ._spans import SpanNote as SpanNote
from ._spans import Spans as Spans
from ._spans import TraceContext as TraceContext
from ._spans import span_id as span_id
from ._spans import trace_of as trace_of
