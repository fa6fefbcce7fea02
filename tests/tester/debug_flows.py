"""Workflows that are stepped through."""

from __future__ import annotations

import asyncio
import os
from datetime import timedelta

from perdure import Signal, activity, publish, sleep, workflow

ready = Signal("ready", bool)


@activity
async def charge(amount: int) -> str:
    return f"r{amount}"


class Rude:
    """Can't be shown."""

    def __repr__(self) -> str:
        raise ValueError("no")


async def watch(log: list[str]) -> None:
    log.append("watching")
    await ready.receive()
    log.append("ready")


@workflow
async def order(amount: int) -> list[str]:
    receipts: list[str] = []
    log: list[str] = []
    rude = Rude()
    watcher = asyncio.create_task(watch(log), name="watcher")
    for month in range(2):
        async with asyncio.timeout(60):  # noqa: ASYNC100  (a timer that leaves no record)
            log.append(f"month {month}")
        receipts.append(await charge(amount + month))
        publish({"month": month})
        await sleep(timedelta(seconds=30))
    await watcher
    del rude
    return receipts


@workflow(name="order")
async def edited(amount: int) -> list[str]:
    receipts: list[str] = []
    for month in range(2):
        receipts.append(await charge(amount + month))
        await sleep(timedelta(seconds=45))
    return receipts


@workflow
async def stops() -> int:
    total = 40
    total += 2
    if "PERDURE_TEST_BREAK" in os.environ:
        breakpoint()
    await charge(total)
    return total
