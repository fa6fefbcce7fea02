"""How long the web page takes on a large SQLite store: ``python tests/benchmarks/ui_bench.py [N]``.

Asked: less than 100 ms of server time for the first page at a million instances. The store is made
in a temporary folder, as if each instance had run.
"""

from __future__ import annotations

import asyncio
import random
import sqlite3
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import httpx
from perdure_backends import history as h
from perdure_runtime import connect
from perdure_runtime.ui import Access, User, create_app

TOKEN: Final = "a-token-of-the-benchmark"
PATHS: Final = (
    "/",
    "/instances",
    "/instances?state=running",
    "/instances?state=failed&state=running&state=parked",
    "/instances?prefix=order-0000001",
    "/instances?workflow=other",
    "/instances?workflow=none",
    "/instance?id=order-000000100",
    "/audit",
)


def rows(count: int) -> Iterator[tuple[object, ...]]:
    """Runs, of which one in a hundred did not complete."""
    chance, now = random.Random(1), int(time.time() * 1e6)
    for number in range(1, count + 1):
        status = "completed"
        if number % 100 == 0:
            status = chance.choice(["failed", "running", "cancelled", "terminated"])
        began = now - (count - number) * 1000
        ended = None if status == "running" else began + 500
        name = "checkout" if number % 3 else "other"
        yield (
            number,
            f"run-{number}",
            f"order-{number:09}",
            str(number),
            name,
            status,
            began,
            ended,
        )


def fill(path: Path, count: int) -> None:
    """Puts instances into the store's file."""
    started = h.encode_event(h.WorkflowStarted("checkout", 1, "default", b'[{"item":"tea"}]', 7))
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA synchronous = OFF")
        connection.executemany(
            "INSERT INTO runs (serial, run_id, instance_id, request_id, workflow, version, queue, "
            "status, started_at, finished_at, turn, parent_close) "
            "VALUES (?, ?, ?, ?, ?, 1, 'default', ?, ?, ?, 5, 'abandon')",
            rows(count),
        )
        connection.executemany(
            "INSERT INTO starts VALUES (?, ?)", ((n, started) for n in range(1, count + 1))
        )
    connection.close()


async def main(count: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "store.db"
        async with connect(f"sqlite:///{path}"):
            pass
        fill(path, count)
        async with connect(f"sqlite:///{path}") as backend:
            app = create_app(backend, access=Access(tokens={TOKEN: User("bench")}))
            async with httpx.AsyncClient(
                transport=httpx.ASGITransport(app),
                base_url="http://127.0.0.1",
                headers={"Authorization": f"Bearer {TOKEN}"},
            ) as ask:
                for target in PATHS:
                    times: list[float] = []
                    for _ in range(5):
                        began = time.perf_counter()
                        answer = await ask.get(target)
                        times.append(1000 * (time.perf_counter() - began))
                        if answer.status_code != 200:
                            raise RuntimeError(answer.text)
                    first, median = times[0], sorted(times)[2]
                    print(f"{target:52} first {first:7.1f} ms, median {median:7.1f} ms")


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000))
