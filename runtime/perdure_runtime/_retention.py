"""Finished instances are removed after a time, by a workflow that any worker runs.

There is one in a store, whatever the number of workers; it survives all of them.

PYTEST_DONT_REWRITE
"""

from __future__ import annotations

import asyncio
from typing import Final

from perdure import Retry, Signal, activity, heartbeat, inject, publish, workflow

from ._client import Client

INSTANCE: Final = "perdure.retention"
"""The id of the one instance."""

_ROUNDS: Final = 200
"""Rounds after which it continues as new, so that its history stays short."""

changed_age: Final = Signal("perdure.retention.age", float)
"""Another age, in seconds, from a worker that is configured otherwise."""


@activity(name="perdure.prune", retry=Retry.forever, heartbeat=60)
async def prune_finished(age: float, *, client: Client = inject()) -> int:
    """Removes what finished ``age`` seconds ago or earlier; gives the number of instances."""
    count = 0
    async for _ in client.prune(age):
        count += 1
        heartbeat(count)
    return count


@workflow(name=INSTANCE)
async def retention(age: float, removed: int = 0) -> None:
    """Removes finished instances again and again.

    Args:
        age: seconds.
        removed: by earlier runs.
    """
    for _ in range(_ROUNDS):
        publish({"age": age, "removed": removed})
        removed += await prune_finished(age)
        publish({"age": age, "removed": removed})
        try:
            async with asyncio.timeout(_pause(age)):
                age = await changed_age.receive()
        except TimeoutError:
            pass
    retention.continue_as_new(age, removed)


def _pause(age: float) -> float:
    """Seconds between two rounds: a tenth of the age, from a second to an hour."""
    return min(3600.0, max(1.0, age / 10))


async def keep_retention(client: Client, age: float, queue: str) -> None:
    """Starts it, or tells the one that is there of another age.

    Raises:
        BackendError: the store could not be asked.
    """
    once = retention.options(id=INSTANCE, queue=queue, if_running="use_existing")
    handle = await client.start(once, age)
    state = await handle.published(dict[str, float])
    if state is not None and state["age"] != age:
        await handle.signal(changed_age, age)
