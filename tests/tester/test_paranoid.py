"""Turns replayed in another process, in tests and in a worker."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from paranoid_flows import by_hash, by_time_zone, note, quick, steady
from perdure import UsageError, workflow
from perdure_backends import open_backend
from perdure_runtime import Worker, local
from perdure_runtime._replay import _paranoid
from perdure_runtime.testing import Environment, SyncEnvironment, WorkflowParkedError


@pytest.fixture(autouse=True)
def no_helper_is_left() -> Iterator[None]:
    yield
    for helper in _paranoid.helpers.values():
        helper.stop()


def test_what_is_deterministic_passes() -> None:
    with SyncEnvironment(paranoid=True) as env:
        assert env.run(steady, 5) == [f"n{n}" for n in range(5)]
        assert env.now.isoformat() == "2025-01-06T00:00:00+00:00"  # no other time has passed


def test_the_order_of_a_set_is_found() -> None:
    names = [f"name-{n}" for n in range(20)]
    with SyncEnvironment(paranoid=True) as env, pytest.raises(WorkflowParkedError) as caught:
        env.run(by_hash, names)
    assert caught.value.reason == "nondeterministic"
    assert "another hash seed" in str(caught.value)
    assert "other arguments" in str(caught.value)
    with SyncEnvironment(replay_every_turn=True) as env:  # one process does not see it
        assert sorted(env.run(by_hash, names)) == sorted(names)


def test_the_time_zone_is_found() -> None:
    with (
        SyncEnvironment(paranoid=True, guard=False) as env,
        pytest.raises(WorkflowParkedError, match="other arguments"),
    ):
        env.run(by_time_zone, 1_700_000_000.0)


def test_a_workflow_that_nobody_else_can_find() -> None:
    @workflow
    async def hidden() -> None: ...

    with (
        SyncEnvironment(paranoid=True) as env,
        pytest.raises(UsageError, match="at the top of a module"),
    ):
        env.run(hidden)
    backend = open_backend("memory://")
    with pytest.raises(UsageError, match="at the top of a module"):
        Worker(backend, workflows=[hidden], paranoid=True)


def test_a_worker_puts_aside_and_commits_nothing_of_the_turn(tmp_path: Path) -> None:
    async def main() -> None:
        url = f"sqlite:///{tmp_path / 'p.db'}"
        async with local(url, workflows=[by_hash], activities=[note], paranoid=True) as app:
            handle = await app.start(by_hash, [f"name-{n}" for n in range(20)])
            async with asyncio.timeout(20):
                while (await handle.describe()).park is None:  # noqa: ASYNC110
                    await asyncio.sleep(0.01)
            park = (await handle.describe()).park
            assert park is not None
            assert park.reason == "nondeterministic"
            assert [turn async for turn in handle.history()] == []

    asyncio.run(main())


def test_a_worker_goes_on_beside_the_checks(tmp_path: Path) -> None:
    async def main() -> list[list[str]]:
        url = f"sqlite:///{tmp_path / 'p.db'}"
        async with local(url, workflows=[quick], activities=[note], paranoid=True) as app:
            return await asyncio.gather(*[app.run(quick, n) for n in range(30)])

    assert asyncio.run(main()) == [[f"n{k}" for k in range(n)] for n in range(30)]


def test_a_helper_that_has_forgotten_is_told_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_paranoid, "_REMEMBERED", 1)

    async def main() -> None:
        async with Environment(paranoid=True) as env:
            both = await asyncio.gather(env.run(steady, 3), env.run(steady, 4))
            assert [len(one) for one in both] == [3, 4]

    asyncio.run(main())


def test_a_script_is_found_again(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        """
import asyncio
from perdure import workflow
from perdure_runtime import local

@workflow
async def order(names: list[str]) -> list[str]:
    return list(set(names)) if len(names) > 1 else names

async def main() -> None:
    async with local(paranoid=True) as app:
        print(await app.run(order, ["a"]))

if __name__ == "__main__":
    asyncio.run(main())
"""
    )
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True)
    assert (done.stdout, done.returncode) == ("['a']\n", 0), done.stderr


def test_a_helper_that_dies_is_started_again(caplog: pytest.LogCaptureFixture) -> None:
    with SyncEnvironment(paranoid=True) as env:
        assert env.run(steady, 1) == ["n0"]
        (helper,) = _paranoid.helpers.values()
        process = helper.process
        assert process is not None
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        assert env.run(steady, 2) == ["n0", "n1"]
        assert helper.process is not None
        assert helper.process.pid != process.pid
    assert "was not checked" in caplog.text


def test_the_command_line_has_a_canary(tmp_path: Path) -> None:
    folder = Path(__file__).parent
    env = {**os.environ, "PERDURE_BACKEND": f"sqlite:///{tmp_path / 'c.db'}"}
    perdure = [sys.executable, "-m", "perdure_runtime.cli"]
    flows = str(folder / "paranoid_flows.py")
    names = json.dumps([f"name-{n}" for n in range(20)])
    with subprocess.Popen([*perdure, "worker", flows, "--paranoid"], env=env) as worker:
        try:
            started = [*perdure, "start", "by_hash", names, "--id", "c-1"]
            subprocess.run(started, env=env, check=True, capture_output=True, timeout=60)
            show = [*perdure, "show", "c-1"]
            shown = ""
            for _ in range(100):
                shown = subprocess.run(show, env=env, capture_output=True, text=True).stdout
                if "parked" in shown:
                    break
        finally:
            worker.send_signal(signal.SIGTERM)
            worker.wait(timeout=30)
    assert "another hash seed" in shown
