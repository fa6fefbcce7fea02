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
    anything,
    careful,
    elsewhere,
    far_away,
    nightly,
    price,
    progress,
    render,
    stock,
    stored,
)

from perdure import (
    Channel,
    Retry,
    Saga,
    TaskGroup,
    activity,
    as_completed,
    case,
    fan_out,
    instance,
    publish,
    select,
    sending,
    shielded,
    side_effect,
    timer,
    with_retries,
    workflow,
)
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


async def language(channel: Channel[str], queue: asyncio.Queue[bytes]) -> None:
    reveal_type(await stored(Order(1)))  # R: int
    reveal_type(await careful.options(retry=Retry.never)(Order(1)))  # R: Invoice
    reveal_type(await select(case(add(1, 2))))  # R: int
    reveal_type(await select(case(approval, lambda value: str(value))))  # R: str
    reveal_type(await select(case(channel)))  # R: str
    reveal_type(await select(case(queue)))  # R: bytes
    reveal_type(await select(case(timer(5), lambda _: 1.5)))  # R: float
    reveal_type(await select(sending(channel, "x", lambda: True)))  # R: bool
    reveal_type(await channel.receive())  # R: str
    async for value in channel:
        reveal_type(value)  # R: str
    reveal_type(await fan_out(far_away, ["a"], limit=2))  # R: list[bytes]
    reveal_type(await shielded(add(1, 2)))  # R: int

    async def attempt(number: int) -> Invoice:
        return await render(Order(number))

    reveal_type(await with_retries(Retry.forever, attempt))  # R: Invoice
    async with Saga() as saga:
        saga.add(add, 1, b=2)
        saga.add(attempt, 5)
    reveal_type(instance("x").signal(approval, 5))  # R: SignalFuture
    publish({"done": 1}, dict[str, int])

    @progress.handler
    def _() -> int:
        return 1

    @stock.handler
    def _(item: str) -> int:
        return len(item)

    @price.handler
    async def _(order: Order) -> Invoice:
        return await render(order)

    @price.handler
    def _(order: Order) -> Invoice:
        return Invoice(order.net)

    @price.validator
    def _(order: Order) -> None: ...


async def asks(client: Client) -> None:
    handle = await client.start(checkout, Order(1))
    reveal_type(await handle.query(progress))  # R: int
    reveal_type(await handle.query(stock, "tea"))  # R: int
    reveal_type(await handle.update(price, Order(1)))  # R: Invoice
    reveal_type(await handle.start_update(price, Order(1)))  # R: UpdateHandle[Invoice]
    reveal_type(await handle.published(dict[str, int]))  # R: dict[str, int] | None
    print(f"{await handle.query(progress)} {await handle.update(price, Order(1))}")
    started = await client.signal_with_start(checkout.bind(Order(1)), approval, 5)
    reveal_type(started)  # R: Handle[Invoice]
    both = await client.update_with_start(nightly.bind(), price, Order(1))
    reveal_type(both)  # R: tuple[Handle[None], Invoice]
    await client.activity("token", stored).complete(5)
    reveal_type(await client.run(anything, 1, "x"))  # R: Any
    await client.run(workflow.named("x"), 1, "x")
