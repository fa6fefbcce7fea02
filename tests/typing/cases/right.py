"""Right uses: no error, and the types that both checkers see."""

from __future__ import annotations

import asyncio
from typing import reveal_type

from definitions import (
    Bank,
    Invoice,
    Order,
    add,
    approval,
    checkout,
    elsewhere,
    far_away,
    nightly,
    render,
)

from perdure import TaskGroup, activity, as_completed, side_effect, workflow
from perdure_runtime import Client, local


async def inside(bank: Bank) -> None:
    reveal_type(add(1, 2))  # R: ActivityFuture[int]
    reveal_type(await add(1, b=2))  # R: int
    reveal_type(await render(Order(1), copies=2))  # R: Invoice
    reveal_type(await render.options(queue="x", start_to_close=5)(Order(1)))  # R: Invoice
    reveal_type(await far_away("x"))  # R: bytes
    reveal_type(await Bank.charge(5))  # R: str
    reveal_type(await bank.charge(5))  # R: str
    reveal_type(await Bank.refund.options(queue="x")("r"))  # R: int
    reveal_type(await bank.refund("r"))  # R: int
    reveal_type(checkout(Order(1)))  # R: WorkflowFuture[Invoice]
    reveal_type(await checkout.options(id="x")(Order(1), urgent=True))  # R: Invoice
    reveal_type(await elsewhere(Order(1)))  # R: list[Invoice]
    reveal_type(await asyncio.gather(add(1, 2), render(Order(1))))  # R: tuple[int, Invoice]
    reveal_type(await asyncio.wait_for(add(1, 2), 5))  # R: int
    reveal_type(await asyncio.shield(add(1, 2)))  # R: int
    reveal_type(await approval.receive())  # R: int | None
    reveal_type(side_effect(lambda: 5, int))  # R: int
    async with TaskGroup() as group:
        reveal_type(group.create_task(add(1, 2)))  # R: Task[int]
    for future in as_completed([add(1, 2), add(3, 4)]):
        reveal_type(await future)  # R: int
    done, _ = await asyncio.wait([add(1, 2)])
    for one in done:
        reveal_type(one)  # R: ActivityFuture[int]


def values() -> None:
    reveal_type(add.bind(1, 2))  # R: Call[int]
    reveal_type(checkout.bind(Order(1)))  # R: Call[Invoice]


async def plain(bank: Bank) -> None:
    reveal_type(await add.fn(1, 2))  # R: int
    reveal_type(render.fn(Order(1)))  # R: Invoice
    reveal_type(await bank.charge.fn(5))  # R: str
    reveal_type(bank.refund.fn("r"))  # R: int
    reveal_type(await checkout.fn(Order(1)))  # R: Invoice


async def outside(client: Client) -> None:
    handle = await client.start(checkout, Order(1), urgent=True)
    reveal_type(handle)  # R: Handle[Invoice]
    reveal_type(await handle.result())  # R: Invoice
    reveal_type(await client.run(nightly))  # R: None
    reveal_type(await client.start_call(checkout.bind(Order(1))))  # R: Handle[Invoice]
    reveal_type(client.handle("x", elsewhere))  # R: Handle[list[Invoice]]
    await handle.signal(approval, None)
    await handle.signal(approval, 5)
    async with local() as app:
        reveal_type(await app.run(checkout.options(id="x"), Order(1)))  # R: Invoice


def never_returns() -> Invoice:
    checkout.continue_as_new(Order(1))


@activity
async def generic(items: list[dict[str, int]]) -> dict[str, list[int]]:
    return {key: [value] for item in items for key, value in item.items()}


@workflow
async def uses_generic() -> int:
    found = await generic([{"a": 1}])
    reveal_type(found)  # R: dict[str, list[int]]
    return sum(found["a"])
