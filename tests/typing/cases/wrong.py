"""Wrong uses: each line says what mypy and pyright find."""

from __future__ import annotations

import asyncio

from definitions import Bank, Invoice, Order, add, approval, checkout, render

from perdure import Retry, activity, workflow
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
