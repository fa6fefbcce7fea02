"""Workflows for worker processes that are killed."""

from __future__ import annotations

import asyncio
import ctypes
import os
import random
from pathlib import Path

from perdure import ActivityError, Retry, Signal, activity, workflow

go = Signal("go", int)


@activity(retry=Retry(attempts=5, interval=0.01))
async def step(value: int) -> int:
    await asyncio.sleep(random.random() * 0.01)
    return value + 1


@activity
def in_thread(value: int) -> int:
    return value + 1


@workflow
async def chain(length: int) -> int:
    value = 0
    for i in range(length):
        value = await step(value)
        if i % 4 == 3:
            await asyncio.sleep(0.02)
    return value


@workflow
async def fan(width: int) -> int:
    values = await asyncio.gather(*(in_thread(i) for i in range(width)))
    return sum(values)


@workflow
async def tree(depth: int) -> int:
    if depth == 0:
        return await step(0)
    return sum(await asyncio.gather(tree(depth - 1), tree(depth - 1)))


@workflow
async def listens(count: int) -> list[int]:
    return [await go.receive() for _ in range(count)]


@activity
def kills_by_exit(note: str) -> None:
    with Path(note).open("a") as file:
        file.write("x")
    os._exit(9)


@activity
def kills_by_fault(note: str) -> None:
    with Path(note).open("a") as file:
        file.write("x")
    ctypes.string_at(0)


@workflow
async def hires_a_killer(kind: str, note: str) -> str:
    try:
        await (kills_by_exit if kind == "exit" else kills_by_fault)(note)
    except ActivityError as error:
        return error.type
    return "survived"


@workflow
async def is_a_killer(note: str) -> None:
    await step(1)
    with Path(note).open("a") as file:  # noqa: ASYNC230  (it is about to die)
        file.write("x")
    os._exit(9)


@activity
async def slow(seconds: float) -> int:
    await asyncio.sleep(seconds)
    return os.getpid()


@workflow
async def two_slow(seconds: float) -> list[int]:
    return [await slow(seconds), await slow(seconds)]
