"""What the cases use."""

from __future__ import annotations

import dataclasses
from typing import Any

from perdure import (
    Query,
    QueryWith,
    Retry,
    Signal,
    Update,
    activity,
    durable_error,
    inject,
    workflow,
)


@dataclasses.dataclass
class Order:
    net: int


@dataclasses.dataclass
class Invoice:
    total: int


@activity
async def add(a: int, b: int) -> int:
    return a + b


@activity(retry=Retry.never, queue="pdf")
def render(order: Order, *, copies: int = 1) -> Invoice:
    return Invoice(order.net * copies)


class Bank:
    @activity
    async def charge(self, cents: int) -> str:
        return str(cents)

    @activity(name="refund")
    def refund(self, receipt: str) -> int:
        return len(receipt)


@activity.declare
async def far_away(a: str) -> bytes:
    raise NotImplementedError


@workflow
async def checkout(order: Order, urgent: bool = False) -> Invoice:
    return await render(order)


@workflow(version=2)
async def nightly() -> None: ...


@workflow.declare
async def elsewhere(order: Order) -> list[Invoice]:
    raise NotImplementedError


approval = Signal("approval", int | None)
progress = Query("progress", int)
stock = QueryWith("stock", str, int)
price = Update("price", Order, Invoice)


@workflow(retry=Retry.forever, unfinished_handlers="warn")
async def careful(order: Order) -> Invoice:
    return await render(order)


class Database: ...


@activity
async def stored(order: Order, *, db: Database = inject()) -> int:
    return 1


@workflow.dynamic
async def anything(arguments: list[Any]) -> Any:
    return arguments


@durable_error(retryable=False)
class Declined(Exception):
    def __init__(self, code: str) -> None:
        self.code = code
