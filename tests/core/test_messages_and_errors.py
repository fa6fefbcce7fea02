"""The core's part of updates, queries, delivered errors, patches and local activities."""

from __future__ import annotations

import asyncio
import json
import logging
from typing import Any

import perdure._durable_errors as registry
import pytest
from perdure import (
    ActivityError,
    Failure,
    Query,
    Signal,
    Update,
    activity,
    deprecate_patch,
    durable_error,
    patched,
    publish,
    sleep,
    workflow,
)
from perdure_backends import history as h
from support import CoreDriver, kinds

go = Signal("go", None)
double = Update("double", int, int)
state = Query("state", int)


@durable_error
class TooBigError(Exception):
    def __init__(self, size: int) -> None:
        super().__init__(f"{size} is too big")
        self.size = size


@activity
async def act() -> int:
    return 1


@workflow
async def catches() -> str:
    try:
        await act()
    except TooBigError as error:
        return f"too big: {error.size}"
    except ActivityError as error:
        return f"activity: {error.type}"
    return "fine"


def failed(driver: CoreDriver, *, delivered: str | None = None) -> Any:
    """The result when the activity fails with a registered class."""
    failure = Failure("TooBigError", "5 is too big", fields={"size": b"5"})
    result = driver.turn(h.ActivityFailed(1, failure, delivered=delivered))
    end = result.end
    return json.loads(end.result) if isinstance(end, h.WorkflowCompleted) else result


def test_the_delivered_class_is_recorded_and_replayed() -> None:
    driver = CoreDriver(catches)
    driver.start()
    assert failed(driver) == "too big: 5"
    recorded = h.decode_turn(driver.turns[-1]).events[0]
    assert isinstance(recorded, h.ActivityFailed)
    assert recorded.delivered == "TooBigError"
    assert driver.replay() is None


def test_a_worker_that_does_not_know_the_class_parks(monkeypatch: pytest.MonkeyPatch) -> None:
    driver = CoreDriver(catches)
    driver.start()
    failed(driver)
    monkeypatch.setattr(registry, "_by_name", {})
    fault = driver.replay()
    assert fault is not None
    assert fault.reason == "payload"
    assert "durable_error" in fault.message


def test_what_was_delivered_as_perdures_own_error_stays_so(monkeypatch: pytest.MonkeyPatch) -> None:
    driver = CoreDriver(catches)
    with monkeypatch.context() as patch:
        patch.setattr(registry, "_by_name", {})
        driver.start()
        assert failed(driver) == "activity: TooBigError"
    # By now the class is known here; the replay takes the branch of then all the same.
    assert driver.replay() is None


def test_fields_that_do_not_fit_are_delivered_as_perdures_own_error() -> None:
    driver = CoreDriver(catches)
    driver.start()
    failure = Failure("TooBigError", "?", fields={"weight": b"5"})
    result = driver.turn(h.ActivityFailed(1, failure))
    assert isinstance(result.end, h.WorkflowCompleted)
    assert json.loads(result.end.result) == "activity: TooBigError"


# --- updates --------------------------------------------------------------------------------


@workflow
async def updatable() -> int:
    total = 0

    @double.validator
    def _(value: int) -> None:
        if value < 0:
            raise ValueError("negative")

    @double.handler
    async def _(value: int) -> int:
        nonlocal total
        await sleep(1)
        total += value
        return 2 * value

    @state.handler
    def _() -> int:
        return total

    await go.receive()
    return total


def update(name: str, value: object, update_id: str = "u") -> h.UpdateReceived:
    return h.UpdateReceived(update_id, name, json.dumps(value).encode())


def test_a_refused_update_makes_no_turn() -> None:
    driver = CoreDriver(updatable)
    driver.start()
    before = driver.execution.turn
    result = driver.execution.run_turn(driver.time, [update("double", -1), update("other", 1, "v")])
    assert result.events == []
    assert [(name, failure.type) for name, failure in result.rejected] == [
        ("u", "ValueError"),
        ("v", "UnknownUpdate"),
    ]
    assert driver.execution.turn == before


def test_a_refused_update_beside_others_leaves_no_event() -> None:
    driver = CoreDriver(updatable)
    driver.start()
    result = driver.turn(update("double", -1), update("double", 4, "v"))
    assert [h.tag_of(event) for event in result.events] == ["update_received", "timer_started"]
    result = driver.turn(h.TimerFired(1), advance=1)
    answered = result.events[-1]
    assert isinstance(answered, h.UpdateAnswered)
    assert (answered.update_id, answered.result) == ("v", b"8")
    assert driver.replay() is None


def test_the_end_waits_for_an_updates_handler() -> None:
    driver = CoreDriver(updatable)
    driver.start()
    result = driver.turn(update("double", 4), h.SignalReceived("go", b"null"))
    assert result.end is None
    result = driver.turn(h.TimerFired(1), advance=1)
    assert kinds(driver.commands()) == ["update_answered:2", "workflow_completed:3"]
    assert result.abandoned == ()
    assert driver.replay() is None


def test_cancelling_ends_handlers_that_the_end_waits_for() -> None:
    driver = CoreDriver(updatable)
    driver.start()
    driver.turn(update("double", 4), h.SignalReceived("go", b"null"))
    result = driver.turn(h.CancelRequested("enough"))
    assert kinds(driver.commands()) == [
        "timer_cancelled:1",
        "update_answered:2",
        "workflow_completed:3",
    ]
    assert result.end is not None
    assert driver.replay() is None


def test_an_update_after_the_end_of_the_same_turn_is_refused() -> None:
    driver = CoreDriver(updatable)
    driver.start()
    result = driver.turn(h.SignalReceived("go", b"null"), update("double", 4))
    assert result.end is not None
    assert [name for name, _ in result.rejected] == ["u"]
    assert driver.replay() is None


def test_code_without_the_handler_does_not_fit_the_history() -> None:
    @workflow(name="updatable")
    async def without() -> int:
        await go.receive()
        return 0

    driver = CoreDriver(updatable)
    driver.start()
    driver.turn(update("double", 4))
    fault = driver.replay(without)
    assert fault is not None
    assert fault.reason == "mismatch"
    assert "double" in fault.message


@workflow(unfinished_handlers="warn")
async def warns() -> None:
    @double.handler
    async def _(value: int) -> int:
        await sleep(3600)
        return value

    await go.receive()


def test_unfinished_handlers_are_named_once(caplog: pytest.LogCaptureFixture) -> None:
    driver = CoreDriver(warns)
    driver.start()
    with caplog.at_level(logging.WARNING):
        result = driver.turn(update("double", 1), h.SignalReceived("go", b"null"))
        assert result.abandoned == ("u",)
        assert driver.replay() is None
    assert [r.getMessage() for r in caplog.records].count(
        "workflow 'warns' (instance) ended while handlers were running: update 'double'"
    ) == 1


# --- queries --------------------------------------------------------------------------------


def test_queries_answer_without_leaving_anything() -> None:
    driver = CoreDriver(updatable)
    driver.start()
    driver.turn(update("double", 4))
    driver.turn(h.TimerFired(1), advance=1)
    assert driver.execution.query("state", None, {}) == b"4"
    unknown = driver.execution.query("nothing", None, {})
    assert isinstance(unknown, Failure)
    assert unknown.type == "UnknownQuery"
    assert driver.replay() is None
    assert not driver.execution.tainted


@workflow
async def wakes_in_query() -> None:
    event = asyncio.Event()

    async def waits() -> None:
        await event.wait()

    task = asyncio.create_task(waits())

    @state.handler
    def _() -> int:
        event.set()
        return 1

    await go.receive()
    await task


def test_a_query_that_wakes_a_task_taints_the_copy_in_memory() -> None:
    driver = CoreDriver(wakes_in_query)
    driver.start()
    answer = driver.execution.query("state", None, {})
    assert isinstance(answer, Failure)
    assert answer.type == "ReadOnlyError"
    assert driver.execution.tainted


# --- patches, published state, local activities ---------------------------------------------


def _patched(stage: str) -> Any:
    @workflow(name="stages")
    async def stages() -> list[str]:
        seen: list[str] = []
        if stage == "patched" and patched("change"):
            seen.append("new")
        if stage == "deprecated":
            deprecate_patch("change")
            seen.append("new")
        if stage == "gone":
            seen.append("new")
        await act()
        return seen

    return stages


def test_the_life_of_a_patch() -> None:
    marked, unmarked, after = (CoreDriver(_patched(s)) for s in ("patched", "before", "deprecated"))
    for driver in (marked, unmarked, after):
        driver.run(lambda _: 1)
    assert marked.replay(_patched("deprecated")) is None
    assert unmarked.replay(_patched("patched")) is None
    # Without a marker, the deprecated stage can't tell an old run from a new one: it is for when
    # no run of before is left.
    assert after.replay(_patched("gone")) is None
    fault = marked.replay(_patched("gone"))
    assert fault is not None
    assert fault.reason == "mismatch"


@workflow
async def publishes_twice() -> None:
    publish([1])
    publish([1, 2])
    await act()


def test_published_state_belongs_to_its_turn() -> None:
    driver = CoreDriver(publishes_twice)
    assert driver.start().published == b"[1,2]"
    assert driver.turn(h.ActivityCompleted(1, b"1")).published is None


@activity(local=True)
async def near() -> int:
    return 1


@workflow
async def goes_near() -> int:
    return await near() + await near()


def test_a_turn_goes_on_with_its_local_activities() -> None:
    driver = CoreDriver(goes_near)
    result = driver.start()
    driver.turns.clear()
    assert list(result.local) == [1]
    execution = driver.execution
    result = execution.extend_turn([h.ActivityCompleted(1, b"20")])
    assert list(result.local) == [2]
    result = execution.extend_turn([h.ActivityCompleted(2, b"22")])
    assert isinstance(result.end, h.WorkflowCompleted)
    assert result.end.result == b"42"
    assert execution.turn == 1
    driver.turns.append(h.encode_turn(1, execution.microseconds, result.events))
    assert driver.replay() is None


def test_a_local_call_made_queued_does_not_fit_its_history() -> None:
    @workflow(name="goes_near")
    async def goes_far() -> int:
        return await near.options(local=False)() + await near()

    driver = CoreDriver(goes_near)
    driver.start()
    fault = driver.replay(goes_far)
    assert fault is not None
    assert fault.reason == "mismatch"
