"""What has finished is freed at once: the garbage collector finds nothing of it."""

from __future__ import annotations

import asyncio
import gc

import pytest
from perdure import Signal, Workflow, activity, timer, workflow
from perdure_runtime import Client, Worker, connect

go = Signal("go", int)


@activity
async def add(x: int) -> int:
    return x + 1


@workflow
async def child(x: int) -> int:
    return await add(x)


@workflow
async def all_kinds(x: int) -> int:
    await timer(0.001)
    async with asyncio.timeout(60):
        one, other = await asyncio.gather(add(x), child(x))
    return one + other + await go.receive()


@workflow
async def cancels(x: int) -> int:
    unwanted = timer(3600)
    late = asyncio.create_task(asyncio.sleep(3600))
    await add(x)
    unwanted.cancel()
    late.cancel()
    return x


@pytest.mark.parametrize("definition", [child, all_kinds, cancels], ids=str)
def test_the_garbage_collector_finds_nothing_of_a_finished_instance(
    definition: Workflow[[int], int],
) -> None:
    async def many(client: Client, count: int) -> None:
        handles = [await client.start(definition, 1) for _ in range(count)]
        if definition is all_kinds:
            for handle in handles:
                await handle.signal(go, 1)
        for handle in handles:
            await handle.result()

    async def main() -> None:
        definitions = [child, all_kinds, cancels]
        async with (
            connect("memory://") as backend,
            Worker(backend, workflows=definitions, activities=[add]),
        ):
            client = Client(backend)
            await many(client, 5)
            gc.collect()
            gc.disable()
            try:
                await many(client, 50)
                assert gc.collect() < 50
            finally:
                gc.enable()

    asyncio.run(main())
