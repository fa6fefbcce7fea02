"""Things that happen in the very same turn, in either order; each history replays."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from perdure import (
    ActivityTimeoutError,
    ChildWorkflowError,
    Failure,
    Signal,
    Update,
    activity,
    sleep,
    workflow,
)
from perdure_backends import history as h
from perdure_runtime._core import TurnResult
from support import CoreDriver

go = Signal("go", int)
poke = Update("poke", int, int)
CANCEL = h.CancelRequested("enough")


@activity
async def act() -> int:
    return 1


@workflow
async def child() -> int:
    return 1


def value(result: TurnResult) -> Any:
    """The result of a run that has ended."""
    end = result.end
    assert isinstance(end, h.WorkflowCompleted), end
    return json.loads(end.result)


def both(flow: Any, one: h.Received, two: h.Received) -> list[Any]:
    """The results when two events come in one turn, in either order."""
    found: list[Any] = []
    for events in ((one, two), (two, one)):
        driver = CoreDriver(flow)
        driver.start()
        found.append(value(driver.turn(*events, advance=1)))
        assert driver.replay() is None
    return found


@workflow
async def sleeps() -> str:
    try:
        await sleep(1)
    except asyncio.CancelledError:
        return "cancelled"
    return "slept"


def test_cancel_and_fire() -> None:
    assert both(sleeps, CANCEL, h.TimerFired(1)) == ["cancelled", "slept"]


@workflow
async def cleans_up() -> str:
    try:
        await sleep(1)
    except asyncio.CancelledError:
        await act()
        return "clean"
    return "slept"


def test_cancel_twice_does_not_interrupt_the_clean_up() -> None:
    driver = CoreDriver(cleans_up)
    driver.start()
    driver.turn(CANCEL, CANCEL)
    driver.turn(CANCEL)
    assert value(driver.turn(h.ActivityCompleted(2, b"1"))) == "clean"
    assert driver.replay() is None


def test_cancel_in_the_first_turn_and_before_it() -> None:
    driver = CoreDriver(sleeps)
    start = driver._start  # pyright: ignore[reportPrivateUsage]
    assert value(driver.turn(start, CANCEL)) == "cancelled"
    assert driver.replay() is None
    # The store numbers messages: nothing can come before the start. Were it so, nothing happens.
    early = CoreDriver(sleeps)
    early.turn(CANCEL)
    assert early.execution.current_fault is None


@workflow
async def ends_on_go() -> list[int]:
    seen = [await go.receive()]
    try:
        seen.append(go.receive_nowait())
    except asyncio.QueueEmpty:
        pass
    return seen


def test_signal_and_completion() -> None:
    driver = CoreDriver(ends_on_go)
    driver.start()
    result = driver.turn(h.SignalReceived("go", b"1"), h.SignalReceived("go", b"2"))
    assert value(result) == [1]
    assert [h.tag_of(event) for event in result.events] == [
        "signal_received",
        "workflow_completed",
        "signal_received",  # recorded as unread
    ]
    assert driver.replay() is None


@workflow
async def goes_round() -> None:
    @poke.handler
    def _(value: int) -> int:
        return value

    await go.receive()
    goes_round.continue_as_new()


def test_update_during_continue_as_new() -> None:
    update = h.UpdateReceived("u", "poke", b"5")
    driver = CoreDriver(goes_round)
    driver.start()
    driver.turn(h.SignalReceived("go", b"1"), update)
    assert driver.execution.unread_messages() == [update]  # moves to the new run
    assert driver.replay() is None
    driver = CoreDriver(goes_round)
    driver.start()
    result = driver.turn(update, h.SignalReceived("go", b"1"))
    answered = [event for event in result.events if isinstance(event, h.UpdateAnswered)]
    assert [event.result for event in answered] == [b"5"]
    assert driver.execution.unread_messages() == []
    assert driver.replay() is None


@workflow
async def waits_for_child() -> str:
    try:
        return f"child {await child()}"
    except asyncio.CancelledError:
        return "cancelled"
    except ChildWorkflowError as error:
        return error.type


def test_child_and_cancellation() -> None:
    assert both(waits_for_child, CANCEL, h.ChildCompleted(1, b"1")) == ["cancelled", "child 1"]
    failed = h.ChildFailed(1, Failure("Broken", "x"))
    assert both(waits_for_child, CANCEL, failed) == ["cancelled", "Broken"]


@workflow
async def timer_or_result() -> str:
    try:
        return f"result {await asyncio.wait_for(act(), 1)}"
    except TimeoutError:
        return "timer"


def test_timer_and_result() -> None:
    # Commands are numbered as they are issued: the activity first, then wait_for's timer.
    done, fired = h.ActivityCompleted(1, b"1"), h.TimerFired(2)
    assert both(timer_or_result, done, fired) == ["result 1", "timer"]


@workflow
async def heartbeat_or_result() -> str:
    try:
        return f"result {await act()}"
    except ActivityTimeoutError:
        return "timed out"


def test_timeout_and_result() -> None:
    late = h.ActivityFailed(1, Failure("ActivityTimeoutError", "heartbeat"), "timeout")
    done = h.ActivityCompleted(1, b"1")
    assert both(heartbeat_or_result, done, late) == ["result 1", "timed out"]


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_update_and_completion(order: tuple[int, int]) -> None:
    @workflow(name="pokable")
    async def pokable() -> int:
        @poke.handler
        async def _(value: int) -> int:
            await sleep(1)
            return value

        return await go.receive()

    events: list[h.Received] = [
        h.UpdateReceived("u", "poke", b"5"),
        h.SignalReceived("go", b"1"),
    ]
    driver = CoreDriver(pokable)
    driver.start()
    result = driver.turn(*(events[index] for index in order))
    if order == (0, 1):
        assert result.end is None  # the end waits for the handler
        assert value(driver.turn(h.TimerFired(1), advance=1)) == 1
    else:
        assert [name for name, _ in result.rejected] == ["u"]
        assert value(result) == 1
    assert driver.replay() is None
