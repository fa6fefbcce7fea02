"""A worker process for the benchmark W5."""

from __future__ import annotations

import asyncio
import sys

from bench_flows import echo, row
from perdure_runtime import Worker, connect


async def main(url: str) -> None:
    """Runs until it is told to stop, or killed."""
    async with connect(url) as backend:
        await Worker(backend, workflows=[row], activities=[echo]).run()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
