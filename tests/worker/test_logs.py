"""What log records carry, and how they look as JSON."""

from __future__ import annotations

import io
import json
import logging
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import structlog
from perdure import ApplicationError, Retry, activity, logger, sleep, workflow
from perdure_runtime import JsonFormatter
from perdure_runtime.testing import SyncEnvironment


@activity(retry=Retry(attempts=2))
async def fails_once() -> str:
    from perdure import activity_info

    logger.info("at work", extra={"colour": "red"})
    if activity_info().attempt == 1:
        raise ApplicationError("not yet")
    return "done"


@activity
def in_a_thread() -> None:
    logger.info("in a thread")


@workflow
async def says() -> str:
    logger.info("before")
    found = await fails_once()
    in_between = in_a_thread()
    await in_between
    await sleep(60)
    logger.warning("after %s", found)
    return found


def records(caplog: pytest.LogCaptureFixture, text: str) -> list[logging.LogRecord]:
    return [record for record in caplog.records if record.getMessage().startswith(text)]


def test_fields_of_workflows_and_activities(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    with SyncEnvironment(replay_every_turn=True) as env:
        env.run(says.options(id="i-1"))
    (before,), (after,) = records(caplog, "before"), records(caplog, "after done")
    assert (
        vars(before).items()
        >= {
            "instance_id": "i-1",
            "workflow": "says",
            "queue": "default",
            "turn": 1,
        }.items()
    )
    assert vars(after)["turn"] > 1
    attempts = [vars(record)["attempt"] for record in records(caplog, "at work")]
    assert attempts == [1, 2]
    assert (
        vars(records(caplog, "at work")[0]).items()
        >= {
            "instance_id": "i-1",
            "run_id": vars(before)["run_id"],
            "activity": "fails_once",
            "number": 1,
            "queue": "default",
            "colour": "red",
        }.items()
    )
    (threaded,) = records(caplog, "in a thread")
    assert vars(threaded)["activity"] == "in_a_thread"
    (again,) = records(caplog, "activity 'fails_once' of 'i-1' failed at attempt 1")
    assert vars(again).items() >= {"activity": "fails_once", "attempt": 1}.items()


def test_elsewhere_it_is_a_plain_logger(caplog: pytest.LogCaptureFixture) -> None:
    logger.warning("outside")
    assert not hasattr(records(caplog, "outside")[0], "instance_id")


def test_records_as_json() -> None:
    record = logging.makeLogRecord(
        {
            "name": "perdure.workflow",
            "levelname": "INFO",
            "msg": "paid %d",
            "args": (3,),
            "created": 0.5,
            "instance_id": "i-1",
            "attempt": 2,
            "colour": Path("red"),
        }
    )
    assert json.loads(JsonFormatter().format(record)) == {
        "timestamp": "1970-01-01T00:00:00.500000+00:00",
        "severity_text": "INFO",
        "body": "paid 3",
        "logger": "perdure.workflow",
        "perdure.instance.id": "i-1",
        "perdure.attempt": 2,
        "colour": "red",
    }
    try:
        raise ValueError("no")
    except ValueError:
        record.exc_info = sys.exc_info()
    data = json.loads(JsonFormatter().format(record))
    assert (data["exception.type"], data["exception.message"]) == ("ValueError", "no")
    assert "Traceback" in data["exception.stacktrace"]


def test_a_worker_that_logs_json(tmp_path: Path) -> None:
    (tmp_path / "flows.py").write_text(
        "from perdure import logger, workflow\n\n"
        "@workflow\nasync def talks() -> None:\n    logger.info('hello')\n"
    )
    env = {**os.environ, "PERDURE_BACKEND": f"sqlite:///{tmp_path / 'l.db'}"}
    perdure = [sys.executable, "-m", "perdure_runtime.cli"]
    start = [*perdure, "start", "talks", "--id", "t-1"]
    subprocess.run(start, env=env, cwd=tmp_path, check=True, capture_output=True)
    command = [*perdure, "worker", "flows", "--log-format", "json"]
    with subprocess.Popen(
        command, env=env, cwd=tmp_path, stderr=subprocess.PIPE, text=True
    ) as worker:
        assert worker.stderr is not None
        found = {}
        for line in worker.stderr:
            found = json.loads(line)
            if found["body"] == "hello":
                break
        worker.send_signal(signal.SIGTERM)
        worker.communicate(timeout=30)
    assert (found["perdure.instance.id"], found["perdure.workflow.name"]) == ("t-1", "talks")


def test_structlog_shows_the_fields() -> None:
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=[structlog.stdlib.ExtraAdder()],
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            structlog.processors.JSONRenderer(),
        ],
    )
    out = io.StringIO()
    handler = logging.StreamHandler(out)
    handler.setFormatter(formatter)
    watched = logging.getLogger("perdure.workflow")
    watched.addHandler(handler)
    before = watched.level
    watched.setLevel(logging.INFO)
    try:
        with SyncEnvironment() as env:
            env.run(says.options(id="i-1"))
    finally:
        watched.removeHandler(handler)
        watched.setLevel(before)
    lines = [json.loads(line) for line in out.getvalue().splitlines()]
    found = next(line for line in lines if line["event"] == "at work")
    assert (found["activity"], found["attempt"], found["colour"]) == ("fails_once", 1, "red")
    assert lines[0]["instance_id"] == "i-1"
