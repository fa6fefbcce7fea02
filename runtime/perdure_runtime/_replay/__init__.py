"""Histories out of their store: kept in files, replayed against the code at hand, explained.

PYTEST_DONT_REWRITE
"""

from ._debugger import Debugger as Debugger
from ._debugger import Moment as Moment
from ._debugger import PendingView as PendingView
from ._files import History as History
from ._files import HistoryFileError as HistoryFileError
from ._files import read_histories as read_histories
from ._files import write_history as write_history
from ._frames import FrameView as FrameView
from ._frames import TaskView as TaskView
from ._replayer import Divergence as Divergence
from ._replayer import ReplayResult as ReplayResult
from ._replayer import replay as replay
from ._verify import Verified as Verified
from ._verify import Verifier as Verifier
