"""Workflows for replays in another process; some give another answer there."""

from __future__ import annotations

import asyncio
import datetime
from datetime import timedelta

from perdure import activity, sleep, workflow


@activity
async def note(text: str) -> str:
    return text


@workflow
async def steady(count: int) -> list[str]:
    found: list[str] = []
    for number in range(count):
        found.append(await note(f"n{number}"))
        await sleep(timedelta(days=1))
    return found


@workflow
async def quick(count: int) -> list[str]:
    return [await note(f"n{number}") for number in range(count)]


@workflow
async def by_hash(names: list[str]) -> list[str]:
    return await asyncio.gather(*[note(name) for name in set(names)])


@workflow
async def by_time_zone(moment: float) -> str:
    await note("first")
    hour = datetime.datetime.fromtimestamp(moment).hour
    return await note(f"hour {hour}")
