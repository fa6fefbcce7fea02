"""Histories: as files, replayed, explained; with fifty seeded edits."""

from __future__ import annotations

import asyncio
import difflib
import inspect
import io
import json
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from perdure import Workflow
from perdure_backends import history as h
from perdure_runtime import (
    History,
    HistoryFileError,
    ReplayResult,
    read_histories,
    replay,
    write_history,
)
from perdure_runtime.testing import SyncEnvironment
from seeded import EDITS, ORIGINALS, PATHS, Expected


def record(workflow: Workflow[..., Any], *args: Any, until: float | None = None) -> History:
    """The history of a run, cut off after some seconds if asked for."""
    with SyncEnvironment() as env:
        handle = env.start(workflow, *args)
        if until is None:
            handle.result()
        else:
            env.settle()
            env.advance(until)
        return History.of(handle.describe(), handle.history())


# --- seeded edits -----------------------------------------------------------------------------


class Pair(NamedTuple):
    """An edit, and a history to hold it against."""

    edit: str
    path: str
    expected: Expected


PAIRS = [Pair(e.name, path, verdict) for e in EDITS for path, verdict in e.verdicts.items()]
_recorded: dict[str, History] = {}


def history_of(path: str) -> History:
    """Recorded once."""
    if path not in _recorded:
        name, args, until = PATHS[path]
        _recorded[path] = record(ORIGINALS[name], *args, until=until)
    return _recorded[path]


@pytest.mark.parametrize("pair", PAIRS, ids=lambda pair: f"{pair.edit}-{pair.path}")
def test_each_seeded_edit_is_judged_rightly(pair: Pair) -> None:
    edit = next(one for one in EDITS if one.name == pair.edit)
    history = history_of(pair.path)
    result = replay(history, edit.workflow)
    strict = replay(history, edit.workflow, strict=True)
    if pair.expected == "fits":
        assert (result.divergence, result.warnings, strict.divergence) == (None, [], None)
    elif pair.expected == "warns":
        assert result.ok
        assert result.warnings
        assert strict.divergence is not None
    else:
        assert result.divergence is not None, edit.name
        assert strict.divergence is not None
        shown = str(result.divergence)
        assert edit.says in shown, shown


def _edited_lines(pair: Pair) -> set[int]:
    """The numbers, in seeded.py, of the lines that an edit removed, added or stands beside."""
    edit = next(one for one in EDITS if one.name == pair.edit)
    old, old_first = inspect.getsourcelines(ORIGINALS[PATHS[pair.path][0]].definition.function)
    new, new_first = inspect.getsourcelines(edit.workflow.definition.function)
    lines: set[int] = set()
    for tag, a, b, c, d in difflib.SequenceMatcher(a=old, b=new, autojunk=False).get_opcodes():
        if tag != "equal":
            lines |= set(range(old_first + a, old_first + b))
            lines |= set(range(new_first + c, new_first + d))
            if a == b or c == d:  # what was added or removed: the lines next to the gap
                lines |= {old_first + a, new_first + d, new_first + c}
    return lines


@pytest.mark.parametrize(
    "pair",
    [pair for pair in PAIRS if pair.expected == "differs"],
    ids=lambda pair: f"{pair.edit}-{pair.path}",
)
def test_the_report_leads_to_the_line_that_was_edited(pair: Pair) -> None:
    edit = next(one for one in EDITS if one.name == pair.edit)
    divergence = replay(history_of(pair.path), edit.workflow).divergence
    assert divergence is not None
    named = {int(number) for number in re.findall(r"seeded\.py:(\d+)", str(divergence))}
    edited = _edited_lines(pair)
    # A condition that was edited shows in the branch below it.
    assert any(abs(one - other) <= 3 for one in named for other in edited), str(divergence)


def test_there_are_fifty_edits() -> None:
    assert len(EDITS) >= 50
    assert {pair.expected for pair in PAIRS} == {"fits", "warns", "differs"}


@pytest.mark.parametrize("path", PATHS)
def test_the_code_that_wrote_a_history_fits_it(path: str) -> None:
    history = history_of(path)
    result = replay(history, ORIGINALS[PATHS[path][0]], strict=True)
    assert result.divergence is None
    assert (result.turns, result.events) == (len(history.turns), history.events)


# --- what a divergence says -------------------------------------------------------------------


def test_a_divergence_names_place_commands_and_edit() -> None:
    edit = next(one for one in EDITS if one.name == "added_before")
    result = replay(history_of("order-done"), edit.workflow)
    divergence = result.divergence
    assert divergence is not None
    assert (divergence.turn, divergence.position, divergence.reason) == (2, 0, "mismatch")
    assert divergence.expected == "timer of 30 s (number 2)"
    assert divergence.actual == "activity 'charge' (number 2)"
    path, _, line = divergence.location.rpartition(":")
    assert "await charge(" in Path(path).read_text(encoding="utf-8").splitlines()[int(line) - 1]
    assert [change.mark for change in divergence.changes] == [" ", "+", " ", " ", " "]
    assert "activity 'charge' was added before timer of 30 s" in divergence.likely
    assert "patched('charge')" in divergence.likely


def test_results() -> None:
    result = replay(history_of("order-done"), ORIGINALS["order"])
    assert isinstance(result, ReplayResult)
    assert (result.outcome, result.result) == ("completed", "r1/s1")
    assert replay(history_of("order-open"), ORIGINALS["order"]).outcome == "open"
    assert replay(history_of("batch-continued"), ORIGINALS["batch"]).outcome == "continued"


# --- files ------------------------------------------------------------------------------------


class Record(NamedTuple):
    """What a file's first line says of a run."""

    instance_id: str
    run_id: str
    workflow: str
    version: int
    started_at: int
    state: str = "running"


def written(history: History, redact: Any = None) -> str:
    """As a file."""

    async def turns() -> AsyncIterator[h.Turn]:
        for turn in history.turns:
            yield turn

    out = io.StringIO()
    head: Any = Record(
        history.instance_id,
        history.run_id,
        history.workflow,
        history.version,
        history.started_at,
    )
    count = asyncio.run(write_history(out, head, turns(), redact=redact))
    assert count == len(history.turns)
    return out.getvalue()


@pytest.mark.parametrize("path", PATHS)
def test_what_is_written_is_read_back(path: str) -> None:
    history = history_of(path)
    text = written(history)
    assert list(read_histories(text.splitlines())) == [history]
    both = text + written(history)
    assert list(read_histories(both.splitlines())) == [history, history]


PAYLOADS = st.one_of(
    st.binary(max_size=20),
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=5),
        lambda inner: st.lists(inner, max_size=3),
        max_leaves=5,
    ).map(lambda value: json.dumps(value).encode()),
)


@given(PAYLOADS, st.text(max_size=10), st.dictionaries(st.text(max_size=3), PAYLOADS, max_size=2))
@settings(max_examples=100, deadline=None)
def test_payloads_come_back_byte_for_byte(
    payload: bytes, name: str, headers: dict[str, bytes]
) -> None:
    turn = h.Turn(h.FORMAT_VERSION, 1, 5, [h.SignalReceived(name, payload, headers)])
    history = History("i", "r", "w", 1, 5, [turn])
    assert list(read_histories(written(history).splitlines())) == [history]


BROKEN = {
    "": "there is no history in it",
    "nonsense": "not JSON",
    "[1]": "an object was expected",
    '{"turn": 1}': "a history begins with",
    '{"format": "other"}': "is not 'perdure-history'",
    '{"format": "perdure-history", "version": 2}': "a newer version of Perdure",
    '{"format": "perdure-history", "version": 1}': "is missing",
}
HEAD = (
    '{"format": "perdure-history", "version": 1, "instance_id": "i", "run_id": "r", '
    '"workflow": "w", "workflow_version": 1, "started_at": 0}\n'
)


@pytest.mark.parametrize("text", BROKEN)
def test_broken_files_say_what_is_wrong(text: str) -> None:
    with pytest.raises(HistoryFileError, match=BROKEN[text]):
        list(read_histories(text.splitlines()))


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"turn": 2, "time": 0, "events": []}', "turn 2 follows turn 0"),
        ('{"turn": 1, "time": 0}', "can't be read"),
        ('{"turn": 1, "time": 0, "events": [{"type": "new_kind"}]}', "does not know"),
        ('{"turn": 1, "time": 0, "events": [{"type": "timer_fired"}]}', "without number"),
        ('{"turn": 1, "time": 0, "events": [{"type": "timer_fired", "number": "x"}]}', "read"),
        ('{"turn": 1, "time": 0, "events": [{"type": "timer_fired", "x": 1}]}', "no field x"),
    ],
)
def test_broken_turns_say_what_is_wrong(line: str, message: str) -> None:
    with pytest.raises(HistoryFileError, match=message):
        list(read_histories((HEAD + line).splitlines()))


def test_payloads_can_be_redacted() -> None:
    def hide(event: h.AnyEvent, field: str, payload: bytes) -> bytes:
        return b'"x"' if field == "result" else payload

    text = written(history_of("order-done"), hide)
    assert '"r1"' not in text
    assert text.count('{"json": "x"}') == 3
