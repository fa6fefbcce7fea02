"""A timer whose due time can be moved while it runs.

Prints:
    moved
    fired after it was moved
"""

from __future__ import annotations

from datetime import datetime, timedelta

from perdure import Query, ResettableTimer, Update, now, workflow
from perdure_runtime import local
from runner import run

move = Update("move", timedelta, datetime)
due = Query("due", datetime | None)


@workflow
async def alarm(after: timedelta) -> str:
    clock = ResettableTimer(after, "alarm")
    first = clock.due

    @move.handler
    def _(delay: timedelta) -> datetime:
        clock.reset(delay)
        return now() + delay

    @due.handler
    def _() -> datetime | None:
        return clock.due

    await clock.wait()
    return "fired after it was moved" if clock.due != first else "fired"


async def main(url: str) -> None:
    async with local(url) as app:
        handle = await app.start(alarm, timedelta(days=365))
        moved_to = await handle.update(move, timedelta(seconds=0.05))
        print("moved" if await handle.query(due) == moved_to else "not moved?")
        print(await handle.result())


if __name__ == "__main__":
    run(main)
