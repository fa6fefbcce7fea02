"""A worker process for the quickstart: ``python quickstart_worker.py sqlite:///file.db``."""

from __future__ import annotations

import asyncio
import sys

from flows import add, double, pack, shipment, sums
from perdure_runtime import Worker, connect


async def main(url: str) -> None:
    """Runs until it is told to stop, or killed."""
    async with connect(url) as backend:
        worker = Worker(backend, workflows=[sums, shipment], activities=[add, double, pack])
        await worker.run()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
