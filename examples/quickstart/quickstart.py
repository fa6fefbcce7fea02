"""Quickstart: a first workflow, and then one whose worker is killed in the middle.

Run it with ``python quickstart.py``. It keeps everything in one SQLite file in a temporary folder.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from flows import add, double, shipment, sums
from perdure_runtime import Client, connect, local

HERE = Path(__file__).parent
BOXES = 8


async def first_workflow(url: str) -> None:
    """Worker and client in one process."""
    print("1. A workflow of two activities")
    async with local(url, workflows=[sums], activities=[add, double]) as app:
        total, doubled = await app.run(sums, 35, 12)
    print(f"   35 + 12 = {total}, 2 * 6 = {doubled}")


def start_worker(url: str) -> subprocess.Popen[bytes]:
    """A worker in a process of its own."""
    return subprocess.Popen([sys.executable, str(HERE / "quickstart_worker.py"), url])


def lines_of(ledger: Path) -> list[str]:
    """What the steps have written so far."""
    return ledger.read_text(encoding="utf-8").splitlines() if ledger.exists() else []


async def lines_in(ledger: Path, count: int) -> None:
    """Waits until the steps have written so many lines."""
    while len(lines_of(ledger)) < count:
        await asyncio.sleep(0.02)


async def killed_in_the_middle(url: str, folder: Path) -> None:
    """A worker dies by SIGKILL; another one goes on."""
    print(f"\n2. A workflow that packs {BOXES} boxes, and a worker that is killed")
    ledger = folder / "ledger.txt"
    async with connect(url) as backend:
        client = Client(backend)
        handle = await client.start(shipment.options(id="shipment-1"), BOXES, str(ledger))
        first = start_worker(url)
        await lines_in(ledger, 3)
        os.kill(first.pid, signal.SIGKILL)
        first.wait()
        done = len(lines_of(ledger))
        print(f"   process {first.pid} packed {done} boxes and was killed with SIGKILL")

        second = start_worker(url)
        since = time.perf_counter()
        await lines_in(ledger, done + 1)
        waited = time.perf_counter() - since
        print(f"   process {second.pid} took over; its first step was done after {waited:.1f} s")
        packed = await handle.result()
        second.terminate()
        second.wait()
    explain(ledger, packed, first.pid, second.pid)


def explain(ledger: Path, packed: list[str], first: int, second: int) -> None:
    """What the side effects say."""
    lines = [line.split() for line in lines_of(ledger)]
    keys = [key for key, _, _ in lines]
    by_process = {
        pid: sum(f"process-{pid}" == who for _, _, who in lines) for pid in (first, second)
    }
    print(f"   steps run: {by_process[first]} by {first}, {by_process[second]} by {second}")
    again = len(keys) - len(set(keys))
    if again:
        twice = next(box for key, box, _ in lines if keys.count(key) > 1)
        print(
            f"   {twice} was in flight when the worker died: it ran again, under the same "
            "idempotency key, and counted once"
        )
    else:
        print("   no step ran twice: the one in flight had not had its effect yet")
    print(f"   result: {', '.join(packed)}")
    if packed != [f"box-{i}" for i in range(1, BOXES + 1)] or again > 1:
        raise SystemExit("this is not what was promised; please report it")
    print("   every box was packed, in order, as if nothing had happened")


async def main() -> None:
    """Both parts, in a fresh folder."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        url = f"sqlite:///{folder / 'quickstart.db'}"
        await first_workflow(url)
        await killed_in_the_middle(url, folder)


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="   [%(name)s] %(message)s")
    logging.getLogger("perdure.runtime").setLevel(logging.ERROR)
    asyncio.run(main())
