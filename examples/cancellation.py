"""Cancelling an instance: its code sees ``CancelledError`` and cleans up, durably.

Prints:
    the room is booked
    the guest does not come: the room is free again
"""

from __future__ import annotations

import asyncio

from perdure import Signal, WorkflowCancelledError, activity, publish, shielded, sleep, workflow
from perdure_runtime import local
from runner import run

arrival = Signal("arrival", None)


@activity
async def book(room: str) -> None:
    print(f"the {room} is booked")


@activity
async def release(room: str, reason: str) -> None:
    print(f"{reason}: the {room} is free again")


@workflow
async def stay(room: str) -> None:
    await book(room)
    publish("booked")
    try:
        await arrival.receive()
        await sleep(24 * 3600)
    except asyncio.CancelledError as cancelled:
        # Cancellation comes once: clean-up may await what it likes. `shielded` keeps it going even
        # if somebody cancels this very task once more, as `asyncio.timeout` would.
        await shielded(release(room, str(cancelled)))
        raise


async def main(url: str) -> None:
    async with local(url) as app:
        handle = await app.start(stay, "room")
        while await handle.published(str) != "booked":
            await asyncio.sleep(0.01)
        await handle.cancel("the guest does not come")
        try:
            await handle.result()
        except WorkflowCancelledError:
            pass


if __name__ == "__main__":
    run(main)
