"""What breaks determinism inside CPython, each shown to be repaired."""

from __future__ import annotations

import asyncio
import contextvars
import decimal
import gc
import json
import os
import subprocess
import sys
from collections.abc import AsyncGenerator, Coroutine
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import perdure
import pytest
from perdure import Evicted, UnsupportedInWorkflowError, activity, now, workflow
from perdure_backends import history as h
from support import CoreDriver, kinds

outside: contextvars.ContextVar[str] = contextvars.ContextVar("outside", default="empty")


@activity
async def act(name: str) -> str:
    return name


ABORT = """
import asyncio, json, sys
from support import CoreDriver
from perdure import activity, workflow
from perdure_backends import history as h

@activity
async def act(name: str) -> str: ...

@workflow
async def group() -> None:
    async def sibling(name: str) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            act(name)
    async def failing() -> None:
        await act("first")
        raise ValueError
    async with asyncio.TaskGroup() as tasks:
        for name in "abcdef":
            tasks.create_task(sibling(name))
        tasks.create_task(failing())

driver = CoreDriver(group)
driver.start()
driver.turn(h.ActivityCompleted(1, b'"x"'))
scheduled = [c.input.decode() for c in driver.commands() if isinstance(c, h.ActivityScheduled)]
done = []
print(json.dumps(scheduled))
"""


@pytest.mark.slow
def test_a_task_group_aborts_in_the_same_order_in_twenty_processes() -> None:
    def run(hash_seed: int) -> str:
        environment = {
            **os.environ,
            "PYTHONHASHSEED": str(hash_seed),
            "PYTHONPATH": str(Path(__file__).parent.parent),
        }
        done = subprocess.run(
            [sys.executable, "-c", ABORT], capture_output=True, text=True, env=environment
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    with ThreadPoolExecutor(4) as pool:
        outputs = set(pool.map(run, range(20)))
    assert len(outputs) == 1
    assert sorted(json.loads(outputs.pop())) == [f'["{c}"]' for c in "abcdef"]


leftovers: list[Coroutine[Any, Any, str]] = []


@workflow
async def completes_coroutines() -> list[str]:
    async def one(name: str) -> str:
        return await act(name)

    leftovers.extend([one("a"), one("b")])
    return [await task for task in asyncio.as_completed(leftovers)]


@workflow
async def completes_futures() -> list[str]:
    return [await task for task in asyncio.as_completed([act("a"), act("b"), act("c")])]


@workflow
async def completes_our_way() -> list[str]:
    async def one(name: str) -> str:
        return await act(name)

    return [await task for task in perdure.as_completed([one("a"), act("b"), one("c")])]


def test_as_completed_over_coroutines_is_refused_and_names_ours() -> None:
    end = CoreDriver(completes_coroutines).run(lambda command: "x")
    while leftovers:
        leftovers.pop().close()
    assert isinstance(end, h.WorkflowFailed)
    assert end.failure.type == "UnsupportedInWorkflowError"
    assert "perdure.as_completed" in end.failure.message


@pytest.mark.parametrize("flow", [completes_futures, completes_our_way], ids=["theirs", "ours"])
def test_as_completed_over_futures_replays(flow: Any) -> None:
    driver = CoreDriver(flow)
    driver.start()
    driver.turn(h.ActivityCompleted(2, b'"2"'), h.ActivityCompleted(3, b'"3"'))
    result = driver.turn(h.ActivityCompleted(1, b'"1"'))
    assert isinstance(result.end, h.WorkflowCompleted)
    assert json.loads(result.end.result) == ["2", "3", "1"]
    assert driver.replay() is None


seen: list[str] = []


@workflow
async def in_a_cycle() -> None:
    async def loops() -> None:
        me: list[Any] = []
        me.append(me)
        try:
            await act("pending")
        finally:
            try:
                act("from finally")
                seen.append("scheduled")
            except Evicted:
                seen.append("evicted")
                raise

    await loops()


def test_eviction_closes_coroutines_at_once_and_commands_raise() -> None:
    seen.clear()
    driver = CoreDriver(in_a_cycle)
    driver.start()
    assert driver.execution.close() == []
    assert seen == ["evicted"]
    gc.collect()
    assert seen == ["evicted"]


@workflow
async def swallows_eviction() -> None:
    while True:
        try:
            await act("again")
        except BaseException:
            await asyncio.sleep(0)


def test_code_that_swallows_eviction_is_reported() -> None:
    driver = CoreDriver(swallows_eviction)
    driver.start()
    assert driver.execution.close() == ["main: coroutine ignored GeneratorExit"]


closed: list[str] = []


async def numbers(name: str) -> AsyncGenerator[int]:
    try:
        yield 1
        yield 2
    finally:
        closed.append(name)


@workflow
async def leaves_generators_open() -> int:
    for name in ("a", "b", "c"):
        async for _ in numbers(name):
            break
    gc.collect()
    assert closed == []
    await act("x")
    return 1


def test_generators_are_closed_in_the_order_of_first_iteration_and_never_by_gc() -> None:
    closed.clear()
    driver = CoreDriver(leaves_generators_open)
    driver.start()
    gc.collect()
    assert closed == []
    driver.execution.close()
    assert closed == ["a", "b", "c"]


@workflow
async def reads_contexts() -> list[str]:
    return [outside.get(), str(decimal.Decimal(1) / decimal.Decimal(3))]


def test_an_execution_starts_in_an_empty_context() -> None:
    outside.set("worker")
    with decimal.localcontext() as context:
        context.prec = 3
        result = CoreDriver(reads_contexts).run(lambda command: "x")
    assert result == ["empty", "0." + "3" * 28]


@workflow
async def names_tasks() -> list[str]:
    async def name() -> str:
        task = asyncio.current_task()
        return task.get_name() if task else ""

    tasks = [asyncio.create_task(name()) for _ in range(2)]
    return [await task for task in tasks]


def test_the_loop_names_its_tasks_itself() -> None:
    first = CoreDriver(names_tasks).run(lambda command: "x")
    assert first == CoreDriver(names_tasks).run(lambda command: "x") == ["Task-1", "Task-2"]


@workflow
async def wrong_create_task() -> None:
    async def nothing() -> None: ...

    coroutine = nothing()
    try:
        asyncio.get_running_loop().create_task(coroutine, colour="red")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]  # the point
    finally:
        coroutine.close()


def test_create_task_checks_its_arguments() -> None:
    end = CoreDriver(wrong_create_task).run(lambda command: "x")
    assert isinstance(end, h.WorkflowFailed)
    assert "colour" in end.failure.message


@workflow
async def opens_a_socket() -> None:
    await asyncio.open_connection("127.0.0.1", 1)


@workflow
async def uses_a_thread() -> None:
    await asyncio.to_thread(print)


@workflow
async def starts_a_process() -> None:
    await asyncio.create_subprocess_exec("true")


@pytest.mark.parametrize(
    ("flow", "hint"),
    [(opens_a_socket, "activity"), (uses_a_thread, "activity"), (starts_a_process, "activity")],
    ids=["socket", "thread", "process"],
)
def test_what_cannot_be_replayed_is_refused_by_name(flow: Any, hint: str) -> None:
    end = CoreDriver(flow).run(lambda command: "x")
    assert isinstance(end, h.WorkflowFailed)
    assert end.failure.type == UnsupportedInWorkflowError.__name__
    assert hint in end.failure.message


@workflow
async def tells_the_time() -> list[bool]:
    loop = asyncio.get_running_loop()
    first = loop.time() == now().timestamp()
    await asyncio.sleep(90)
    return [first, loop.time() == now().timestamp()]


def test_loop_time_equals_now() -> None:
    driver = CoreDriver(tells_the_time)
    assert driver.run(lambda command: "x") == [True, True]
    assert driver.replay() is None


@workflow
async def brief_timers() -> str:
    async with asyncio.timeout(60):
        await asyncio.sleep(0)
    return await act("x")


def test_a_timer_armed_and_cancelled_in_one_turn_leaves_no_record_but_its_number() -> None:
    driver = CoreDriver(brief_timers)
    driver.start()
    assert kinds(driver.commands()) == ["activity_scheduled:2"]
    driver.turn(h.ActivityCompleted(2, b'"x"'))
    assert driver.replay() is None


@workflow
async def exits() -> None:
    raise SystemExit(3)


def test_system_exit_in_workflow_code_fails_the_workflow_and_nothing_else() -> None:
    end = CoreDriver(exits).run(lambda command: "x")
    assert isinstance(end, h.WorkflowFailed)
    assert end.failure.type == "SystemExit"


@workflow
async def waits_in_sets() -> list[str]:
    futures = {act(str(i)) for i in range(20)}
    order = [await future for future in futures]
    done, _ = await asyncio.wait([asyncio.create_task(echo(i)) for i in range(10)])
    return [*order, *(task.result() for task in done)]


async def echo(i: int) -> str:
    await asyncio.sleep(0)
    return f"task {i}"


def test_sets_of_futures_and_tasks_iterate_alike_at_each_replay() -> None:
    driver = CoreDriver(waits_in_sets)
    driver.start()
    commands = driver.commands()
    result = driver.turn(
        *(h.ActivityCompleted(c.number, f'"{c.number}"'.encode()) for c in commands)
    )
    assert isinstance(result.end, h.WorkflowCompleted)
    for _ in range(3):
        execution = driver.fresh()
        assert [execution.replay(h.decode_turn(t)) for t in driver.turns] == [None, None]
