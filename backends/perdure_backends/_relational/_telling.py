"""Telling other processes, and ending what runs beside a store.

PYTEST_DONT_REWRITE
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable, Hashable, Iterable
from typing import Any, Final

from perdure import BackendError

_log: Final = logging.getLogger("perdure.backends")

_MOST_RUNS: Final = 100
"""Ends of so many runs are told by name: a notification of PostgreSQL holds 8,000 bytes."""

_PAUSE: Final = 0.001
"""Seconds after a message in which what is to be told next gathers."""


class Teller:
    """Gathers topics and ends of runs, and sends them as one message at a time.

    A message is a JSON array of the sender's name, the topics, and the ends (``null``: too many).

    Args:
        name: by which the sender knows its own messages.
        send: sends a message.
    """

    def __init__(self, name: str, send: Callable[[str], Awaitable[None]]) -> None:
        self._name = name
        self._send = send
        self._topics: set[Hashable] = set()
        self._ended: set[str] = set()
        self.task: asyncio.Task[None] | None = None
        """What sends them now."""

    def tell(self, topics: Iterable[Hashable], ended: Iterable[str]) -> None:
        """Tells, soon; never fails."""
        self._topics.update(topics)
        self._ended.update(ended)
        if self.task is None:
            self.task = asyncio.get_running_loop().create_task(self._run())

    async def _run(self) -> None:
        try:
            while self._topics or self._ended:
                ended = None if len(self._ended) > _MOST_RUNS else list(self._ended)
                message = json.dumps([self._name, list(self._topics), ended])
                self._topics.clear()
                self._ended.clear()
                try:
                    await self._send(message)
                except BackendError as error:
                    _log.debug("could not tell others: %s", error)
                await asyncio.sleep(_PAUSE)
        finally:
            self.task = None


async def end_tasks(*tasks: asyncio.Task[Any] | None) -> None:
    """Cancels tasks, and waits for those of the running event loop."""
    loop = asyncio.get_running_loop()
    there = [task for task in tasks if task is not None]
    for task in there:
        task.cancel()
    here = [task for task in there if task.get_loop() is loop]
    if here:
        await asyncio.wait(here)
