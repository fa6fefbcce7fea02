"""What is known of a store without asking it, and when it is looked at.

PYTEST_DONT_REWRITE
"""

from __future__ import annotations

import asyncio
import math
import random
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Final

from perdure import BackendError

from .._wakeups import ACTIVITIES, ANSWERS, DUE, TURNS, Wakeups
from ._database import Database, Look
from ._telling import end_tasks

LIMITS: Final = "limits"
"""Told when a queue's limit was set. Where nothing is told, the next glance shows it."""

PARKED: Final = "parked"
"""Nobody is woken for what is parked: who can run it looks from time to time."""

_HURRY: Final = "hurry"
"""Told when this process has made something happen: others may answer soon."""

_FRESH: Final = 0.9
"""Seconds for which a glance that nothing has contradicted since is believed."""

_SEEN_FREE: Final = 0.3
"""Seconds between the two glances that find a session's lock free."""

_GRACE: Final = 2.0
"""Seconds after an outage in which nobody is found dead: the living could not renew either."""

_BUSY_LOOK: Final = 0.012
_IDLE_LOOK: Final = 0.46
"""Seconds between glances where the store does not push."""

_BUSY: Final = 2.0
"""Seconds for which something that happened makes more of it likely."""


class Glances:
    """Looks at a store, and remembers what it saw until something is told.

    Args:
        clock: microseconds since the epoch, in place of the server's; for tests.
    """

    def __init__(
        self, database: Database, wakeups: Wakeups, clock: Callable[[], int] | None
    ) -> None:
        self.clock = clock
        self.limits = True
        """Whether any queue may have a limit."""
        self._database = database
        self._wakeups = wakeups
        self._offset = 0
        self._look: Look | None = None
        self._looked = -math.inf
        self._looked_now = 0
        self._stale: set[str] = set()
        self._planned: float = math.inf
        self._limit_changes = 0
        self._seen_free: dict[str, float] = {}
        self._out_of_reach = False
        self._judges_from = -math.inf
        self._watcher: asyncio.Task[None] | None = None
        self._busy_until = -math.inf
        self._glancing: asyncio.Task[Look] | None = None

    # --- life

    async def open(self) -> None:
        """Listens to what is told, and looks from time to time where nothing is."""
        await self.learn_time()
        self._database.listen(self.told)
        if not self._database.pushes and self.clock is None:
            self._watcher = asyncio.get_running_loop().create_task(self._watch())

    async def aclose(self) -> None:
        """Looks no more."""
        watcher, self._watcher = self._watcher, None
        await end_tasks(watcher, self._glancing)

    # --- time

    async def learn_time(self) -> None:
        """Asks for the server's time."""
        if self.clock is None:
            rows = await self._database.fetch("now")
            self._set_time(rows[0][0])

    def _set_time(self, now: int) -> None:
        self._offset = now - time.monotonic_ns() // 1000

    def now(self) -> int:
        """The server's time at its last answer, and this machine's monotonic time since."""
        if self.clock is not None:
            return self.clock()
        return time.monotonic_ns() // 1000 + self._offset

    # --- what has happened

    def tell(self, topics: Iterable[str], earliest: int | None, finished: Sequence[str]) -> None:
        """Something has been made to happen here; those whom it concerns learn of it.

        Args:
            topics: of whom.
            earliest: when the first of what was planned with it is due; microseconds.
            finished: runs that have ended.
        """
        concerned = set(topics)
        if earliest is not None and earliest < self._planned:
            self._planned = earliest
            concerned.add(DUE)
        if concerned or finished:
            self._be_busy()
            named = list(concerned)
            self.told(named, finished)
            self._database.tell(named, finished)

    def told(self, topics: Sequence[str], finished: Sequence[str] | None) -> None:
        """Something happened, here or elsewhere."""
        if LIMITS in topics:
            self.limits = True
            self._limit_changes += 1
        self._stale.update(topics)
        self._wakeups.notify(*topics)
        if finished is None or finished:
            self._wakeups.notify_finished(finished)

    def _be_busy(self) -> None:
        """Something has happened; the next looks come soon."""
        idle = time.monotonic() >= self._busy_until
        self._busy_until = time.monotonic() + _BUSY
        if idle and self._watcher is not None:
            self._wakeups.notify(_HURRY)

    # --- looking

    async def glance(self) -> Look:
        """Looks at the store.

        Raises:
            BackendError: it can't be reached.
        """
        # What is told from here on may not be in its answer, and what was told before must not be
        # judged by an older one.
        self._stale.clear()
        self._look = None
        since, changes = self._looked_now, self._limit_changes
        try:
            look = await self._database.look(None if self.clock is None else self.clock(), since)
        except BackendError:
            self._out_of_reach = True
            raise
        if self.clock is None:
            self._set_time(look.now)
        self._looked = time.monotonic()
        if self._out_of_reach:
            self._out_of_reach = False
            self._judges_from = self._looked + _GRACE
        self._looked_now = look.now
        self._look = look
        if changes == self._limit_changes:
            self.limits = look.limits
        self._planned = math.inf if look.next_due is None else look.next_due
        if look.retries:
            self._wakeups.notify(ACTIVITIES)
        return look

    async def fresh(self, topic: str) -> Look | None:
        """What is known without asking, or by a glance; ``None``: something has happened."""
        if self.clock is not None or topic in self._stale:
            # Who asks next may be able to do what this one can't: it must look again.
            self._stale.discard(topic)
            self._look = None
            return None
        if self._look is None or time.monotonic() - self._looked > _FRESH:
            return await self._shared_glance()
        return self._look

    async def _shared_glance(self) -> Look:
        """The glance that is on its way, or a new one: a worker's loops look at the same time."""
        loop = asyncio.get_running_loop()
        glancing = self._glancing
        # One that is over and not cleared away yet is no answer: who asks again and again, because
        # its answer has grown old meanwhile, would never let the loop go on.
        if glancing is None or glancing.done() or glancing.get_loop() is not loop:
            glancing = self._glancing = loop.create_task(self.glance())
            glancing.add_done_callback(self._glanced)
        return await asyncio.shield(glancing)

    def _glanced(self, glancing: asyncio.Task[Look]) -> None:
        if self._glancing is glancing:
            self._glancing = None
        if not glancing.cancelled():
            glancing.exception()  # seen, also where nobody waits for it any more

    async def _watch(self) -> None:
        """Looks at a store that does not push: often while something happens there, else seldom."""
        pause = wait = _IDLE_LOOK
        with self._wakeups.listen(_HURRY) as waiter:
            while True:
                hurried = await waiter.wait(wait)
                look = self._look
                # Where somebody else has looked meanwhile, that look counts as one of these.
                if hurried or look is None or time.monotonic() - self._looked >= pause:
                    try:
                        look = await self._shared_glance()
                    except BackendError:
                        pause = wait = _IDLE_LOOK
                        continue
                if look.ready or look.waiting or look.asked:
                    self._busy_until = time.monotonic() + _BUSY
                    turns = [TURNS] * (look.ready or look.asked)
                    self.told(turns + [ACTIVITIES] * look.waiting, ())
                busy = time.monotonic() < self._busy_until
                # Uneven, or two processes that wait for each other would keep in step for ever, at
                # worst each looking just before the other has done something.
                often = _BUSY_LOOK * (0.5 + random.random())
                pause = often if busy else min(pause * 1.5, _IDLE_LOOK)
                wait = max(0.0, pause - (time.monotonic() - self._looked))
                # Who waits for an end or an answer asks for it; where nobody does, this is nothing.
                self._wakeups.notify(ANSWERS)
                self._wakeups.notify_finished(None)

    # --- judging

    def lost_sessions(self, look: Look, own: str) -> list[tuple[str, str, bool]]:
        """Sessions whose lease ended, or whose lock was seen free twice.

        Returns:
            Of each but ``own``: its id, its build, and whether its process is proven dead.
        """
        if self._looked < self._judges_from:
            # Their locks and renewals went with the server. Who lives comes back with a new
            # session and ends the old one; what dies of an outage is no reason to suspect anything.
            self._seen_free = {}
            return []
        self._seen_free = {one: self._seen_free.get(one, self._looked) for one in look.unlocked}
        lost: list[tuple[str, str, bool]] = []
        for other, build, expires_at in look.sessions:
            if other == own:
                continue
            first = self._seen_free.get(other)
            proven = first is not None and self._looked - first >= _SEEN_FREE
            if proven or expires_at <= look.now:
                lost.append((other, build, proven))
        return lost
