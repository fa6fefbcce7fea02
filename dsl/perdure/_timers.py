"""Timers whose due time can be moved.

PYTEST_DONT_REWRITE
"""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta

from ._duration import Duration, seconds
from ._functions import now, timer
from ._futures import TimerFuture


class ResettableTimer:
    """A durable timer that can be moved, stopped and started again, as often as you like.

    Args:
        delay: seconds or ``timedelta`` from now; not running yet when it is not given.
        name: shown in histories.
    """

    def __init__(self, delay: Duration | None = None, name: str = "") -> None:
        self._name = name
        self._timer: TimerFuture | None = None
        self._fired = asyncio.Event()
        self._due: datetime | None = None
        if delay is not None:
            self.reset(delay)

    @property
    def due(self) -> datetime | None:
        """When it fires, or fired; ``None`` while it is stopped."""
        return self._due

    @property
    def fired(self) -> bool:
        """Whether it has fired since it was last set."""
        return self._fired.is_set()

    def reset(self, delay: Duration) -> None:
        """Fires after ``delay`` from now, whatever was set before."""
        duration = seconds(delay, "delay")
        self.stop()
        self._due = now() + timedelta(seconds=duration)
        if duration == 0:
            self._fired.set()
            return
        self._timer = timer(duration, self._name)
        self._timer.add_done_callback(self._done)

    def reset_until(self, moment: datetime) -> None:
        """Fires at ``moment`` (an aware datetime), whatever was set before.

        Raises:
            ValueError: ``moment`` has no time zone.
        """
        if moment.tzinfo is None:
            raise ValueError("reset_until() needs an aware datetime")
        self.reset(max(timedelta(0), moment - now()))

    def stop(self) -> None:
        """Does not fire until it is set again."""
        self._fired.clear()
        self._due = None
        running, self._timer = self._timer, None
        if running is not None:
            running.cancel()

    async def wait(self) -> None:
        """Waits until it has fired, however often it is moved meanwhile."""
        await self._fired.wait()

    def _done(self, timer: asyncio.Future[None]) -> None:
        if timer is self._timer and not timer.cancelled():
            self._fired.set()
