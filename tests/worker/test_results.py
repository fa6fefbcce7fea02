"""Who waits for results hears of ends, of nobody else's, and of what is not there any more."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest
from perdure import InstanceNotFoundError, Signal, WorkflowTerminatedError, workflow
from perdure_backends.memory import MemoryBackend
from perdure_backends.records import RunEnd
from perdure_runtime import Client, Worker, _results

go = Signal("go", int)


@workflow
async def waits() -> int:
    return await go.receive()


class Noting(MemoryBackend):
    """Notes what it is asked."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[list[str]] = []

    async def ends(self, run_ids: Sequence[str]) -> list[RunEnd]:
        self.asked.append(list(run_ids))
        return await super().ends(run_ids)


def test_a_removed_instance_is_missed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_results, "_SLOW_POLL", 0.02)

    async def main() -> None:
        client = Client(MemoryBackend())
        gone, stays = await client.start(waits), await client.start(waits)
        await gone.terminate("because")
        await gone.remove()
        with pytest.raises(InstanceNotFoundError):
            await gone.result(timeout=20)
        with pytest.raises(TimeoutError):
            await stays.result(timeout=0.1)
        await stays.terminate("because")
        with pytest.raises(WorkflowTerminatedError):
            await stays.result(timeout=20)

    asyncio.run(main())


def test_a_look_asks_only_for_what_was_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_results, "_SLOW_POLL", 3600.0)

    async def main() -> None:
        backend = Noting()
        async with Worker(backend, workflows=[waits]):
            client = Client(backend)
            first, second = await client.start(waits), await client.start(waits)
            results = [asyncio.create_task(one.result()) for one in (first, second)]
            while not backend.asked:  # noqa: ASYNC110
                await asyncio.sleep(0)
            assert backend.asked == [[first.run_id, second.run_id]]
            await second.signal(go, 2)
            assert await results[1] == 2
            assert backend.asked[1:] == [[second.run_id]]
            # A store that does not know which have ended says so: then all are asked for.
            third = asyncio.create_task((await client.start(waits)).result())
            while len(backend.asked) < 3:  # noqa: ASYNC110
                await asyncio.sleep(0)
            backend.wakeups.notify_finished(None)
            while len(backend.asked) < 4:  # noqa: ASYNC110
                await asyncio.sleep(0)
            assert len(backend.asked[3]) == 2
            third.cancel()
            await first.signal(go, 1)
            assert await results[0] == 1

    asyncio.run(main())
