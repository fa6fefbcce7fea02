"""A pool of resources, lent by a workflow to others: locks that survive crashes.

Prints:
    never more than 2 at once
    all five were served
"""

from __future__ import annotations

import asyncio
import dataclasses

from perdure import Signal, Update, activity, info, instance, publish, wait_until, workflow
from perdure_runtime import local
from runner import run


@dataclasses.dataclass
class Request:
    who: str


granted = Signal("granted", int)
release = Signal("release", int)
acquire = Signal("acquire", Request)
close = Update("close", int, int)


@workflow
async def pool(size: int) -> int:
    free = list(range(size))
    waiting: list[Request] = []
    served = 0
    closing: int | None = None

    @acquire.handler
    def _(request: Request) -> None:
        waiting.append(request)

    @release.handler
    def _(resource: int) -> None:
        free.append(resource)

    @close.handler
    def _(after: int) -> int:
        nonlocal closing
        closing = after
        return served

    def all_back() -> bool:
        return served == closing and len(free) == size

    while closing is None or served < closing or len(free) < size:
        await wait_until(lambda: bool(free and waiting) or all_back())
        if free and waiting:
            resource, request = free.pop(0), waiting.pop(0)
            served += 1
            await instance(request.who).signal(granted, resource)
            publish(served)
    return served


running = most = 0


@activity
async def work(resource: int) -> None:
    global running, most
    running += 1
    most = max(most, running)
    await asyncio.sleep(0.01)
    running -= 1


@workflow
async def borrower(pool_id: str) -> None:
    await acquire.send(pool_id, Request(info().id))
    resource = await granted.receive()
    try:
        await work(resource)
    finally:
        await release.send(pool_id, resource)


async def main(url: str) -> None:
    global most
    most = 0
    async with local(url) as app:
        lender = await app.start(pool.options(id="pool"), 2)
        borrowers = [await app.start(borrower, "pool") for _ in range(5)]
        for one in borrowers:
            await one.result()
        await lender.update(close, 5)
        served = await lender.result()
        print("never more than 2 at once" if most <= 2 else f"{most} at once")
        print("all five were served" if served == 5 else f"served {served}")
        await lender.remove()


if __name__ == "__main__":
    run(main)
