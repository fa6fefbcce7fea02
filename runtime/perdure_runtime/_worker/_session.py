"""A worker's lease: kept alive beside the event loop, so that a blocked loop does not lose it.

PYTEST_DONT_REWRITE
"""

from __future__ import annotations

import asyncio
import logging
import os
import platform
from collections.abc import Callable
from typing import Final

from perdure import BackendError
from perdure_backends import Backend, SessionKeeper
from perdure_backends.records import SessionStart

from .._registry import Registry
from .._services import Running, Services

_log: Final = logging.getLogger("perdure.runtime")


class Session:
    """Opens a session and renews it until it is closed or lost.

    Args:
        lease: seconds that the session lives after each renewal.
        slots: for turns and activities.
        on_lost: called on the worker's loop when the lease is, or may be, gone.
    """

    def __init__(
        self,
        backend: Backend,
        services: Services,
        *,
        build: str,
        lease: float,
        queues: tuple[str, ...],
        slots: tuple[int, int],
        registry: Registry,
        on_lost: Callable[[], None],
    ) -> None:
        self.id = services.new_id()
        self._backend = backend
        self._services = services
        self._build = build
        self._lease = lease
        self._queues = queues
        self._slots = slots
        self._registry = registry
        self._on_lost = on_lost
        self._loop = asyncio.get_running_loop()
        self._keeping: Running | None = None
        self._given_up = False
        self._closing = False

    async def open(self) -> None:
        """Registers the session and starts renewing it."""
        await self._backend.open_session(
            SessionStart(
                id=self.id,
                build=self._build,
                lease=round(self._lease * 1e6),
                label=f"{platform.node()}:{os.getpid()}",
                queues=self._queues,
                workflows=self._registry.offers,
                activities=self._registry.activity_names,
                max_turns=self._slots[0],
                max_activities=self._slots[1],
            )
        )
        self._keeping = self._services.run_aside(self._keep, f"perdure-session-{self.id[:6]}")

    @property
    def given_up(self) -> bool:
        """Whether it runs out because its worker was blocked."""
        return self._given_up

    def give_up(self) -> None:
        """Lets the session run out: its worker is blocked. From any thread."""
        self._given_up = True

    async def close(self) -> None:
        """Hands everything back and ends the session."""
        await self.stop_renewing()
        await self._backend.end_session(self.id)

    async def stop_renewing(self) -> None:
        """Lets the session die."""
        if self._keeping is not None:
            keeping, self._keeping = self._keeping, None
            await keeping.stop()

    async def _keep(self) -> None:
        """Runs beside the worker's loop. Counts the lease from before each renewal was sent."""
        clock = asyncio.get_running_loop().time
        expires = clock() + self._lease
        keeper: SessionKeeper | None = None
        try:
            while True:
                await asyncio.sleep(self._lease / 3)
                sent = clock()
                if self._given_up:
                    await asyncio.sleep(max(0.0, expires - sent))
                    return
                try:
                    async with asyncio.timeout(max(expires - sent, 0.01)):
                        if keeper is None:
                            keeper = await self._backend.keep_session(self.id)
                        alive = await keeper.renew()
                except (BackendError, TimeoutError) as error:
                    if clock() >= expires:
                        return
                    _log.warning("the session could not be renewed, trying again: %s", error)
                    continue
                if not alive:
                    return
                expires = sent + self._lease
        except asyncio.CancelledError:
            self._closing = True
            raise
        finally:
            if not self._closing:
                self._tell_lost()
            if keeper is not None:
                await _close(keeper)

    def _tell_lost(self) -> None:
        try:
            self._loop.call_soon_threadsafe(self._on_lost)
        except RuntimeError:  # the worker's loop is closed
            pass


async def _close(keeper: SessionKeeper) -> None:
    """To the end, even when it is stopped meanwhile: its connection would be left open.

    The worker stops it as soon as it hears that its session is lost, which is before this.
    """
    closing = asyncio.ensure_future(keeper.aclose())
    while not closing.done():
        try:
            await asyncio.shield(closing)
        except asyncio.CancelledError:
            continue
