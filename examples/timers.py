"""Named timers, cancelled timers, deadlines, and the first of several things.

Prints:
    slept
    too slow
    the first of all: the timer
"""

from __future__ import annotations

import asyncio

from perdure import Signal, activity, case, select, sleep, timer, workflow
from perdure_runtime import local
from runner import run

bell = Signal("bell", str)


@activity
async def slow() -> str:
    await asyncio.sleep(60)
    return "done"


@workflow
async def waits() -> list[str]:
    await sleep(0.01, "a nap")  # a row in the store: days are as cheap
    seen = ["slept"]
    reminder = timer(3600, "reminder")
    try:
        async with asyncio.timeout(0.02):
            seen.append(await slow())
    except TimeoutError:
        seen.append("too slow")
    reminder.cancel()
    first = await select(
        case(bell),
        case(timer(0.01), lambda _: "the timer"),
    )
    return [*seen, f"the first of all: {first}"]


async def main(url: str) -> None:
    async with local(url) as app:
        for line in await app.run(waits):
            print(line)


if __name__ == "__main__":
    run(main)
