"""Stepping through histories, by the API and in the terminal."""

from __future__ import annotations

import asyncio
import hashlib
import io
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from debug_flows import charge, edited, order, ready, stops
from perdure import UsageError
from perdure_backends import history as h
from perdure_runtime import Debugger, History, Moment, local, read_histories, write_history
from perdure_runtime.testing import Environment

HERE = Path(__file__).parent


def recorded(*, finished: bool) -> tuple[History, str]:
    async def main() -> str:
        out = io.StringIO()
        async with Environment() as env:
            handle = await env.start(order.options(id="o-1"), 5)
            if finished:
                await handle.signal(ready, True)
                await handle.result()
            else:
                await env.advance(70)
            await write_history(out, await handle.describe(), handle.history())
        return out.getvalue()

    text = asyncio.run(main())
    (history,) = read_histories(text.splitlines())
    return history, text


def line_of(text: str, *, nth: int = 0) -> int:
    lines = (HERE / "debug_flows.py").read_text().splitlines()
    return [n for n, line in enumerate(lines, 1) if text in line][nth]


def kinds(debugger: Debugger) -> list[str]:
    found: list[str] = []
    for position in range(debugger.last + 1):
        event = debugger.goto(position).event
        found.append("end" if event is None else h.tag_of(event))
    return found


def test_every_event_is_shown_as_it_happens() -> None:
    history, _ = recorded(finished=False)
    with Debugger(history, order) as debugger:
        assert kinds(debugger) == [
            *(h.tag_of(event) for turn in history.turns for event in turn.events),
            "end",
        ]
        first = debugger.goto(0)
        assert first.tasks == []
        issued = debugger.forward()
        assert isinstance(issued.event, h.ActivityScheduled)
        assert issued.location.endswith(f"debug_flows.py:{line_of('await charge(amount')}")
        (main, watcher) = issued.tasks
        assert (main.name, main.running) == ("main", True)
        assert (watcher.name, watcher.running) == ("watcher", False)
        assert main.frames[-1].line == line_of("await charge(amount")
        assert main.frames[-1].variables["receipts"] == "[]"
        assert main.frames[-1].variables["rude"].startswith("<Rude")
        arrived = debugger.forward()
        assert isinstance(arrived.event, h.ActivityCompleted)
        assert not arrived.tasks[0].running
        assert [one.command for one in arrived.pending] == ["activity 'charge'"]
        assert arrived.published is None
        assert debugger.forward().published == {"month": 0}
        assert debugger.back().published is None


def test_backwards_is_the_same_as_forwards() -> None:
    history, _ = recorded(finished=True)
    with Debugger(history, order) as debugger:
        forwards = [plain(debugger.goto(n)) for n in range(debugger.last + 1)]
        backwards = [plain(debugger.goto(n)) for n in reversed(range(debugger.last + 1))]
    assert forwards == backwards[::-1]


def plain(moment: Moment) -> Any:
    """Without what shows addresses."""
    tasks = [(t.name, t.running, [(f.function, f.line) for f in t.frames]) for t in moment.tasks]
    return moment.position, moment.turn, moment.location, tasks, moment.pending, moment.published


def test_expressions_and_moves() -> None:
    history, _ = recorded(finished=False)
    with Debugger(history, order) as debugger:
        moment = debugger.goto(-1)
        assert debugger.evaluate("receipts") == ["r5", "r6"]
        assert debugger.evaluate("receipts.append('x') or receipts") == ["r5", "r6", "x"]
        assert debugger.evaluate("receipts") == ["r5", "r6"]  # nothing is left of it
        names = [task.name for task in moment.tasks]
        assert debugger.evaluate("log", task=names.index("watcher")) == [
            "month 0",
            "watching",
            "month 1",
        ]
        debugger.goto(2)
        assert debugger.evaluate("receipts") == []  # as it was, not as it became
        with pytest.raises(ZeroDivisionError):
            debugger.evaluate("1 / 0")
        with pytest.raises(UsageError, match="no function"):
            debugger.evaluate("1", task=7)
        assert debugger.goto_turn(2).turn == 2
        assert debugger.goto(10_000).position == debugger.last
        assert debugger.back(10_000).position == 0


def test_it_stops_where_code_and_history_part() -> None:
    history, _ = recorded(finished=False)
    with Debugger(history, edited) as debugger:
        moment = debugger.goto(-1)
        assert moment.divergence is not None
        assert moment.position == debugger.last < history.events
        assert "45 s" in str(moment.divergence)
        assert f"tester/debug_flows.py:{line_of('seconds=30')}" in str(moment.divergence)
        assert debugger.forward().divergence is not None
        assert debugger.back().divergence is None


def test_nothing_to_step_through() -> None:
    with pytest.raises(UsageError, match="no turn"):
        Debugger(History("i", "r", "order", 1, 0, []), order)


# --- the command ----------------------------------------------------------------------------


def perdure_debug(*arguments: str, text: str = "", **env: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "perdure_runtime.cli", "debug", *arguments]
    environ = {**os.environ, **env}
    return subprocess.run(
        command, input=text, capture_output=True, text=True, env=environ, timeout=60
    )


@pytest.fixture
def file(tmp_path: Path) -> str:
    path = tmp_path / "o-1.jsonl"
    path.write_text(recorded(finished=False)[1])
    return str(path)


FLOWS = f"{HERE / 'debug_flows.py'}:workflows"


@pytest.fixture
def flows(tmp_path: Path) -> str:
    target = tmp_path / "app.py"
    target.write_text(
        f"import sys\nsys.path.insert(0, {str(HERE)!r})\nfrom debug_flows import charge, order\n"
    )
    return str(target)


def test_the_dialogue(flows: str, file: str) -> None:
    done = perdure_debug(
        flows, file, text="n\n\np receipts\nw\n$\nl\nt 1\np log\nu\nzz\ng 3\ni\nq\n"
    )
    assert done.returncode == 0, done.stderr
    out = done.stdout
    assert "o-1  workflow order" in out
    assert f"> {line_of('await charge(amount'):4}         receipts.append" in out
    assert "(2/9) []" in out
    assert "1  watcher  " in out
    assert "the end of the history" in out
    assert "['month 0', 'watching', 'month 1']" in out
    assert "there is none" in out
    assert "p EXPR" in out
    assert '"type": "timer_started"' in out


def test_for_machines(flows: str, file: str) -> None:
    one = json.loads(perdure_debug(flows, file, "--at", "-1", "--json").stdout)
    assert one["position"] == 9
    assert one["tasks"][0]["frames"][-1]["variables"]["receipts"] == "['r5', 'r6']"
    lines = perdure_debug(flows, file, "--json").stdout.splitlines()
    assert [json.loads(line)["position"] for line in lines] == list(range(10))


def test_a_store_is_only_read(flows: str, tmp_path: Path) -> None:
    path = tmp_path / "o.db"

    async def main() -> None:
        async with local(f"sqlite:///{path}", workflows=[stops], activities=[charge]) as app:
            await app.run(stops.options(id="s-1"))

    asyncio.run(main())
    target = tmp_path / "s.py"
    target.write_text(
        f"import sys\nsys.path.insert(0, {str(HERE)!r})\nfrom debug_flows import charge, stops\n"
    )
    before = hashlib.sha256(path.read_bytes()).digest()
    url = f"sqlite:///{path}"
    done = perdure_debug(str(target), "s-1", "-b", url, "--at", "1")
    assert "total = 42" in done.stdout, done.stderr
    assert hashlib.sha256(path.read_bytes()).digest() == before
    # pdb asks at the line behind breakpoint(), with the workflow's variables.
    asked = perdure_debug(
        str(target), "s-1", "-b", url, "--at", "1", text="p total\nc\nc\n", PERDURE_TEST_BREAK="1"
    )
    assert "(Pdb) 42" in asked.stdout, asked.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("{flows}", "o-9"), "where is 'o-9'"),
        (("{flows}", "o-9", "-b", "sqlite:///{tmp}/none.db"), "schema version 0"),
        (("{other}", "{file}"), "has no workflow 'order'"),
        (("{flows}", "{bad}"), "begins with"),
    ],
)
def test_wrong_usage(
    arguments: tuple[str, ...], message: str, flows: str, file: str, tmp_path: Path
) -> None:
    other = tmp_path / "other.py"
    other.write_text("from perdure import workflow\n\n@workflow\nasync def x() -> None: ...\n")
    bad = tmp_path / "bad.jsonl"
    bad.write_text('{"turn": 1}\n')
    places = {"flows": flows, "file": file, "other": other, "bad": bad, "tmp": tmp_path}
    env = {"PERDURE_BACKEND": ""} if "-b" not in arguments else {}
    done = perdure_debug(*[one.format(**places) for one in arguments], **env)
    assert done.returncode != 0
    assert message in done.stderr
    assert "Traceback" not in done.stderr
