"""The workloads' workflows."""

from __future__ import annotations

import asyncio
import time

from perdure import Query, Signal, Update, activity, sleep, workflow

starts: list[float] = []


@activity
async def echo(value: int) -> int:
    starts.append(time.perf_counter())
    return value


@workflow
async def one(value: int) -> int:
    return await echo(value)


@workflow
async def row(length: int) -> int:
    value = 0
    for i in range(length):
        value = await echo(i)
    return value


@workflow
async def fan(width: int) -> int:
    return sum(await asyncio.gather(*(echo(i) for i in range(width))))


@workflow
async def sleeps(seconds: float) -> None:
    await asyncio.sleep(seconds)


@workflow
async def tree(depth: int) -> int:
    """One root over a binary tree: 15 workflows and 16 activities in all for depth 3."""
    if depth == 0:
        return sum(await asyncio.gather(echo(1), echo(1)))
    return sum(await asyncio.gather(tree(depth - 1), tree(depth - 1)))


seen = Query("seen", int)
add = Update("add", int, int)
stop = Signal("stop", None)


@activity(local=True)
async def near(value: int) -> int:
    return value


@workflow
async def near_row(length: int) -> int:
    for number in range(length):
        await near(number)
        if number % 20 == 19:
            await sleep(0.0001)  # a turn ends
    return length


@workflow
async def listens() -> int:
    total = 0

    @seen.handler
    def _() -> int:
        return total

    @add.handler
    def _(value: int) -> int:
        nonlocal total
        total += value
        return total

    await stop.receive()
    return total


def harmless(value: int) -> int:
    return value


@workflow
async def calls(count: int) -> None:
    for number in range(count):
        harmless(number)


def plain(count: int) -> float:
    """Seconds of as many calls outside of any workflow."""
    begun = time.perf_counter()
    for _ in range(count):
        time.time()
    return time.perf_counter() - begun
