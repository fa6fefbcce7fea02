"""The law of replay, and what happens when code and history disagree."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from typing import Any

import perdure
import pytest
from perdure import (
    ActivityError,
    Failure,
    Signal,
    activity,
    is_replaying,
    patched,
    side_effect,
    timer,
    uuid4,
    wait_until,
    workflow,
)
from perdure_backends import history as h
from perdure_runtime._core._compare import IDENTITY
from perdure_runtime._core.machines import Machine, State, Step
from support import CoreDriver, kinds


@activity
async def a(x: int) -> int:
    return x


@activity
async def b(x: int) -> int:
    return x


@activity
async def takes_list(x: list[int]) -> list[int]:
    return x


@workflow(name="flow")
async def original() -> int:
    one = await a(1)
    await asyncio.sleep(10)
    return one + await b(2)


@workflow(name="flow")
async def swapped() -> int:
    one = await b(1)
    await asyncio.sleep(10)
    return one + await a(2)


@workflow(name="flow")
async def dropped() -> int:
    await asyncio.sleep(10)
    return await b(2)


@workflow(name="flow")
async def added() -> int:
    one = await a(1)
    two = await b(0)
    await asyncio.sleep(10)
    return one + two + await b(2)


@workflow(name="flow")
async def other_timer() -> int:
    one = await a(1)
    await asyncio.sleep(11)
    return one + await b(2)


@workflow(name="flow")
async def other_arguments() -> int:
    one = await a(100)
    await asyncio.sleep(10)
    return one + await b(2)


@workflow(name="flow")
async def shorter() -> int:
    return await a(1)


def _recorded() -> CoreDriver:
    driver = CoreDriver(original)
    assert driver.run(lambda command: 1) == 2
    return driver


def test_the_same_code_replays() -> None:
    assert _recorded().replay() is None


@pytest.mark.parametrize(
    ("changed", "expected", "actual"),
    [
        (swapped, "activity 'a'", "activity 'b'"),
        (dropped, "activity 'a'", "timer of 10 s"),
        (added, "timer of 10 s", "activity 'b'"),
        (other_timer, "timer of 10 s", "timer of 11 s"),
        (shorter, "timer of 10 s", "workflow completed"),
    ],
    ids=["swapped", "dropped", "added", "timer", "shorter"],
)
def test_changed_code_is_a_mismatch_with_both_commands_position_and_line(
    changed: Any, expected: str, actual: str
) -> None:
    fault = _recorded().replay(changed)
    assert fault is not None
    assert fault.reason == "mismatch"
    assert fault.details["expected"].startswith(expected)
    assert fault.details["actual"].startswith(actual)
    if changed is not shorter:  # the end of a function has no line of its own
        file, _, line = fault.details["location"].rpartition(":")
        first = changed.definition.function.__code__.co_firstlineno
        assert file == __file__
        assert first <= int(line) <= first + 6


def test_changed_arguments_warn_or_are_a_mismatch_when_strict(
    caplog: pytest.LogCaptureFixture,
) -> None:
    driver = _recorded()
    assert driver.replay(other_arguments) is None
    assert "other arguments" in caplog.text
    strict = perdure_execution(driver, other_arguments)
    faults = [strict.replay(h.decode_turn(turn)) for turn in driver.turns[:1]]
    assert faults[0] is not None


def perdure_execution(driver: CoreDriver, flow: Any) -> Any:
    from perdure_runtime._core import Execution

    return Execution(
        flow,
        instance_id="i",
        run_id="r",
        started_at=0,
        converter=driver.converter,
        strict=True,
    )


@workflow
async def mutates() -> list[int]:
    mine = [1]
    future = takes_list(mine)
    mine.append(2)
    first = await future
    first.append(99)
    return await takes_list(first)


def test_arguments_are_encoded_at_the_call() -> None:
    driver = CoreDriver(mutates)
    driver.start()
    command = driver.commands()[0]
    assert isinstance(command, h.ActivityScheduled)
    assert command.input == b"[[1]]"


@workflow
async def cancels_both_ways() -> str:
    quick = a(1)
    quick.cancel()
    slow = b.options(cancellation="wait")(2)
    slow.cancel()
    try:
        await slow
    except asyncio.CancelledError:
        return f"confirmed, {quick.cancelled()}"
    return "not cancelled"


def test_cancellation_types() -> None:
    driver = CoreDriver(cancels_both_ways)
    driver.start()
    assert kinds(driver.commands()) == [
        "activity_scheduled:1",
        "activity_cancel_requested:1",
        "activity_scheduled:2",
        "activity_cancel_requested:2",
    ]
    result = driver.turn(
        h.ActivityCompleted(1, b"5"),  # late: ignored
        h.ActivityFailed(2, Failure("ActivityCancelledError", ""), "cancelled"),
    )
    assert isinstance(result.end, h.WorkflowCompleted)
    assert result.end.result == b'"confirmed, True"'
    assert driver.replay() is None


@workflow
async def handles_failure() -> str:
    try:
        await a(1)
    except ActivityError as error:
        return f"{error.activity} {error.type} {error.__cause__}"
    return "no error"


def test_failures_arrive_with_type_and_message() -> None:
    result = CoreDriver(handles_failure).run(lambda command: ValueError("broken"))
    assert result == "a ValueError ValueError: broken"


signals = Signal("s", int)


@workflow
async def collects(count: int) -> list[int]:
    await a(0)
    return [await signals.receive() for _ in range(count)]


def test_signals_keep_their_order_before_and_after_the_workflow_listens() -> None:
    driver = CoreDriver(collects, 250)
    driver.start()
    driver.turn(*(h.SignalReceived("s", str(i).encode()) for i in range(150)))
    driver.turn(h.ActivityCompleted(1, b"0"))
    result = driver.turn(*(h.SignalReceived("s", str(i).encode()) for i in range(150, 250)))
    assert isinstance(result.end, h.WorkflowCompleted)
    assert result.end.result == str(list(range(250))).replace(" ", "").encode()
    assert driver.replay() is None


@workflow
async def handles_signals() -> int:
    total = 0

    @signals.handler
    async def add(value: int) -> None:  # pyright: ignore[reportUnusedFunction]  # registered
        nonlocal total
        more = await a(value)  # apart: `total += await …` reads total before it waits
        total += more

    await wait_until(lambda: total >= 6)
    return total


def test_signal_handlers_and_wait_until() -> None:
    driver = CoreDriver(handles_signals)
    driver.start()
    driver.turn(h.SignalReceived("s", b"1"), h.SignalReceived("s", b"2"))
    driver.turn(h.ActivityCompleted(1, b"2"))
    result = driver.turn(h.ActivityCompleted(2, b"4"))
    assert isinstance(result.end, h.WorkflowCompleted)
    assert result.end.result == b"6"
    assert driver.replay() is None


calls: list[str] = []


@workflow
async def has_side_effects() -> int:
    def count() -> int:
        calls.append("x")
        return 7

    value = side_effect(count, int)
    await a(value)
    return value


def test_a_side_effect_runs_once() -> None:
    calls.clear()
    driver = CoreDriver(has_side_effects)
    assert driver.run(lambda command: 1) == 7
    assert driver.replay() is None
    assert calls == ["x"]


@workflow(name="patching")
async def before_patch() -> int:
    return await a(1)


@workflow(name="patching")
async def after_patch() -> int:
    if patched("use b"):
        await b(0)
    return await a(1)


def test_patches_guard_changes() -> None:
    old = CoreDriver(before_patch)
    old.run(lambda command: 1)
    assert old.replay(after_patch) is None
    new = CoreDriver(after_patch)
    assert new.run(lambda command: 1) == 1
    assert new.replay() is None
    assert new.replay(before_patch) is not None


@workflow(name="random")
async def draws_one() -> list[str]:
    await a(0)
    return [str(perdure.random("x").random()), str(uuid4())]


@workflow(name="random")
async def draws_more() -> list[str]:
    perdure.random("new").random()
    await a(0)
    return [str(perdure.random("x").random()), str(uuid4())]


def test_random_streams_do_not_shift_each_other() -> None:
    first = CoreDriver(draws_one).run(lambda command: 1)
    assert first == CoreDriver(draws_more).run(lambda command: 1)
    assert first != CoreDriver(draws_one, seed=1).run(lambda command: 1)


@workflow
async def waits_for_nothing() -> None:
    async def helper() -> None:
        await asyncio.get_running_loop().create_future()

    task = asyncio.create_task(helper(), name="helper")
    await task


def test_a_run_that_nothing_can_wake_is_found_with_its_lines() -> None:
    fault = CoreDriver(waits_for_nothing).start().fault
    assert fault is not None
    assert fault.reason == "stuck"
    assert f"helper at {__file__}:" in fault.message
    assert f"main at {__file__}:" in fault.message


@workflow
async def wrong_result() -> int:
    return "text"  # type: ignore[return-value]  # pyright: ignore[reportReturnType]  # the point


def test_undecodable_payloads_and_wrong_results_are_faults_and_lose_nothing() -> None:
    fault = CoreDriver(wrong_result).start().fault
    assert fault is not None
    assert fault.reason == "payload"
    driver = CoreDriver(before_patch)
    driver.start()
    fault = driver.turn(h.ActivityCompleted(1, b'"not a number"')).fault
    assert fault is not None
    assert fault.reason == "payload"
    assert "result" in fault.message


@workflow
async def cancelled_cleans_up() -> str:
    try:
        await timer(1000, name="long")
    finally:
        await asyncio.shield(a(1))
    return "never"


def test_cancelling_runs_clean_up_and_ends_as_cancelled() -> None:
    driver = CoreDriver(cancelled_cleans_up)
    driver.start()
    driver.turn(h.CancelRequested("enough"))
    assert kinds(driver.commands()) == ["timer_cancelled:1", "activity_scheduled:2"] or kinds(
        driver.commands()
    ) == ["activity_scheduled:2", "timer_cancelled:1"]
    result = driver.turn(h.ActivityCompleted(2, b"1"))
    assert isinstance(result.end, h.WorkflowFailed)
    assert result.end.kind == "cancelled"
    assert driver.replay() is None


flags: list[bool] = []


@workflow
async def asks_whether_replaying() -> None:
    flags.append(is_replaying())
    await a(1)
    flags.append(is_replaying())


def test_is_replaying() -> None:
    flags.clear()
    driver = CoreDriver(asks_whether_replaying)
    driver.run(lambda command: 1)
    driver.replay()
    assert flags == [False, False, True, True]


def test_every_command_says_what_is_compared() -> None:
    assert set(IDENTITY) == set(h.Command.__subclasses__())
    for command, fields in IDENTITY.items():
        assert set(fields) <= set(command.__struct_fields__)


def test_machines_follow_their_tables() -> None:
    for machine in Machine.__subclasses__():
        assert machine.transitions, machine
        for (state, step), following in machine.transitions.items():
            assert isinstance(state, State)
            assert isinstance(step, Step)
            assert state is not State.DONE, "nothing follows the end"
            assert following is not State.ISSUED


def test_the_core_imports_no_io() -> None:
    import ast
    from pathlib import Path

    import perdure_runtime._core as core

    allowed = {"perdure", "perdure_backends"}
    forbidden = {"time", "socket", "threading", "os.path", "subprocess", "selectors", "secrets"}
    for path in Path(core.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = (
                [alias.name for alias in node.names]
                if isinstance(node, ast.Import)
                else [node.module or ""]
                if isinstance(node, ast.ImportFrom) and node.level == 0
                else []
            )
            for name in names:
                assert name not in forbidden, f"{path.name} imports {name}"
                if name.startswith("perdure_backends"):
                    assert name in ("perdure_backends", "perdure_backends.history")
                elif name.startswith("perdure"):
                    assert name.partition(".")[0] in allowed


def test_imports_load_no_driver_and_no_command_line() -> None:
    code = (
        "import sys, perdure, perdure_runtime; "
        "print([m for m in ('aiosqlite', 'click', 'libcst', 'rich') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
