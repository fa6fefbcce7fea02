"""Several event loops, threads and workers share one store object, or one file."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest
from perdure import activity, workflow
from perdure_backends import Backend
from perdure_runtime import Client, Worker, connect


@activity
async def double(x: int) -> int:
    return 2 * x


@workflow
async def doubles(x: int) -> int:
    return await double(x)


@pytest.mark.parametrize("shared", [True, False], ids=["one-object", "an-object-each"])
def test_event_loops_in_several_threads(url: str, shared: bool) -> None:
    if not shared and "memory" in url:
        pytest.skip("each memory store is a world of its own")
    results: dict[int, list[int]] = {}
    errors: list[BaseException] = []

    async def use(backend: Backend, number: int) -> None:
        client = Client(backend)
        flows: Any = [client.run(doubles, 100 * number + i) for i in range(20)]
        if number % 2:
            async with Worker(backend, workflows=[doubles], activities=[double]):
                results[number] = await asyncio.gather(*flows)
        else:
            results[number] = await asyncio.gather(*flows)

    async def own(number: int) -> None:
        async with connect(url) as backend:
            await use(backend, number)

    def thread(backend: Backend | None, number: int) -> None:
        try:
            asyncio.run(own(number) if backend is None else use(backend, number))
        except BaseException as error:
            errors.append(error)

    async def main() -> None:
        async with (
            connect(url) as backend,
            Worker(backend, workflows=[doubles], activities=[double]),
        ):
            threads = [
                threading.Thread(target=thread, args=(backend if shared else None, i))
                for i in range(4)
            ]
            for one in threads:
                one.start()
            for one in threads:
                await asyncio.to_thread(one.join)

    asyncio.run(main())
    assert errors == []
    assert results == {n: [2 * (100 * n + i) for i in range(20)] for n in range(4)}
