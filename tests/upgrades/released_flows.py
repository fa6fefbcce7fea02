"""The workflows of the stored instances in ``released``: they must stay as they are."""

from __future__ import annotations

import asyncio

from perdure import Retry, Signal, Update, activity, publish, workflow

go = Signal("go", int)
lift = Update("lift", int, int)


@activity(retry=Retry(attempts=3, interval=0.01))
async def double(value: int) -> int:
    return 2 * value


@activity
async def later(value: int) -> int:
    return value + 1


@workflow
async def finished(value: int) -> int:
    return await double(value)


@workflow
async def listens() -> list[int]:
    height = 0

    @lift.handler
    def _(by: int) -> int:
        nonlocal height
        height += by
        publish({"height": height})
        return height

    return [await go.receive(), await go.receive(), height]


@workflow
async def sleeps(seconds: float) -> str:
    await asyncio.sleep(seconds)
    return "awake"


@workflow
async def waits_for_an_activity(value: int) -> int:
    return await later(await double(value))


@workflow
async def has_a_child(value: int) -> int:
    return 1 + await waits_for_an_activity.options(id="child")(value)


@workflow
async def continues(rounds: int) -> int:
    await double(rounds)
    if rounds:
        continues.continue_as_new(rounds - 1)
    return await go.receive()
