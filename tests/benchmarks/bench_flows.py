"""The workloads' workflows."""

from __future__ import annotations

import asyncio
import time

from perdure import activity, workflow

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
