"""Polling something outside: often within an activity, or seldom, by its retry policy.

Prints:
    often: ready after 4 looks
    seldom: ready after 3 looks
"""

from __future__ import annotations

import asyncio

from perdure import ApplicationError, Retry, activity, activity_info, heartbeat, workflow
from perdure_runtime import local
from runner import run


@activity(heartbeat=10, start_to_close=300)
async def poll_often() -> int:
    """Many looks within one attempt; heartbeats show that it lives, and where it was."""
    looks = int(activity_info().progress or 0)
    while looks < 4:
        looks += 1
        heartbeat(looks)
        await asyncio.sleep(0.005)
    return looks


@activity(retry=Retry(attempts=0, interval=0.01, backoff=1.0))
async def poll_seldom() -> int:
    """One look for each attempt: the store keeps the time between them, not this process."""
    looks = activity_info().attempt
    if looks < 3:
        raise ApplicationError("not ready", retry_after=0.01)
    return looks


@workflow
async def waits() -> list[str]:
    return [
        f"often: ready after {await poll_often()} looks",
        f"seldom: ready after {await poll_seldom()} looks",
    ]


async def main(url: str) -> None:
    async with local(url) as app:
        for line in await app.run(waits):
            print(line)


if __name__ == "__main__":
    run(main)
