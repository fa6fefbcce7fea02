"""Every end-to-end test runs on each store, with cached instances and with every turn replayed."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from perdure_runtime import Client, Local, Worker, connect
from stores import STORES, store_url

Run = Callable[..., AbstractAsyncContextManager[Local]]


@pytest.fixture(params=STORES)
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A fresh store."""
    return store_url(request.param, tmp_path)


@pytest.fixture(params=["cached", "replayed"])
def run(request: pytest.FixtureRequest, url: str) -> Run:
    """Opens a store with a worker: ``async with run(workflows=…, activities=…) as app``."""
    cache_size = 0 if request.param == "replayed" else 100

    @asynccontextmanager
    async def start(**options: Any) -> AsyncGenerator[Local]:
        async with connect(url) as backend:
            worker = Worker(backend, cache_size=cache_size, drain_timeout=1, **options)
            async with worker:
                yield Local(backend, worker, Client(backend))

    return start
