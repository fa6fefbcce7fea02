"""The workflows and activities of the quickstart."""

from __future__ import annotations

import os
import time
from pathlib import Path

from perdure import activity, activity_info, logger, workflow


@activity
async def add(a: int, b: int) -> int:
    """Adds two numbers."""
    return a + b


@activity
async def double(a: int) -> int:
    """Doubles a number."""
    return 2 * a


@workflow
async def sums(a: int, b: int) -> list[int]:
    """Two activities, one after the other; what is logged is logged once, replays are silent."""
    logger.info("adding %d and %d", a, b)
    total = await add(a, b)
    logger.info("the sum is %d, doubling 6", total)
    doubled = await double(6)
    return [total, doubled]


@activity
def pack(box: int, ledger: str) -> str:
    """A slow step with a side effect: one line in a file, keyed so that it counts once."""
    time.sleep(0.25)
    info = activity_info()
    with Path(ledger).open("a", encoding="utf-8") as file:
        file.write(f"{info.idempotency_key} box-{box} process-{os.getpid()}\n")
    return f"box-{box}"


@workflow
async def shipment(boxes: int, ledger: str) -> list[str]:
    """Packs boxes one after the other. Nothing here knows about crashes."""
    packed: list[str] = []
    for box in range(1, boxes + 1):
        packed.append(await pack(box, ledger))
    return packed
