"""The first error of a group cancels the other branches.

Prints:
    one failed: no such shelf; cancelled: a b
"""

from __future__ import annotations

import asyncio

from perdure import ActivityError, Retry, TaskGroup, activity, workflow
from perdure_runtime import local
from runner import run


@activity
async def search(shelf: str) -> str:
    await asyncio.sleep(60)
    return f"found on {shelf}"


@activity(retry=Retry.never)
async def fails() -> str:
    raise LookupError("no such shelf")


@workflow
async def look_everywhere() -> str:
    cancelled: list[str] = []

    async def branch(shelf: str) -> str:
        try:
            return await search(shelf)
        except asyncio.CancelledError:
            cancelled.append(shelf)
            raise

    failed = ""
    try:
        async with TaskGroup() as group:  # perdure's takes durable calls as well as coroutines
            group.create_task(branch("a"))
            group.create_task(branch("b"))
            group.create_task(fails())
    except* ActivityError as errors:
        failed = "; ".join(error.failure.message for error in _errors(errors))
    return f"one failed: {failed}; cancelled: {' '.join(sorted(cancelled))}"


def _errors(group: ExceptionGroup[ActivityError]) -> list[ActivityError]:
    return [error for error in group.exceptions if isinstance(error, ActivityError)]


async def main(url: str) -> None:
    async with local(url) as app:
        print(await app.run(look_everywhere))


if __name__ == "__main__":
    run(main)
