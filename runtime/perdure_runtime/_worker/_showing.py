"""What a worker shows of itself: health and telemetry, and in the store its schemas and rates.

PYTEST_DONT_REWRITE
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final

from perdure import BackendError, Workflow
from perdure_backends import Backend, Documents

from .._telemetry import Telemetry, WorkerState
from ._clock import StoreClock

if TYPE_CHECKING:
    from .._health import HealthServer, Watched
    from .._tally import Tally

_log: Final = logging.getLogger("perdure.runtime")

_INTERVAL: Final = 15.0


class Showing:
    """Telemetry and health of a worker, from its start to its end.

    Args:
        health: port, or host and port, of its health; nowhere when ``None``.

    Raises:
        InvalidOptionError: ``health`` is no address.
    """

    def __init__(
        self, backend: Backend, telemetry: Telemetry, health: str | int | None = None
    ) -> None:
        if health is not None:
            from .._health import parse_address

            parse_address(health)
        self._backend = backend
        self._telemetry = telemetry
        self._address = health
        self._health: HealthServer | None = None
        self._stop_timing: Callable[[], None] | None = None
        self._begun = False

    @property
    def url(self) -> str | None:
        """Where its health is shown, while it is."""
        return None if self._health is None else self._health.url

    def time_store(self) -> None:
        """From now on the store's calls are timed, where telemetry asks for it."""
        if self._telemetry.times_store:
            from .._timing import time_store

            self._stop_timing = time_store(self._backend, self._telemetry)

    def begin(self, worker: Watched) -> None:
        """The worker works.

        Raises:
            InvalidOptionError: the address is in use, or not this machine's.
        """
        self._telemetry.worker_began(worker)
        self._begun = True
        if self._address is not None:
            from .._health import HealthServer

            health = HealthServer(worker, self._address)
            health.start()
            self._health = health

    def end(self, worker: WorkerState) -> None:
        """The worker has ended, or could not begin."""
        if self._begun:
            self._begun = False
            self._telemetry.worker_ended(worker)
        if self._stop_timing is not None:
            self._stop_timing()
            self._stop_timing = None
        if self._health is not None:
            self._health.stop()
            self._health = None


class Publishing:
    """What a session writes for those who look at the store."""

    def __init__(
        self,
        store: Documents,
        tally: Tally,
        clock: StoreClock,
        workflows: Sequence[Workflow[..., Any]],
        *,
        session_id: str,
        build: str,
        queues: Sequence[str],
    ) -> None:
        self._store = store
        self._tally = tally
        self._clock = clock
        self._workflows = workflows
        self._session_id = session_id
        self._build = build
        self._queues = list(queues)

    async def run(self) -> None:
        """Publishes schemas, and then what is done in each minute, until it is cancelled."""
        from .._schemas import documents_of

        documents = documents_of(
            self._workflows, build=self._build, queues=self._queues, at=self._clock.now()
        )
        while True:
            try:
                if documents:
                    await self._store.put_documents(documents)
                    documents = []
                await self._tally.save(self._store, self._session_id)
            except BackendError as error:
                _log.debug("schemas and rates are not stored so far: %s", error)
            await asyncio.sleep(_INTERVAL)

    async def finish(self) -> None:
        """Writes the last rates."""
        try:
            await self._tally.save(self._store, self._session_id)
        except BackendError as error:
            _log.debug("the last rates are not stored: %s", error)
