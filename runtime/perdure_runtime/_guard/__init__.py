"""The guard: catches at run time what a static check can't see.

While workflow code runs, calls whose answer differs from one replay to the next raise
:class:`perdure.NonDeterministicCall`. It is a net, not a wall: what it catches depends on the
version of Python (see the guide); the rest is the linter's.

- From Python 3.12 on, ``sys.monitoring`` reports each call made by the code objects of workflows,
  and of the project's functions that they call; nothing else in the process is slowed down.
- On 3.11 the functions of modules are wrapped, and judge by the module that calls them.
- An audit hook sees files, sockets, threads and processes, whoever opens them.

PYTEST_DONT_REWRITE
"""

from ._table import AUDITED as AUDITED
from ._table import CALLS as CALLS
from ._watch import Guard as Guard
from ._watch import install as install
from ._watch import installed as installed
from ._watch import uninstall as uninstall
from ._watch import watch as watch
