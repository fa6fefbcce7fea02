"""Workflows and activities that the worker runs and the starter only names."""

from __future__ import annotations

import dataclasses
from decimal import Decimal

from perdure import Retry, Signal, activity, workflow


@dataclasses.dataclass(frozen=True)
class Order:
    """What a customer wants."""

    customer: str
    net: Decimal
    items: list[str]


@dataclasses.dataclass(frozen=True)
class Invoice:
    """What a customer pays."""

    customer: str
    total: Decimal
    approved_by: str | None


approval = Signal("approval", str)


class Pricing:
    """Activities that share state: the instance is made by the worker's process."""

    def __init__(self, tax: Decimal) -> None:
        self.tax = tax

    @activity(retry=Retry(attempts=5))
    async def price(self, order: Order) -> Decimal:
        """Net price plus tax."""
        return (order.net * (1 + self.tax)).quantize(Decimal("0.01"))


@workflow
async def checkout(order: Order) -> Invoice:
    """Large orders wait for an approval, for as long as it takes."""
    total = await Pricing.price(order)
    approved_by = await approval.receive() if total > 1000 else None
    return Invoice(order.customer, total, approved_by)
