"""Wrong uses: each line says what mypy and pyright find."""

from __future__ import annotations

import asyncio

from definitions import (
    Bank,
    Invoice,
    Order,
    add,
    approval,
    checkout,
    price,
    progress,
    render,
    stock,
    stored,
)

from perdure import Channel, Retry, Saga, activity, fan_out, sending, workflow
from perdure_runtime import Client


async def wrong_arguments(bank: Bank) -> None:
    add("1", 2)  # E: arg-type | reportArgumentType
    add(1)  # E: call-arg | reportCallIssue
    add(1, 2, 3)  # E: call-arg | reportCallIssue
    add(1, c=2)  # E: call-arg | reportCallIssue
    render(Order(1), 2)  # E: call-arg | reportCallIssue
    render(Order(1), copies="2")  # E: arg-type | reportArgumentType
    Bank.charge("x")  # E: arg-type | reportArgumentType
    bank.charge()  # E: call-arg | reportCallIssue
    bank.refund(5)  # E: arg-type | reportArgumentType
    checkout("order")  # E: arg-type | reportArgumentType
    checkout(Order(1), later=True)  # E: call-arg | reportCallIssue


async def wrong_results() -> None:
    text: str = await add(1, 2)  # E: assignment | reportAssignmentType
    number: int = add(1, 2)  # E: assignment | reportAssignmentType
    invoice: Invoice = await add(1, 2)  # E: assignment | reportAssignmentType
    one, two = await asyncio.gather(add(1, 2), render(Order(1)))
    one.total  # E: attr-defined | reportAttributeAccessIssue, reportUnknownMemberType
    two.net  # E: attr-defined | reportAttributeAccessIssue, reportUnknownMemberType
    print(text, number, invoice)


def wrong_options() -> None:
    add.options(retries=5)  # E: call-arg | reportCallIssue
    add.options(retry=5)  # E: arg-type | reportArgumentType
    add.options(cancellation="maybe")  # E: arg-type | reportArgumentType
    checkout.options(id=5)  # E: arg-type | reportArgumentType
    checkout.options(if_running="ignore")  # E: arg-type | reportArgumentType


def wrong_later() -> None:
    add.bind("x", 1)  # E: arg-type | reportArgumentType
    checkout.bind()  # E: call-arg | reportCallIssue
    checkout.continue_as_new("x")  # E: arg-type | reportArgumentType


async def wrong_plain(bank: Bank) -> None:
    add.fn("x", 1)  # E: arg-type, unused-coroutine | reportArgumentType, reportUnusedCoroutine
    bank.refund.fn(5)  # E: arg-type | reportArgumentType


async def wrong_clients(client: Client) -> None:
    await client.start(checkout)  # E: call-arg | reportCallIssue
    await client.start(checkout, 5)  # E: arg-type | reportArgumentType
    await client.start(add, 1, 2)  # E: arg-type | reportArgumentType, reportCallIssue
    handle = await client.start(checkout, Order(1))
    total: int = await handle.result()  # E: assignment | reportAssignmentType
    await handle.signal(approval, "yes")  # E: misc | reportArgumentType
    await client.start_call(5)  # E: arg-type | reportArgumentType
    print(total)


@activity(retries=5)  # E: call-overload, untyped-decorator | reportCallIssue, reportUntypedFunctionDecorator
def wrong_decorator() -> None: ...


@activity(retry=Retry(attempts="x"))  # E: arg-type | reportArgumentType
def wrong_retry() -> None: ...


@workflow  # E: arg-type | reportArgumentType
def not_async() -> None: ...


async def wrong_messages(client: Client) -> None:
    handle = await client.start(checkout, Order(1))
    await handle.query(progress, 5)  # E: call-overload | reportArgumentType
    await handle.query(stock)  # E: call-overload | reportArgumentType
    await handle.query(stock, 5)  # E: misc | reportArgumentType
    text: str = await handle.query(progress)  # E: arg-type | reportAssignmentType
    await handle.update(price, "x")  # E: misc | reportArgumentType
    total: int = await handle.update(price, Order(1))  # E: arg-type | reportAssignmentType
    await client.signal_with_start(checkout.bind(Order(1)), approval, "x")  # E: misc | reportArgumentType
    await client.update_with_start(checkout.bind(Order(1)), price, 5)  # E: misc | reportArgumentType
    await client.signal_with_start(checkout, approval, 5)  # E: arg-type | reportArgumentType
    await client.activity("token", stored).complete("x")  # E: arg-type | reportArgumentType
    print(text, total)


def wrong_handlers() -> None:
    @progress.handler  # E: arg-type | reportArgumentType
    def _() -> str:
        return "x"

    @stock.handler  # E: arg-type | reportArgumentType
    def _(item: int) -> int:
        return item

    @price.handler  # E: arg-type | reportArgumentType, reportCallIssue, reportUntypedFunctionDecorator
    async def _(order: Order) -> int:
        return 1

    @price.validator  # E: arg-type | reportArgumentType
    def _(order: str) -> None: ...


async def wrong_combining(channel: Channel[str], saga: Saga) -> None:
    await channel.send(5)  # E: arg-type | reportArgumentType
    sending(channel, 5)  # E: misc | reportArgumentType
    await fan_out(add, [1])  # E: arg-type | reportArgumentType
    saga.add(add, "x", 1)  # E: arg-type | reportArgumentType
    number: int = await channel.receive()  # E: assignment | reportAssignmentType
    approval.send("id", "yes")  # E: arg-type | reportArgumentType
    stored(Order(1), db=5)  # E: arg-type | reportArgumentType
    add.options(priority="high")  # E: arg-type | reportArgumentType
    checkout.options(retry=5)  # E: arg-type | reportArgumentType
    print(number)
