"""The command line, as a user types it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

FLOWS = """
from perdure import Query, QueryWith, Retry, Signal, Update, activity, publish, workflow
go = Signal("go", int)
level = Query("level", int)
over = QueryWith("over", int, bool)
lift = Update("lift", int, int)

@activity(retry=Retry.never)
async def add(a: int, b: int) -> int:
    if b < 0:
        raise ValueError("b is negative")
    return a + b

@workflow
async def sums(a: int, b: int) -> int:
    return await add(a, b)

@workflow
async def waits() -> int:
    return await go.receive()

@workflow
async def lifts() -> int:
    height = 0

    @level.handler
    def _() -> int:
        return height

    @over.handler
    def _(limit: int) -> bool:
        return height > limit

    @lift.handler
    def _(by: int) -> int:
        nonlocal height
        height += by
        publish({"height": height})
        return height

    return await go.receive()

def make():
    return [sums, add]
"""


class Terminal:
    """A folder with flows in it, and the command."""

    def __init__(self, folder: Path) -> None:
        (folder / "flows.py").write_text(FLOWS)
        self.folder = folder
        self.environment = {**os.environ, "PERDURE_BACKEND": "sqlite:///store.db"}
        self.command = [sys.executable, "-m", "perdure_runtime.cli"]

    def run(self, *arguments: str, code: int = 0) -> subprocess.CompletedProcess[str]:
        """Runs a command to its end."""
        done = subprocess.run(
            [*self.command, *arguments],
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode == code, done.stdout + done.stderr
        return done

    def json(self, *arguments: str, code: int = 0) -> Any:
        """Runs a command with ``--json``."""
        return json.loads(self.run(*arguments, "--json", code=code).stdout)

    def worker(self, *arguments: str) -> subprocess.Popen[str]:
        """Starts a worker."""
        return subprocess.Popen(
            [*self.command, "worker", *arguments],
            cwd=self.folder,
            env=self.environment,
            stderr=subprocess.PIPE,
            text=True,
        )


@pytest.fixture
def terminal(tmp_path: Path) -> Terminal:
    return Terminal(tmp_path)


@pytest.fixture
def worker(terminal: Terminal) -> Iterator[subprocess.Popen[str]]:
    with terminal.worker("flows", "--log-level", "WARNING") as process:
        yield process
        process.terminate()
        assert process.wait(30) == 0


@pytest.mark.slow
@pytest.mark.timeout(400)
@pytest.mark.usefixtures("worker")
def test_a_session_at_the_terminal(terminal: Terminal) -> None:
    assert terminal.run("start", "sums", "1", "2", "--id", "a").stdout == "a\n"
    assert terminal.run("result", "a", "--timeout", "20").stdout == "3\n"
    assert terminal.run("start", "sums", "3", "4", "--wait").stdout == "7\n"
    failed = terminal.run("start", "sums", "1", "-1", "--id", "bad", "--wait", code=2)
    assert "No such option" in failed.stderr
    failed = terminal.run("start", "--id", "bad", "--wait", "--", "sums", "1", "-1", code=1)
    assert "b is negative" in failed.stderr
    assert terminal.json("result", "bad", code=1)["failure"]["cause"]["type"] == "ValueError"
    assert terminal.json("start", "waits", "--id", "w")["id"] == "w"
    assert [one["queues"] for one in terminal.json("workers")] == [["default"]]
    terminal.run("start", "sums", "1", "2", "--id", "elsewhere", "--queue", "other")
    assert "no worker offers workflow 'sums' version 1 on queue 'other'" in (
        terminal.run("show", "elsewhere").stdout
    )
    shown = terminal.run("show", "a").stdout
    for part in ("completed", "sums", "activity_scheduled", "activity_completed", "[1, 2]"):
        assert part in shown
    data = terminal.json("show", "bad")
    assert data["state"] == "failed"
    assert data["history"][0]["events"][0]["type"] == "workflow_started"
    assert terminal.run("suspend", "w").stdout == "suspended\n"
    listed = terminal.json("list", "--state", "suspended")
    assert [item["id"] for item in listed] == ["w"]
    assert terminal.json("resume", "w")["state"] == "running"
    assert terminal.run("signal", "w", "go", "5").stdout == "accepted\n"
    assert terminal.run("result", "w", "--timeout", "20").stdout == "5\n"
    assert len(terminal.run("history", "w").stdout.splitlines()) >= 2
    assert terminal.run("start", "waits", "--id", "t").returncode == 0
    assert terminal.run("terminate", "t", "--reason", "enough").stdout == "terminated\n"
    assert terminal.run("remove", "t").stdout == "removed\n"
    assert "t" not in [item["id"] for item in terminal.json("list")]


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["show", "nobody"], 1, "there is no instance with id 'nobody'"),
        (["start", "sums", "x"], 1, "'x' is not JSON"),
        (["worker", "nowhere"], 1, "there is no module 'nowhere'"),
        (["worker", "flows:nothing"], 1, "has no attribute 'nothing'"),
        (["worker", "none.py"], 1, "there is no file none.py"),
        (["list", "-b", "oracle://x"], 1, "no store is known for 'oracle'"),
        (["list", "-b", "sqlite:////none/x.db"], 3, "the folder /none does not exist"),
        (["list", "--state", "happy"], 2, "'happy' is not one of"),
    ],
)
def test_errors_are_one_clear_line(
    terminal: Terminal, arguments: list[str], code: int, message: str
) -> None:
    done = terminal.run(*arguments, code=code)
    assert message in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.slow
@pytest.mark.timeout(400)
@pytest.mark.usefixtures("worker")
def test_asking_at_the_terminal(terminal: Terminal) -> None:
    terminal.run("start", "lifts", "--id", "l")
    assert terminal.run("update", "l", "lift", "3", "--timeout", "20").stdout == "3\n"
    again = terminal.json("update", "l", "lift", "4", "--update-id", "once")
    assert again == terminal.json("update", "l", "lift", "4", "--update-id", "once")
    assert again == {"id": "once", "result": 7}
    assert terminal.run("query", "l", "level").stdout == "7\n"
    assert terminal.json("query", "l", "over", "6") == {"id": "l", "answer": True}
    assert "UnknownQuery" in terminal.run("query", "l", "nothing", code=1).stderr
    assert "UnknownUpdate" in terminal.run("update", "l", "nothing", code=1).stderr
    assert terminal.json("show", "l")["published"] == {"height": 7}
    assert "height" in terminal.run("show", "l").stdout
    terminal.run("terminate", "l")


def test_limits_of_queues(terminal: Terminal) -> None:
    assert terminal.run("limit", "mail", "10").stdout == "at most 10 a second\n"
    assert terminal.json("limit", "mail", "--off") == {"queue": "mail", "per_second": None}
    assert "give either" in terminal.run("limit", "mail", code=2).stderr
    assert "per_second" in terminal.run("limit", "mail", "0", code=1).stderr


def test_json_errors(terminal: Terminal) -> None:
    assert terminal.json("show", "nobody", code=1)["error"]["type"] == "InstanceNotFoundError"


def test_prune(terminal: Terminal) -> None:
    terminal.run("migrate")
    assert terminal.json("prune", "--older-than", "30d") == {"removed": 0, "found": 0}
    assert (
        "0 instances would be removed"
        in terminal.run("prune", "--older-than", "12h", "--dry-run").stdout
    )
    assert "is no age" in terminal.run("prune", "--older-than", "soon", code=2).stderr


def test_migrate(terminal: Terminal) -> None:
    planned = terminal.json("migrate", "--sql")["planned"]
    assert [one["name"] for one in planned] == [
        "0001_initial.sql",
        "0002_messages.sql",
        "0003_overview.sql",
    ]
    assert "CREATE TABLE runs" in terminal.run("migrate", "--sql").stdout
    assert terminal.json("migrate", "--check", code=1) == {"stored": 0, "wanted": 3, "applied": []}
    assert terminal.run("migrate").stdout.splitlines() == [
        "applied 0001_initial.sql",
        "applied 0002_messages.sql",
        "applied 0003_overview.sql",
    ]
    assert "nothing to do" in terminal.run("migrate").stdout
    assert terminal.run("list").stdout == "no instances\n"


def test_without_a_backend_the_variable_is_named(terminal: Terminal) -> None:
    del terminal.environment["PERDURE_BACKEND"]
    assert "PERDURE_BACKEND" in terminal.run("list", code=2).stderr


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion(terminal: Terminal, shell: str) -> None:
    assert "_PERDURE_COMPLETE" in terminal.run("completion", shell).stdout


@pytest.mark.slow
@pytest.mark.parametrize("target", ["flows.py", "flows:make"])
def test_workers_by_file_and_by_factory(terminal: Terminal, target: str) -> None:
    terminal.run("start", "sums", "1", "2", "--id", "a")
    with terminal.worker(target) as process:
        assert terminal.run("result", "a", "--timeout", "20").stdout == "3\n"
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 0
        assert process.stderr is not None
        assert "worker of build" in process.stderr.read()
