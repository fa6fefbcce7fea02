"""Arguments and results are stored by their annotations: dataclasses, enums, dates, decimals.

Prints:
    Invoice(number=7, total=Decimal('59.97'), due=datetime.date(2026, 1, 31), paid=<Paid.NO: 'no'>)
"""

from __future__ import annotations

import dataclasses
import enum
from datetime import date, timedelta
from decimal import Decimal

from perdure import activity, workflow
from perdure_runtime import local
from runner import run


class Paid(enum.Enum):
    YES = "yes"
    NO = "no"


@dataclasses.dataclass
class Line:
    item: str
    price: Decimal
    count: int = 1


@dataclasses.dataclass
class Order:
    number: int
    placed: date
    lines: list[Line]
    notes: dict[str, str | None] = dataclasses.field(default_factory=dict[str, str | None])


@dataclasses.dataclass
class Invoice:
    number: int
    total: Decimal
    due: date
    paid: Paid


@activity
async def total(lines: list[Line]) -> Decimal:
    return sum((line.price * line.count for line in lines), Decimal(0))


@workflow
async def bill(order: Order, days: int = 30) -> Invoice:
    return Invoice(
        order.number, await total(order.lines), order.placed + timedelta(days=days), Paid.NO
    )


async def main(url: str) -> None:
    order = Order(7, date(2026, 1, 1), [Line("tea", Decimal("19.99"), 3)], {"gift": None})
    async with local(url) as app:
        print(await app.run(bill, order))


if __name__ == "__main__":
    run(main)
