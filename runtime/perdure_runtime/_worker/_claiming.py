"""The loops that a worker's session runs: they claim what it can run, and keep the store's house.

PYTEST_DONT_REWRITE
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any, Final, TypeAlias

from perdure import BackendError, BackendUnavailableError
from perdure_backends import Backend
from perdure_backends._wakeups import ACTIVITIES, DUE, TURNS, Waiter
from perdure_backends.records import ActivityClaim, ActivityTask, ClaimedTurns, TurnClaim

from .._registry import Registry
from .._telemetry import Telemetry
from ._activities import BEATS, ActivityRunner
from ._clock import StoreClock
from ._instances import Instances
from ._live import log_fields
from ._queries import QueryRunner
from ._turns import Turns

_log: Final = logging.getLogger("perdure.runtime")

_SWEEP_BATCH: Final = 1000
_PARKED_INTERVAL: Final = 5.0
_LATE_CALL: Final = 10.0

# What a loop does again and again: seconds until the next time, ``None`` for the slow look.
_Step: TypeAlias = Callable[[], Coroutine[Any, Any, float | None]]


class Claiming:
    """Claims turns, activities and queries for one session, and sweeps.

    Args:
        session_id: whose claims these are.
        build: id of the worker's code.
        queues: what it serves.
        max_turns: instances that are loaded, run or committed at once.
        poll: seconds between looks where nothing wakes.
    """

    def __init__(
        self,
        backend: Backend,
        registry: Registry,
        clock: StoreClock,
        turns: Turns,
        instances: Instances,
        activities: ActivityRunner,
        queries: QueryRunner,
        *,
        session_id: str,
        build: str,
        queues: tuple[str, ...],
        max_turns: int,
        poll: float,
        telemetry: Telemetry,
    ) -> None:
        self._backend = backend
        self._registry = registry
        self._clock = clock
        self._turns = turns
        self._instances = instances
        self._activities = activities
        self._queries = queries
        self._session_id = session_id
        self._build = build
        self._queues = queues
        self._max_turns = max_turns
        self._poll = poll
        self._telemetry = telemetry
        self._time = asyncio.get_running_loop().time
        self._claiming = asyncio.Lock()
        self._reconcile: list[float] = []
        self._suspects = False
        self._alone = False
        self._suspects_again = float("-inf")
        self._parked_looked = float("-inf")
        self._turns_full = _Capacity()
        self._activities_full = _Capacity()
        instances.on_forgotten = activities.on_forgotten = self._note_lost_answer

    def loops(self) -> list[asyncio.Task[None]]:
        """Starts the loops; they run until they are cancelled."""
        loop = asyncio.get_running_loop()
        steps: tuple[tuple[str, str, _Step], ...] = (
            ("turns", TURNS, self._claim_turns),
            ("activities", ACTIVITIES, self._claim_activities),
            ("sweep", DUE, self._sweep),
            ("beats", BEATS, self._beat),
        )
        return [
            loop.create_task(self._repeat(topic, step), name=f"perdure {name}")
            for name, topic, step in steps
        ]

    async def _repeat(self, topic: str, step: _Step) -> None:
        """Takes ``step`` again when woken, or after the seconds that it returns."""
        with self._backend.wakeups.listen(topic) as waiter:
            if topic == TURNS:
                self._turns.on_capacity = self._turns_full.attach(waiter)
            elif topic == ACTIVITIES:
                self._activities.on_capacity = self._activities_full.attach(waiter)
            while True:
                try:
                    pause = await step()
                except BackendError as error:
                    _log.warning("the store does not answer: %s", error)
                    pause = self._poll
                except Exception:
                    _log.exception("internal error in a worker's loop; please report it")
                    pause = self._poll
                await waiter.wait(self._poll if pause is None else pause)

    # --- turns ------------------------------------------------------------------------------------

    async def _claim_turns(self) -> float | None:
        free = self._max_turns - self._turns.busy
        if not self._registry.offers:
            return None
        if self._suspects or self._alone:
            return await self._quarantine()
        if free <= 0:
            self._turns_full.wanted = True
            await self._queries.take(self._session_id)
            return None
        claimed = await self._claim(self._turn_claim(free))
        if claimed.queries:
            await self._queries.take(self._session_id)
        if not claimed.tasks:
            await self._try_parked()
        if claimed.suspects and self._time() >= self._suspects_again:
            self._suspects = True
            return 0.0
        return 0.0 if len(claimed.tasks) >= free else None

    def _turn_claim(self, limit: int, **more: bool) -> TurnClaim:
        return TurnClaim(
            session_id=self._session_id,
            build=self._build,
            queues=self._queues,
            offers=self._registry.offers,
            limit=limit,
            **more,
        )

    async def _claim(self, claim: TurnClaim) -> ClaimedTurns:
        """Claims turns and takes them in."""
        async with self._asking():
            claimed = await self._backend.claim_turns(claim)
            for task in claimed.tasks:
                self._clock.update(task.time)
                self._turns.admit(task)
        return claimed

    async def _try_parked(self) -> None:
        """Parked instances that this build has not tried yet get their chance."""
        now = self._time()
        if now - self._parked_looked < _PARKED_INTERVAL:
            return
        self._parked_looked = now
        claimed = await self._claim(self._turn_claim(20, parked=True))
        for task in claimed.tasks:
            _log.info(
                "%r was parked; this build tries it", task.instance_id, extra=log_fields(task)
            )
        if claimed.tasks:
            self._parked_looked = float("-inf")

    # --- activities -------------------------------------------------------------------------------

    async def _claim_activities(self) -> float | None:
        free = self._activities.allowed
        if not self._registry.activity_names or not self._activities.slots:
            return None
        if self._suspects or self._alone:
            return 0.05
        if free <= 0:
            self._activities_full.wanted = True
            return self._activities.pause
        tasks = await self._claim_some_activities(self._activity_claim(free))
        return 0.0 if len(tasks) >= free else None

    def _activity_claim(self, limit: int, *, alone: bool = False) -> ActivityClaim:
        return ActivityClaim(
            session_id=self._session_id,
            queues=self._queues,
            names=self._registry.activity_names,
            limit=limit,
            alone=alone,
        )

    async def _claim_some_activities(self, claim: ActivityClaim) -> list[ActivityTask]:
        """Claims activities and starts them."""
        async with self._asking():
            tasks = await self._backend.claim_activities(claim)
            for task in tasks:
                self._activities.start_claimed(task)
        return tasks

    async def _beat(self) -> float | None:
        await self._activities.beat()
        return min(self._poll, 1.0, self._activities.shortest_heartbeat / 3)

    # --- what went wrong --------------------------------------------------------------------------

    @asynccontextmanager
    async def _asking(self) -> AsyncGenerator[None]:
        """Around a claim and the taking in: what is owned is known, or an answer was lost."""
        async with self._claiming:
            await self._hand_back_unknown()
            try:
                yield
            except BackendUnavailableError:
                self._note_lost_answer()
                raise

    def _note_lost_answer(self) -> None:
        # At once, and again later: the call that was given up may still be on its way.
        now = self._time()
        self._reconcile = [now, now + _LATE_CALL]

    async def _hand_back_unknown(self) -> None:
        """After a lost answer this session may own what it never heard of."""
        if not self._reconcile or self._time() < self._reconcile[0]:
            return
        count = await self._backend.retain(
            self._session_id, self._instances.tokens(), self._activities.tokens()
        )
        del self._reconcile[0]
        if count:
            _log.info("handed back %d leases whose claim got no answer", count)

    async def _quarantine(self) -> float | None:
        """Runs what may have killed a worker, one at a time, with nothing else beside it."""
        if self._turns.busy or self._activities.running:
            self._turns_full.wanted = True
            return 0.05
        self._suspects, self._alone = False, True
        try:
            claimed = await self._claim(self._turn_claim(1, alone=True))
            for task in claimed.tasks:
                _log.warning(
                    "%r may have killed its worker; it runs alone",
                    task.instance_id,
                    extra=log_fields(task),
                )
            if not claimed.tasks:
                for activity in await self._claim_some_activities(
                    self._activity_claim(1, alone=True)
                ):
                    _log.warning("activity %r runs alone", activity.name)
            if self._turns.busy or self._activities.running:
                return 0.0  # comes back here until it has ended
            self._alone = False
            self._backend.wakeups.notify(ACTIVITIES)
            # What is left is for other workers: no need to pause for it again and again.
            self._suspects_again = self._time() + _PARKED_INTERVAL
        except BackendError:
            self._alone = False
            raise
        return 0.0

    # --- keeping house ----------------------------------------------------------------------------

    async def _sweep(self) -> float | None:
        report = await self._backend.sweep(self._session_id, _SWEEP_BATCH)
        for lost in report.sessions_lost:
            _log.warning("session %s is gone; its work goes on elsewhere", lost)
        if report.sessions_lost:
            self._telemetry.others_lost(len(report.sessions_lost))
            # What they owned may have to run alone, which only a claim finds out.
            self._backend.wakeups.notify(TURNS, ACTIVITIES)
        if report.fired + report.timed_out >= _SWEEP_BATCH:
            return 0.0
        if report.next_due is None:
            return self._poll  # nothing is planned and nobody else is there
        longest = min(self._poll, 0.5)
        return min(longest, max(0.0, (report.next_due - self._clock.now()) / 1e6) + 0.0005)


class _Capacity:
    """Wakes a claim loop when something has ended, if it could not take all that was there."""

    def __init__(self) -> None:
        self.wanted = False

    def attach(self, waiter: Waiter) -> Callable[[], None]:
        """The callback for the end of a turn or an activity."""

        def ended() -> None:
            if self.wanted:
                self.wanted = False
                waiter.wake()

        return ended
