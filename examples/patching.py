"""Changing code under running instances: old ones keep their way, new ones take the new one.

Prints:
    the old instance: charged, shipped
    a new instance: charged, checked for fraud, shipped
"""

from __future__ import annotations

import asyncio

from perdure import Signal, activity, patched, workflow
from perdure_runtime import Client, Worker, connect
from runner import run

paid = Signal("paid", None)


@activity
async def do(what: str) -> str:
    return what


@workflow(name="order")
async def order_before() -> str:
    done = [await do("charged")]
    await paid.receive()
    return ", ".join([*done, await do("shipped")])


@workflow(name="order")
async def order() -> str:
    done = [await do("charged")]
    if patched("fraud check"):  # False only for runs that passed here before the change
        done.append(await do("checked for fraud"))
    await paid.receive()
    return ", ".join([*done, await do("shipped")])


async def main(url: str) -> None:
    async with connect(url) as backend:
        client = Client(backend)
        async with Worker(backend, workflows=[order_before], activities=[do], build="before"):
            old = await client.start(order_before)
            while (await old.describe()).turn < 2:
                await asyncio.sleep(0.01)
        async with Worker(backend, workflows=[order], activities=[do], build="after"):
            await old.signal(paid, None)
            print(f"the old instance: {await old.result()}")
            new = await client.start(order)
            await new.signal(paid, None)
            print(f"a new instance: {await new.result()}")


if __name__ == "__main__":
    run(main)
