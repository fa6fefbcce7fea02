"""``perdure history``, ``replay`` and ``verify``, as a user types them."""

from __future__ import annotations

import asyncio
import importlib.util
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from perdure_runtime import local
from stores import store_url

FLOWS = """\
from perdure import activity, sleep, workflow

@activity
async def reserve(x: int) -> str:
    return "r"

@activity
async def charge(x: int) -> str:
    return "c"

@workflow
async def order(x: int) -> str:
    await reserve(x)
    await sleep(3600)
    return await charge(x)

@workflow
async def quick(x: int) -> str:
    return await reserve(x)
"""
EDITED = FLOWS.replace("    await sleep", "    await charge(x)\n    await sleep")
COUNT = 60


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a store of open orders and one finished instance."""
    folder = tmp_path_factory.mktemp("stored")
    (folder / "flows.py").write_text(FLOWS, encoding="utf-8")
    spec = importlib.util.spec_from_file_location("stored_flows", folder / "flows.py")
    if spec is None or spec.loader is None:
        raise AssertionError("no flows")
    flows: Any = importlib.util.module_from_spec(spec)
    sys.modules["stored_flows"] = flows
    spec.loader.exec_module(flows)

    async def main() -> None:
        url = f"sqlite:///{folder / 'orders.db'}"
        workflows, activities = [flows.order, flows.quick], [flows.reserve, flows.charge]
        async with local(url, workflows=workflows, activities=activities) as app:
            for number in range(COUNT):
                handle = await app.start(flows.order.options(id=f"order-{number}"), number)
                while not (await handle.pending()).timers:  # noqa: ASYNC110
                    await asyncio.sleep(0)
            await app.run(flows.quick.options(id="quick"), 1)

    asyncio.run(main())
    return folder


def perdure(folder: Path, *arguments: str, code: int = 0) -> subprocess.CompletedProcess[str]:
    """Runs a command on the store."""
    done = subprocess.run(
        [sys.executable, "-m", "perdure_runtime.cli", *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        env={**os.environ, "PERDURE_BACKEND": "sqlite:///orders.db"},
    )
    assert done.returncode == code, done.stdout + done.stderr
    return done


def edited(stored: Path, text: str = EDITED) -> str:
    """The code as somebody changed it."""
    (stored / "edited.py").write_text(text, encoding="utf-8")
    return "edited.py"


def test_code_that_fits(stored: Path) -> None:
    shown = perdure(stored, "verify", "flows.py").stdout
    assert shown == f"{COUNT} fit, 0 differ, 0 unknown; {COUNT * 4} events replayed\n"
    everything = perdure(stored, "verify", "flows.py", "--all", "--jobs", "1").stdout
    assert everything.startswith(f"{COUNT + 1} fit")


@pytest.mark.parametrize("jobs", ["1", "2"])
def test_code_that_does_not_fit(stored: Path, jobs: str) -> None:
    target = edited(stored)
    arguments = ("verify", target, "--jobs", jobs, "--junit", "report.xml")
    shown = perdure(stored, *arguments, code=1).stdout
    assert f"{COUNT} instances differ in the same way: workflow order" in shown
    assert "activity 'charge' was added before timer of 3600 s" in shown
    assert "edited.py:14" in shown
    suite = ElementTree.parse(stored / "report.xml").getroot()
    assert (suite.get("tests"), suite.get("failures")) == (str(COUNT), str(COUNT))


def test_filters_samples_and_json(stored: Path) -> None:
    target = edited(stored)
    found = json.loads(
        perdure(stored, "verify", target, "--id-prefix", "order-1", "--json", code=1).stdout
    )
    names = {one["instance_id"] for one in found["instances"]}
    assert names == {f"order-{n}" for n in (1, *range(10, 20))}
    assert found["instances"][0]["divergence"]["actual"] == "activity 'charge' (number 2)"
    sampled = json.loads(
        perdure(stored, "verify", target, "--sample", "3", "--json", code=1).stdout
    )
    assert sampled["summary"] == {"fits": 0, "differs": 3, "unknown": 0, "skipped": 0}
    late = perdure(stored, "verify", "flows.py", "--budget", "0", "--jobs", "1").stdout
    assert f"{COUNT - 1} were not looked at: the time is over" in late


def test_a_workflow_that_the_code_lacks(stored: Path) -> None:
    target = edited(stored, FLOWS.replace("async def order", "async def orders"))
    shown = perdure(stored, "verify", target, code=4).stdout
    assert f"{COUNT} of workflow 'order' version 1, which the code does not have" in shown


def test_verify_writes_nothing(stored: Path) -> None:
    before = (stored / "orders.db").read_bytes()
    perdure(stored, "verify", "flows.py", "--all")
    assert (stored / "orders.db").read_bytes() == before


def test_a_history_in_a_file_is_replayed(stored: Path) -> None:
    lines = perdure(stored, "history", "order-7").stdout
    (stored / "seven.jsonl").write_text(lines, encoding="utf-8")
    assert json.loads(lines.splitlines()[0])["instance_id"] == "order-7"
    shown = perdure(stored, "replay", "flows.py", "seven.jsonl").stdout
    assert shown == "fits     order-7 (order): 2 turns, 4 events\n"
    shown = perdure(stored, "replay", edited(stored), "seven.jsonl", code=1).stdout
    assert "DIFFERS  order-7 (order)" in shown
    assert "+ activity 'charge'" in shown
    at_once = perdure(stored, "replay", "edited.py", "-b", "sqlite:///orders.db", "--id", "quick")
    assert at_once.stdout.startswith("fits     quick (quick)")
    found = json.loads(
        perdure(stored, "replay", "edited.py", "seven.jsonl", "--json", code=1).stdout
    )
    assert found[0]["divergence"]["turn"] == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["replay", "flows.py"], "name files, or --backend with --id"),
        (["replay", "flows.py", "-b", "sqlite:///orders.db"], "name the instances"),
        (["replay", "flows.py", "flows.py"], "not JSON"),
        (["verify", "nowhere.py"], "there is no file nowhere.py"),
        (["history", "nobody"], "nobody"),
    ],
)
def test_mistakes(stored: Path, arguments: list[str], message: str) -> None:
    assert message in perdure(stored, *arguments, code=1).stderr


def test_following_what_finishes(stored: Path, tmp_path: Path) -> None:
    stored = shutil.copytree(stored, tmp_path / "copy")
    command = [sys.executable, "-m", "perdure_runtime.cli", "verify", edited(stored), "--follow"]
    env = {**os.environ, "PERDURE_BACKEND": "sqlite:///orders.db", "PYTHONUNBUFFERED": "1"}
    pipe = subprocess.PIPE
    with subprocess.Popen(
        command, cwd=stored, stdout=pipe, stderr=pipe, text=True, env=env
    ) as process:
        if process.stdout is None or process.stderr is None:
            raise AssertionError("no pipes")
        assert "following what finishes" in process.stderr.readline()
        flows = sys.modules["stored_flows"]

        async def main() -> None:
            url = f"sqlite:///{stored / 'orders.db'}"
            both: Any = flows
            async with local(url, workflows=[both.quick], activities=[both.reserve]) as app:
                await app.run(both.quick.options(id=f"late-{time.time_ns()}"), 1)

        asyncio.run(main())
        assert process.stdout.readline().startswith("fits     late-")
        process.send_signal(signal.SIGINT)
        try:
            process.wait(timeout=20)
        finally:
            process.kill()
        assert process.returncode in (0, 130)


@pytest.mark.parametrize("store", ["postgres", "mysql", "redis"])
def test_servers_are_verified_and_stepped_through(stored: Path, store: str, tmp_path: Path) -> None:
    url = store_url(store, tmp_path)
    flows: Any = sys.modules["stored_flows"]

    async def main() -> None:
        workflows, activities = [flows.order], [flows.reserve, flows.charge]
        async with local(url, workflows=workflows, activities=activities) as app:
            for number in range(55):  # enough for two processes
                await app.start(flows.order.options(id=f"order-{number}"), number)
            async with asyncio.timeout(30):
                for number in range(55):
                    handle = app.client.handle_by_id(f"order-{number}")
                    while not (await handle.pending()).timers:  # noqa: ASYNC110
                        await asyncio.sleep(0.01)

    asyncio.run(main())
    fits = perdure(stored, "verify", "flows.py", "-b", url, "--jobs", "2", "--json")
    assert json.loads(fits.stdout)["summary"] == {
        "fits": 55,
        "differs": 0,
        "unknown": 0,
        "skipped": 0,
    }
    differs = perdure(stored, "verify", edited(stored), "-b", url, "--jobs", "2", code=1)
    assert "55 instances differ in the same way" in differs.stdout
    assert "(then " in differs.stdout
    shown = perdure(stored, "debug", "flows.py", "order-7", "-b", url, "--at", "-1", "--json")
    (waiting,) = json.loads(shown.stdout)["pending"]
    assert waiting["command"] == "timer of 3600 s"
