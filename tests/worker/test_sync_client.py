"""The synchronous client: in threads, after a fork, with the same errors."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from perdure import BackendError, InstanceNotFoundError, Signal, workflow
from perdure_runtime import ListFilter, SyncClient

go = Signal("go", int)

FLOWS = """
from perdure import Signal, activity, workflow
go = Signal("go", int)

@activity
async def add(a: int, b: int) -> int:
    return a + b

@workflow
async def waits(x: int) -> int:
    return await add(x, await go.receive())
"""


@workflow.declare
async def waits(x: int) -> int:
    raise NotImplementedError


@pytest.fixture
def url(tmp_path: Path) -> Iterator[str]:
    """A store with a worker process behind it."""
    (tmp_path / "flows.py").write_text(FLOWS)
    url = f"sqlite:///{tmp_path / 'store.db'}"
    command = [
        *(sys.executable, "-m", "perdure_runtime.cli", "worker", "flows"),
        *("--backend", url, "--log-level", "WARNING"),
    ]
    with subprocess.Popen(command, cwd=tmp_path) as worker:
        yield url
        worker.terminate()
        assert worker.wait(10) == 0


def test_the_synchronous_client(url: str) -> None:
    with SyncClient(url) as client:
        handle = client.start(waits.options(id="a"), 1)
        handle.signal(go, 2)
        assert handle.result(timeout=20) == 3
        assert handle.state() == "completed"
        assert len(handle.history()) >= 2
        assert [record.instance_id for record in client.list(ListFilter(workflow="waits"))] == ["a"]
        with pytest.raises(InstanceNotFoundError):
            client.handle("nobody", waits).describe()
        results: list[int] = []

        def in_thread(i: int) -> None:
            one = client.start(waits, i)
            one.signal(go, 0)
            results.append(one.result(timeout=20))

        threads = [threading.Thread(target=in_thread, args=(i,)) for i in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(results) == list(range(8))


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_the_synchronous_client_survives_a_fork(url: str) -> None:
    with SyncClient(url) as client:
        client.start(waits.options(id="parent"), 1)
        child = os.fork()
        if child == 0:
            try:
                client.handle("parent", waits).signal(go, 4)
                os._exit(0)
            finally:
                os._exit(1)
        assert os.waitpid(child, 0)[1] == 0
        assert client.handle("parent", waits).result(timeout=20) == 5


def test_a_store_that_can_not_be_opened_says_so(tmp_path: Path) -> None:
    with pytest.raises(BackendError, match="does not exist"):
        SyncClient(f"sqlite:///{tmp_path}/none/store.db").handle("x", waits).describe()
