"""Runs an example on the store of your choice: ``python examples/timers.py sqlite:///x.db``."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable


def run(main: Callable[[str], Awaitable[None]]) -> None:
    """Runs ``main`` with the store from the command line, ``memory://`` by default."""

    async def start() -> None:
        await main(sys.argv[1] if len(sys.argv) > 1 else "memory://")

    asyncio.run(start())
