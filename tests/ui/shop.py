"""Workflows of a shop, with something of everything that pages show."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Literal

from perdure import (
    ApplicationError,
    Query,
    Retry,
    Signal,
    Update,
    Workflow,
    activity,
    activity_info,
    publish,
    timer,
    workflow,
)


@dataclass
class Order:
    """What somebody wants."""

    item: str
    net: int = 100
    express: bool = False
    note: str | None = None
    size: Literal["s", "m", "l"] = "m"


approval: Signal[str] = Signal("approval", str)
price: Update[int, int] = Update("price", int, int)
progress: Query[str] = Query("progress", str)


@activity(retry=Retry(attempts=3, interval=0.01))
async def reserve(item: str) -> str:
    if activity_info().attempt < 2:
        raise ConnectionError(f"no answer about {item}")
    return item


@activity
async def pay(amount: int) -> int:
    if amount > 500:
        raise ApplicationError("card declined", retryable=False)
    return amount


@activity(retry=Retry(attempts=50, interval=600, max_interval=600))
async def down() -> None:
    raise ConnectionError("the service is down")


@workflow
async def pack(item: str) -> str:
    await timer(0.01, "wrap")
    return item.upper()


@workflow
async def checkout(order: Order, copies: int = 1) -> str:
    """Takes an order, packs it, and waits for somebody's approval."""
    stage = "reserving"

    @progress.handler
    def _() -> str:
        return stage

    @price.handler
    def _(value: int) -> int:
        return value + order.net

    publish({"stage": stage})
    await reserve(order.item)
    boxes = await asyncio.gather(*(pack(order.item) for _ in range(copies)))
    await pay(order.net)
    stage = "waiting for approval"
    publish({"stage": stage})
    if order.express:
        return ", ".join(boxes)
    name = await approval.receive()
    return f"approved by {name}"


@workflow
async def waits(days: int) -> None:
    await asyncio.sleep(timedelta(days=days).total_seconds())


@workflow
async def retries() -> None:
    await down()


@workflow
async def stuck() -> None:
    await asyncio.get_running_loop().create_future()


@workflow
async def count(left: int) -> int:
    await timer(0.001, "")
    if left:
        count.continue_as_new(left - 1)
    return left


WORKFLOWS: list[Workflow[..., Any]] = [checkout, pack, waits, retries, stuck, count]
ACTIVITIES = [reserve, pay, down]
