"""What the end-to-end suite can't show: leases that end, workers that stop, other processes."""

from __future__ import annotations

import asyncio
import sqlite3
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
from conftest import Run
from perdure import (
    ActivityError,
    Query,
    Retry,
    Signal,
    Update,
    activity,
    activity_info,
    cancel_reason,
    durable_error,
    publish,
    workflow,
)
from perdure_backends.memory import MemoryBackend
from perdure_runtime import Client, SyncClient, Worker, connect

reasons: list[str | None] = []
go = Signal("go", int)
level = Query("level", int)
raise_by = Update("raise-by", int, int)


@activity(retry=Retry.never)
async def long() -> str:
    if activity_info().attempt == 1 and not reasons:
        try:
            await asyncio.sleep(30)
        except asyncio.CancelledError:
            reasons.append(cancel_reason())
            raise
    return f"attempt {activity_info().attempt}"


@workflow
async def runs_long() -> str:
    return await long()


async def running(client: Client, instance_id: str) -> None:
    """Waits until the activity runs."""
    handle = client.handle(instance_id, runs_long)
    async with asyncio.timeout(10):
        while not any(a.state == "running" for a in (await handle.pending()).activities):  # noqa: ASYNC110
            await asyncio.sleep(0.005)


def test_a_worker_that_stops_tells_its_activities() -> None:
    async def main() -> None:
        reasons.clear()
        backend = MemoryBackend()
        client = Client(backend)
        options: dict[str, Any] = {"workflows": [runs_long], "activities": [long]}
        async with Worker(backend, drain_timeout=0.01, **options):
            handle = await client.start(runs_long.options(id="x"))
            await running(client, "x")
        assert reasons == ["stopping"]
        async with Worker(backend, **options):
            assert await handle.result() == "attempt 1"  # what was handed back does not count

    asyncio.run(main())


def test_an_activity_that_outlives_its_lease_is_told_and_refused() -> None:
    async def main() -> None:
        reasons.clear()
        backend = MemoryBackend()
        client = Client(backend)
        options: dict[str, Any] = {"workflows": [runs_long], "activities": [long], "lease": 0.3}
        async with Worker(backend, **options) as worker:
            handle = await client.start(runs_long.options(id="x"))
            await running(client, "x")
            assert worker.session_id is not None
            await backend.end_session(worker.session_id)  # as if its lease had run out
            assert await handle.result(timeout=30) == "attempt 1"
            assert reasons == ["lost"]

    asyncio.run(main())


@workflow
async def levels() -> int:
    current = 0

    @level.handler
    def _() -> int:
        return current

    @raise_by.handler
    def _(amount: int) -> int:
        nonlocal current
        current += amount
        return current

    publish({"level": current})
    return await go.receive()


def test_the_synchronous_client_asks_and_updates_too(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'store.db'}"

    async def serve(stop: asyncio.Event) -> None:
        async with connect(url) as backend, Worker(backend, workflows=[levels]):
            await stop.wait()

    def use() -> None:
        with SyncClient(url) as client:
            call = levels.options(id="a").bind()
            handle, now = client.update_with_start(call, raise_by, 3)
            assert now == 3
            assert handle.query(level) == 3
            assert handle.update(raise_by, 4) == 7
            assert handle.published(dict[str, int]) == {"level": 0}
            client.signal_with_start(call, go, 5)
            assert handle.result(10) == 5

    async def main() -> None:
        stop = asyncio.Event()
        serving = asyncio.create_task(serve(stop))
        try:
            await asyncio.to_thread(use)
        finally:
            stop.set()
            await serving

    asyncio.run(main())


def test_a_query_is_answered_by_whoever_has_the_workflow(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'store.db'}"

    async def main() -> None:
        async with connect(url) as one, connect(url) as two:
            async with Worker(one, workflows=[levels]):
                handle = await Client(one).start(levels.options(id="a"))
                assert await handle.update(raise_by, 3) == 3
            # The worker that ran it is gone; another process answers from history.
            async with Worker(two, workflows=[levels]):
                assert await Client(one).handle("a", levels).query(level) == 3

    asyncio.run(main())


def test_a_store_of_the_first_schema_is_brought_up_to_date(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    script = files("perdure_backends.sqlite").joinpath("migrations/0001_initial.sql")
    old = sqlite3.connect(path)
    old.executescript(script.read_text(encoding="utf-8"))
    for key, value in (("schema_version", "1"), ("oldest_reader", "1"), ("incarnation", "x")):
        old.execute("INSERT INTO meta (key, value) VALUES (?, ?)", (key, value))
    old.commit()
    old.close()

    async def main() -> None:
        async with connect(f"sqlite:///{path}") as backend, Worker(backend, workflows=[levels]):
            handle = await Client(backend).start(levels)
            assert await handle.update(raise_by, 1) == 1
            await handle.signal(go, 2)
            assert await handle.result() == 2

    asyncio.run(main())


@durable_error
class FromProcessError(Exception):
    def __init__(self, code: int) -> None:
        super().__init__(f"code {code}")
        self.code = code


@activity(retry=Retry.never)
def in_thread(code: int) -> None:
    raise FromProcessError(code)


@workflow
async def catches() -> int:
    try:
        await in_thread(7)
    except FromProcessError as error:
        known = isinstance(error.__cause__, ActivityError)
        stack = error.__cause__.failure.stack if isinstance(error.__cause__, ActivityError) else ""
        return error.code if known and "in_thread" in stack else -1
    return 0


def test_errors_of_threads_keep_their_stack(run: Run) -> None:
    async def main() -> None:
        async with run(workflows=[catches], activities=[in_thread]) as app:
            assert await app.run(catches) == 7

    asyncio.run(main())


@activity
async def one() -> int:
    return 1


@workflow
async def spoils() -> int:
    seen: list[int] = []

    @level.handler
    def _() -> int:
        seen.append(1)
        return len(seen)

    first = await go.receive()
    await one()
    return first + len(seen)


def test_a_spoilt_copy_is_read_again(run: Run) -> None:
    async def main() -> None:
        async with run(workflows=[spoils], activities=[one]) as app:
            handle = await app.start(spoils)
            for _ in range(3):
                with pytest.raises(Exception, match="changed the workflow's variables"):
                    await handle.query(level)
            await handle.signal(go, 5)
            assert await handle.result(timeout=30) == 5

    asyncio.run(main())
