"""Branches side by side: calls that are awaited later, and tasks.

Prints:
    total 60, slowest first: c b a
"""

from __future__ import annotations

import asyncio

from perdure import activity, workflow
from perdure_runtime import local
from runner import run


@activity
async def weigh(parcel: str, grams: int) -> int:
    return grams


@workflow
async def pack() -> str:
    # Calling schedules: all three run by now, whatever is awaited first.
    weights = [weigh("a", 10), weigh("b", 20), weigh("c", 30)]
    order: list[str] = []

    async def branch(name: str, rank: int) -> None:
        await weights[rank]
        await asyncio.sleep(0.02 * (3 - rank))
        order.append(name)

    async with asyncio.TaskGroup() as group:  # waits for all, as a wait group does
        for rank, name in enumerate("abc"):
            group.create_task(branch(name, rank))
    total = sum(await asyncio.gather(*weights))
    return f"total {total}, slowest first: {' '.join(order)}"


async def main(url: str) -> None:
    async with local(url) as app:
        print(await app.run(pack))


if __name__ == "__main__":
    run(main)
