"""The starter program: ``python order_starter.py sqlite:///orders.db``. Needs a running worker."""

from __future__ import annotations

import asyncio
import sys
from decimal import Decimal

from orders import Order, approval, checkout
from perdure_runtime import Client, connect


async def main(url: str) -> None:
    """Starts two orders, approves the large one, prints the invoices."""
    async with connect(url) as backend:
        client = Client(backend)
        small = await client.start(
            checkout.options(id="order-1"), Order("Ada", Decimal("100.00"), ["book"])
        )
        large = await client.start(
            checkout.options(id="order-2"), Order("Grace", Decimal("5000.00"), ["compiler"])
        )
        await large.signal(approval, "Hedy")
        for handle in (small, large):
            invoice = await handle.result(timeout=30)
            print(f"{invoice.customer} pays {invoice.total} (approved by {invoice.approved_by})")


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
