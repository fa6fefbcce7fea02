"""One small state machine for each kind of command.

PYTEST_DONT_REWRITE
"""

from ._activity import ActivityMachine as ActivityMachine
from ._base import Machine as Machine
from ._base import Owner as Owner
from ._base import State as State
from ._base import Step as Step
from ._child import ChildMachine as ChildMachine
from ._completion import Completion as Completion
from ._marker import PatchMarkers as PatchMarkers
from ._side_effect import SideEffects as SideEffects
from ._signal import SignalMachine as SignalMachine
from ._timer import TimerMachine as TimerMachine
