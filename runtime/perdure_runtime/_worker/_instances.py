"""The instances in a worker's memory, and the leases that it holds on them.

None leaves memory with results that the store has not seen: those go to its inbox.

PYTEST_DONT_REWRITE
"""

from __future__ import annotations

import collections
import logging
from collections.abc import Callable, Sequence
from typing import Final

from perdure_backends import Backend
from perdure_backends.records import Lease, TurnCommit

from .._batcher import Batcher
from .._core import Execution
from .._services import Services
from .._telemetry import Telemetry
from ._live import Arrival, Live, Phase, log_fields
from ._ports import Activities

_log: Final = logging.getLogger("perdure.runtime")

_LONG_SLEEP: Final = 30_000_000  # microseconds; who only waits longer than that is not kept


class Instances:
    """What a worker remembers of runs, with or without their leases.

    Args:
        size: how many are kept without a lease, to be claimed again without a replay.
    """

    def __init__(
        self, backend: Backend, services: Services, *, size: int, telemetry: Telemetry
    ) -> None:
        self.activities: Activities | None = None
        # Something could not be handed back: the store holds leases that nobody here knows of.
        self.on_forgotten: Callable[[], None] = lambda: None
        self.size: Final = size
        self._backend = backend
        self._keeps_sleepers = services.clock is not None  # where time jumps, sleeps take none
        self._telemetry = telemetry
        self._lives: collections.OrderedDict[str, Live] = collections.OrderedDict()
        self._releases: Batcher[Lease, None] = Batcher(self._release)
        # Kept: collected as garbage, they would run on during another instance's turn.
        self._stubborn: list[Execution] = []

    def __len__(self) -> int:
        return len(self._lives)

    # --- who is here ------------------------------------------------------------------------------

    def get(self, run_id: str) -> Live | None:
        """The run's copy in memory, if there is one."""
        return self._lives.get(run_id)

    def has(self, live: Live) -> bool:
        """Whether this very copy of the run is still in memory."""
        return self._lives.get(live.run_id) is live

    def owned(self, run_id: str) -> Live | None:
        """The run, if this worker holds it and its lease."""
        live = self._lives.get(run_id)
        return live if live is not None and live.owned else None

    def idle(self, run_id: str, turn: int) -> Live | None:
        """The run, if it is in memory, at rest, and has seen the turn."""
        live = self._lives.get(run_id)
        if live is None or live.phase is not Phase.IDLE or live.execution is None:
            return None
        return live if live.turn >= turn and not live.execution.tainted else None

    def tokens(self) -> list[str]:
        """Leases that this worker knows of."""
        return [live.task.token for live in self._lives.values() if live.owned]

    def result_tokens(self) -> list[str]:
        """Attempts whose results wait for a turn, or ride in a commit that is on its way."""
        return [
            arrival.token
            for live in self._lives.values()
            for arrival in (*live.pending, *live.in_flight)
            if not arrival.seq
        ]

    def put(self, live: Live) -> None:
        """Takes a run in; or one that is here is used again."""
        self._lives[live.run_id] = live
        self._lives.move_to_end(live.run_id)

    # --- leases -----------------------------------------------------------------------------------

    def hand_back(self, live: Live) -> None:
        """Lets others claim the run."""
        self._releases.submit(Lease(live.run_id, live.task.token), self._handed_back)

    def give_back(self, live: Live) -> None:
        """Takes a run out of memory, and lets others claim it."""
        self.drop(live)
        self.hand_back(live)

    def release_if_idle(self, live: Live) -> None:
        """Hands the lease back once nothing of the run happens in this worker any more."""
        if live.owned and live.phase is Phase.IDLE and not live.running_here and not live.pending:
            live.owned = False
            self.hand_back(live)
            self._trim()

    async def handed_back(self) -> None:
        """Waits until no lease is on its way back."""
        await self._releases.idle()

    async def _release(self, leases: Sequence[Lease]) -> Sequence[None]:
        await self._backend.release(leases)
        return [None] * len(leases)

    def _handed_back(self, outcome: BaseException | None) -> None:
        if outcome is not None:
            self.on_forgotten()

    # --- leaving ----------------------------------------------------------------------------------

    def rest(self, live: Live, commit: TurnCommit) -> None:
        """A run whose lease went back with a turn stays, if it may be wanted again soon."""
        if not self.has(live):
            return
        if not self._keeps_sleepers and _sleeps_long(live, commit):
            self._telemetry.run_evicted("sleeping")
            self.drop(live)
        else:
            self._trim()

    def discard(self, live: Live) -> None:
        """Takes an instance out of memory whose copy there is void; it is read again."""
        if live.owned:
            self.give_back(live)
        else:
            self.drop(live)

    def drop(self, live: Live) -> None:
        """Takes an instance out of memory."""
        self.return_results(live, [])
        self.close(live)

    def return_results(self, live: Live, arrivals: Sequence[Arrival]) -> None:
        """Results that were to ride in a turn go to the inbox instead; none is dropped."""
        results = [a for a in (*arrivals, *live.pending) if not a.seq]
        live.pending = collections.deque(a for a in live.pending if a.seq)
        if results and self.activities is not None:
            self.activities.settle_lost(live.run_id, results)

    def close(self, live: Live) -> None:
        """Takes an instance out of memory whose results have another way, or are of no use."""
        if self.has(live):
            del self._lives[live.run_id]
        live.owned = False
        for task in live.local.values():
            task.cancel()
        live.local.clear()
        execution, live.execution = live.execution, None
        if execution is not None:
            stubborn = execution.close()
            if not stubborn:
                execution.dissolve()
            else:
                self._stubborn.append(execution)
                _log.warning(
                    "workflow %r (%s) swallowed its eviction; let perdure.Evicted and "
                    "GeneratorExit pass: %s",
                    live.task.workflow,
                    live.task.instance_id,
                    "; ".join(stubborn),
                    extra=log_fields(live.task),
                )

    def close_all(self) -> None:
        """Takes everything out of memory: the session has ended, or is about to."""
        for live in list(self._lives.values()):
            live.pending.clear()
            self.close(live)

    def _trim(self) -> None:
        excess = len(self._lives) - self.size
        if excess <= 0:
            return
        idle = [x for x in self._lives.values() if not x.owned and x.phase is Phase.IDLE]
        for live in idle[:excess]:
            self._telemetry.run_evicted("capacity")
            self.drop(live)


def _sleeps_long(live: Live, commit: TurnCommit) -> bool:
    execution = live.execution
    if execution is None or not commit.timers or not execution.waits_only_for_time():
        return False
    first = min(timer.due_at for timer in commit.timers)
    return first - execution.microseconds > _LONG_SLEEP
