"""The worker program: ``python order_worker.py sqlite:///orders.db``; Ctrl-C ends it."""

from __future__ import annotations

import asyncio
import sys
from decimal import Decimal

from orders import Pricing, checkout
from perdure_runtime import Worker, connect


async def main(url: str) -> None:
    """Serves the default queue until it is told to stop."""
    async with connect(url) as backend:
        pricing = Pricing(tax=Decimal("0.19"))
        await Worker(backend, workflows=[checkout], activities=[pricing]).run()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
