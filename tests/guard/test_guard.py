"""What the guard catches, what it leaves alone, and what it costs nobody."""

from __future__ import annotations

import asyncio
import datetime
import io
import logging
import os
import pdb
import random
import secrets
import socket
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import guarded_helpers
import perdure_runtime
import pytest
from perdure import NonDeterministicCall, activity, logger, now, side_effect, sleep, workflow
from perdure_runtime import local
from perdure_runtime._core import is_ours
from perdure_runtime._guard import CALLS, installed

SINCE_312 = pytest.mark.skipif(sys.version_info < (3, 12), reason="needs sys.monitoring")


@activity
async def free() -> float:
    return time.time() + random.random() + len(str(uuid.uuid4()))


@workflow
async def reads_clock() -> str:
    return str(time.time())


@workflow
async def reads_through_helper() -> str:
    return str(guarded_helpers.late())


@workflow
async def reads_early_bound() -> str:
    return str(guarded_helpers.early())


@workflow
async def reads_now() -> str:
    return str(datetime.datetime.now())


@workflow
async def reads_in_class() -> str:
    return str(guarded_helpers.Stopwatch().read())


@workflow
async def makes_uuid() -> str:
    return str(uuid.uuid4())


@workflow
async def rolls() -> str:
    return str(random.randint(1, 6))


@workflow
async def rolls_unseeded() -> str:
    return str(random.Random().random())


@workflow
async def takes_secret() -> str:
    return secrets.token_hex(4)


@workflow
async def reads_os_random() -> str:
    return str(os.urandom(4))


@workflow
async def naps() -> str:
    time.sleep(0.001)
    return "?"


@workflow
async def starts_thread() -> str:
    thread = threading.Thread(target=print)
    thread.start()
    return "?"


@workflow
async def opens_file() -> str:
    with open(os.devnull) as file:
        return file.read()


@workflow
async def opens_path() -> str:
    return Path(__file__).read_text()


@workflow
async def connects() -> str:
    with socket.socket() as one:
        one.connect(("127.0.0.1", 9))
    return "?"


@workflow
async def runs_program() -> str:
    return str(subprocess.run(["true"], check=True))


async def outcome(flow: Any, *arguments: Any, **options: Any) -> str:
    """The result, or the message of the park."""
    async with local(workflows=[flow], activities=[free], **options) as app:
        handle = await app.start(flow, *arguments)
        async with asyncio.timeout(10):
            while True:
                record = await handle.describe()
                if record.park is not None:
                    await handle.terminate()
                    return f"{record.park.reason}: {record.park.message}"
                if record.state != "running":
                    return str(await handle.result())
                await asyncio.sleep(0.002)


CAUGHT: list[tuple[Any, str, str]] = [
    (reads_clock, "time.time", "perdure.now()"),
    (reads_through_helper, "time.time", "perdure.now()"),
    (makes_uuid, "uuid.uuid4", "perdure.uuid4()"),
    (rolls, "random.randint", "perdure.random()"),
    (takes_secret, "secrets.token_hex", "perdure.random()"),
    (reads_os_random, "os.urandom", "perdure.random()"),
    (naps, "time.sleep", "perdure.sleep"),
    (starts_thread, "thread", "activity"),
    (opens_file, "open", "activity"),
    (opens_path, "open", "activity"),
    (connects, "socket", "activity"),
    (runs_program, "subprocess", "activity"),
]


@pytest.mark.parametrize(("flow", "call", "instead"), CAUGHT, ids=lambda x: getattr(x, "name", ""))
def test_what_every_version_catches(flow: Any, call: str, instead: str) -> None:
    message = asyncio.run(outcome(flow))
    assert message.startswith("nondeterministic: "), message
    assert call.lower() in message.lower()
    assert instead in message
    assert "guard" in message  # the file and line of the call


@SINCE_312
@pytest.mark.parametrize(
    "flow", [reads_early_bound, reads_now, reads_in_class, rolls_unseeded], ids=lambda x: x.name
)
def test_what_monitoring_catches_besides(flow: Any) -> None:
    assert asyncio.run(outcome(flow)).startswith("nondeterministic: ")


@workflow
async def behaves() -> str:
    started = now()
    logger.info("harmless: logging reads the clock for itself")
    logging.getLogger("other").warning("harmless as well")
    value = side_effect(lambda: time.time() + random.random(), float)
    numbers = random.Random(5)
    await free()
    await sleep(0.001)
    try:
        raise KeyError("x")
    except KeyError:
        logging.getLogger("other").exception("reads source files")
    berlin = ZoneInfo("Europe/Berlin")
    from colorsys import rgb_to_hls  # imports read files

    debugger = pdb.Pdb(stdin=io.StringIO("c\n"), stdout=io.StringIO())
    debugger.set_trace()  # a breakpoint
    assert rgb_to_hls(0, 0, 0)[0] == 0
    assert now().astimezone(berlin) == now()
    clean = guarded_helpers.clean(5)
    return f"{value > 0} {numbers.randint(1, 1)} {clean} {now() >= started}"


def test_what_is_fine_stays_fine(caplog: pytest.LogCaptureFixture) -> None:
    assert asyncio.run(outcome(behaves)) == "True 1 1 True"


_AS_A_DEBUGGER = """
import threading, time

def evaluate():
    thread = threading.Thread(target=time.time)
    thread.start()
    thread.join()
    return time.time() > 0
"""


@workflow
async def is_debugged(module: str) -> str:
    names: dict[str, Any] = {"__name__": module}
    exec(compile(_AS_A_DEBUGGER, f"/editor/{module}.py", "exec"), names)  # noqa: S102
    return str(names["evaluate"]())


def test_the_debugger_of_an_editor_may_do_what_it_needs() -> None:
    """VS Code and PyCharm keep it outside of site-packages, and it starts a thread to evaluate."""
    assert asyncio.run(outcome(is_debugged, "_pydevd_bundle.pydevd_timeout")) == "True"
    assert asyncio.run(outcome(is_debugged, "helpers")).startswith("nondeterministic: ")


def test_it_can_be_switched_off() -> None:
    assert float(asyncio.run(outcome(reads_clock, guard=False))) > 0


def test_modules_can_be_allowed() -> None:
    allowed = asyncio.run(outcome(reads_through_helper, guard_allow=["guarded_helpers"]))
    assert float(allowed) > 0
    other = asyncio.run(outcome(reads_clock, guard_allow=["guarded_helpers"]))
    assert other.startswith("nondeterministic: ")


@workflow
async def catches_it() -> str:
    try:
        return str(time.time())
    except NonDeterministicCall as error:
        return f"{error.call} {Path(error.location.rpartition(':')[0]).name}"


def test_the_error_names_call_and_line() -> None:
    assert asyncio.run(outcome(catches_it)) == "time.time test_guard.py"


def test_outside_of_workflows_all_is_as_before() -> None:
    original: Callable[[], float] = time.time

    async def main() -> None:
        async with local(workflows=[behaves], activities=[free]):
            assert installed()
            assert time.time() > 0
            assert guarded_helpers.late() > 0
            assert random.random() < 1
            with open(os.devnull) as file:
                assert file.read() == ""
            thread = threading.Thread(target=guarded_helpers.late)
            thread.start()
            thread.join()

    asyncio.run(main())
    assert not installed()
    assert time.time is original


def test_every_name_of_the_table_exists_somewhere() -> None:
    import importlib

    missing: list[str] = []
    for name in CALLS:
        parts = name.split(".")
        depth = 2 if parts[0] in ("datetime", "concurrent", "urllib") and len(parts) > 2 else 1
        depth = 1 if parts[0] == "datetime" else depth
        found: Any = importlib.import_module(".".join(parts[:depth]))
        for part in parts[depth:]:
            found = getattr(found, part, None)
        if found is None:
            missing.append(name)
    # What this version of Python, or this system, does not have.
    assert set(missing) <= {"random.binomialvariate", "os.getrandom", "os.fork"}


def test_what_lies_beside_our_packages_is_not_ours() -> None:
    # In an installed wheel everything else that is installed lies beside them.
    own = Path(perdure_runtime.__file__).parent
    assert is_ours(str(own / "_core" / "_loop.py"))
    assert not is_ours(str(own.parent / "somebody_else" / "files.py"))
    assert not is_ours(str(own.parent / "perdure_runtime_extras.py"))
