"""Signals and updates.

PYTEST_DONT_REWRITE
"""

from __future__ import annotations

import asyncio
from typing import Any

from perdure import (
    InstanceFinishedError,
    InstanceNotFoundError,
    PayloadError,
    Signal,
    Update,
    UpdateFailedError,
    UpdateRejectedError,
    activity,
    any_signal_handler,
    durable_error,
    inject,
    sleep,
    wait_until,
    workflow,
)

from .._client import Client
from ._harness import Runner, after_turns, case, expect, expect_true, kinds_of, raised_by

number = Signal("number", int)
text = Signal("text", str)
stop = Signal("stop", None)
add_up = Update("add-up", int, int)
slowly = Update("slowly", int, int)


@durable_error
class TooMuchError(Exception):
    """An update of more than is allowed."""

    def __init__(self, most: int) -> None:
        super().__init__(f"at most {most}")
        self.most = most


# --- signals --------------------------------------------------------------------------------


@workflow
async def receives_late(count: int) -> list[int]:
    await sleep(0.02)
    return [await number.receive() for _ in range(count)]


@case
async def signals_before_the_workflow_listens_arrive_in_order(run: Runner) -> None:
    async with run(workflows=[receives_late], activities=[]) as app:
        handle = await app.start(receives_late, 250)
        for value in range(250):
            await handle.signal(number, value)
        expect(await handle.result(), list(range(250)), "signals")


@workflow
async def handles() -> list[int]:
    seen: list[int] = []
    await sleep(0.01)

    @number.handler
    def _(value: int) -> None:
        seen.append(value)

    await stop.receive()
    return seen


@case
async def a_handler_gets_what_waited_and_what_comes(run: Runner) -> None:
    async with run(workflows=[handles], activities=[]) as app:
        handle = await app.start(handles)
        for value in range(20):
            await handle.signal(number, value)
            if value == 9:
                await asyncio.sleep(0.02)
        await handle.signal(stop, None)
        expect(await handle.result(), list(range(20)), "signals")


@activity
async def one() -> int:
    return 1


@workflow
async def handles_slowly() -> list[int]:
    seen: list[int] = []

    @number.handler
    async def _(value: int) -> None:
        await one()
        seen.append(value)

    await stop.receive()
    return seen


@case
async def a_workflow_waits_for_its_handlers_at_the_end(run: Runner) -> None:
    async with run(workflows=[handles_slowly], activities=[one]) as app:
        handle = await app.start(handles_slowly)
        for value in range(5):
            await handle.signal(number, value)
        await handle.signal(stop, None)
        expect(sorted(await handle.result()), list(range(5)), "signals handled to the end")


@workflow(unfinished_handlers="abandon")
async def leaves_handlers() -> list[int]:
    seen: list[int] = []

    @number.handler
    async def _(value: int) -> None:
        await sleep(3600)
        seen.append(value)

    await stop.receive()
    return seen


@case
async def handlers_can_be_abandoned_at_the_end(run: Runner) -> None:
    async with run(workflows=[leaves_handlers], activities=[]) as app:
        handle = await app.start(leaves_handlers)
        await handle.signal(number, 1)
        await handle.signal(stop, None)
        expect(await handle.result(), [], "signals handled to the end")


@workflow
async def bad_handler() -> None:
    @number.handler
    def _(value: int) -> None:
        raise ValueError(f"can't take {value}")

    await stop.receive()


@case
async def a_signal_handler_that_raises_fails_the_workflow(run: Runner) -> None:
    async with run(workflows=[bad_handler], activities=[]) as app:
        handle = await app.start(bad_handler)
        await handle.signal(number, 5)
        error: Any = await raised_by(handle.result(), Exception)
        expect(error.failure.message, "can't take 5", "failure")


@workflow
async def takes_any() -> list[str]:
    seen: list[str] = []

    @any_signal_handler
    def _(name: str, payload: Any) -> None:
        seen.append(f"{name}={payload}")

    await stop.receive()
    return seen


@case
async def a_catch_all_gets_what_nobody_else_listens_to(run: Runner) -> None:
    async with run(workflows=[takes_any], activities=[]) as app:
        handle = await app.start(takes_any)
        await handle.signal(number, 1)
        await handle.signal(text, "x")
        await handle.signal(stop, None)
        expect(await handle.result(), ["number=1", "text=x"], "signals")


@workflow
async def waits(count: int) -> list[int]:
    return [await number.receive() for _ in range(count)]


@case
async def signal_with_start_does_both_in_one_step(run: Runner) -> None:
    async with run(workflows=[waits], activities=[]) as app:
        call = waits.options(id="w").bind(3)
        first = await app.client.signal_with_start(call, number, 1)
        second = await app.client.signal_with_start(call, number, 2, request_id="r")
        again = await app.client.signal_with_start(call, number, 2, request_id="r")
        expect(second.run_id, first.run_id, "the run that was there")
        await again.signal(number, 3)
        expect(await first.result(), [1, 2, 3], "signals, each once")


@activity
async def tells(instance_id: str, *, client: Client = inject()) -> None:
    await client.handle(instance_id, waits).signal(number, 42)


@workflow
async def has_itself_told() -> int:
    from perdure import info

    await tells(info().id)
    return await number.receive()


@case
async def an_activity_signals_a_workflow(run: Runner) -> None:
    async with run(workflows=[has_itself_told], activities=[tells]) as app:
        expect(await app.run(has_itself_told), 42, "signal")


@case
async def a_repeated_signal_is_taken_once(run: Runner) -> None:
    async with run(workflows=[waits], activities=[]) as app:
        handle = await app.start(waits, 2)
        for _ in range(3):
            await handle.signal(number, 1, request_id="same")
        await handle.signal(number, 2)
        expect(await handle.result(), [1, 2], "signals")
        await handle.signal(number, 1, request_id="same")  # also after the end


@case
async def a_payload_of_the_wrong_type_is_refused_by_the_sender(run: Runner) -> None:
    async with run(workflows=[waits], activities=[]) as app:
        handle = await app.start(waits, 1)
        wrong: Any = "text"
        await raised_by(handle.signal(number, wrong), PayloadError)
        await handle.signal(number, 1)
        await handle.result()


# --- updates --------------------------------------------------------------------------------


@workflow
async def account() -> int:
    balance = 0

    @add_up.handler
    def _(value: int) -> int:
        nonlocal balance
        balance += value
        return balance

    @add_up.validator
    def _(value: int) -> None:
        if value > 100:
            raise TooMuchError(100)

    @slowly.handler
    async def _(value: int) -> int:
        await one()
        if value < 0:
            raise ValueError("negative")
        return value * 10

    await wait_until(lambda: balance >= 100)
    return balance


@case
async def an_update_is_answered_with_its_result(run: Runner) -> None:
    async with run(workflows=[account], activities=[one]) as app:
        handle = await app.start(account)
        expect(await handle.update(add_up, 30), 30, "first update")
        expect(await handle.update(slowly, 4), 40, "update with an activity")
        expect(await handle.update(add_up, 70), 100, "second update")
        expect(await handle.result(), 100, "result")


@case
async def a_refused_update_leaves_no_trace(run: Runner) -> None:
    async with run(workflows=[account], activities=[one]) as app:
        handle = await app.start(account)
        expect(await handle.update(add_up, 1), 1, "an update before")
        before = await kinds_of(handle)
        error = await raised_by(handle.update(add_up, 500), UpdateRejectedError)
        cause = error.__cause__
        expect(type(cause), TooMuchError, "class of the reason")
        expect(cause.most, 100, "its field")
        expect(await kinds_of(handle), before, "history")
        unknown = Update("unknown", int, int)
        await raised_by(handle.update(unknown, 1), UpdateRejectedError)
        wrong: Any = Update("add-up", str, int)
        await raised_by(handle.update(wrong, "x"), UpdateRejectedError)
        expect(await handle.update(add_up, 99), 100, "the next update")
        expect(await handle.result(), 100, "result")


@case
async def an_update_whose_handler_raises_is_a_typed_failure(run: Runner) -> None:
    async with run(workflows=[account], activities=[one]) as app:
        handle = await app.start(account)
        error = await raised_by(handle.update(slowly, -1), UpdateFailedError)
        expect(error.type, "ValueError", "type of the failure")
        expect((await handle.describe()).state, "running", "the workflow goes on")
        await handle.terminate()


@case
async def an_update_is_carried_out_once_for_each_id(run: Runner) -> None:
    async with run(workflows=[account], activities=[one]) as app:
        handle = await app.start(account)
        for _ in range(3):
            expect(await handle.update(add_up, 30, id="same"), 30, "answer")
        expect(await handle.update(add_up, 70), 100, "balance")
        await handle.result()
        expect(await handle.update(add_up, 30, id="same"), 30, "the first answer after the end")
        await raised_by(handle.update(add_up, 1), InstanceFinishedError)
        sent = handle.update_handle(add_up, "same")
        expect(await sent.result(), 30, "answer by its handle")


@case
async def an_update_can_be_waited_for_later(run: Runner) -> None:
    async with run(workflows=[account], activities=[one]) as app:
        handle = await app.start(account)
        sent = await handle.start_update(slowly, 5)
        expect(await sent.result(10), 50, "result")
        await handle.terminate()
        nobody = app.client.handle("nobody", account)
        await raised_by(nobody.update(add_up, 1), InstanceNotFoundError)


@case
async def update_with_start_does_both(run: Runner) -> None:
    async with run(workflows=[account], activities=[one]) as app:
        call = account.options(id="a").bind()
        handle, balance = await app.client.update_with_start(call, add_up, 40)
        expect(balance, 40, "first update")
        same, balance = await app.client.update_with_start(call, add_up, 60)
        expect(balance, 100, "second update")
        expect(same.run_id, handle.run_id, "the run that was there")
        expect(await handle.result(), 100, "result")


@workflow(unfinished_handlers="abandon")
async def forgets_updates() -> int:
    @slowly.handler
    async def _(value: int) -> int:
        await sleep(3600)
        return value

    await stop.receive()
    return 1


@case
async def an_abandoned_update_fails_and_does_not_hang(run: Runner) -> None:
    async with run(workflows=[forgets_updates], activities=[]) as app:
        handle = await app.start(forgets_updates)
        sent = await handle.start_update(slowly, 1)
        await handle.signal(stop, None)
        error = await raised_by(sent.result(10), UpdateFailedError)
        expect(error.type, "UpdateAbandoned", "why")
        expect(await handle.result(), 1, "result")


@case
async def an_update_of_a_terminated_instance_does_not_hang(run: Runner) -> None:
    async with run(workflows=[forgets_updates], activities=[]) as app:
        handle = await app.start(forgets_updates)
        sent = await handle.start_update(slowly, 1)
        await handle.terminate()
        await raised_by(sent.result(10), UpdateFailedError)


@workflow
async def waits_for_updates() -> list[int]:
    seen: list[int] = []

    @slowly.handler
    async def _(value: int) -> int:
        await one()
        seen.append(value)
        return value

    await stop.receive()
    return seen


@case
async def updates_in_flight_are_answered_before_the_end(run: Runner) -> None:
    async with run(workflows=[waits_for_updates], activities=[one]) as app:
        handle = await app.start(waits_for_updates)
        await after_turns(handle, 1)
        sent = [await handle.send_update(slowly, n) for n in range(3)]
        await handle.signal(stop, None)
        expect([await one.result() for one in sent], [0, 1, 2], "answers")
        expect_true(sorted(await handle.result()) == [0, 1, 2], "all were carried out")


@workflow
async def two_wait() -> list[list[int]]:
    async def waits_for(count: int) -> list[int]:
        return [await number.receive() for _ in range(count)]

    async with asyncio.TaskGroup() as group:
        first, second = group.create_task(waits_for(2)), group.create_task(waits_for(2))
    return [first.result(), second.result()]


@case
async def tasks_that_wait_for_the_same_signal_take_turns(run: Runner) -> None:
    async with run(workflows=[two_wait], activities=[]) as app:
        handle = await app.start(two_wait)
        await after_turns(handle, 1)
        for value in range(4):
            await handle.signal(number, value)
        found = await handle.result()
        expect(sorted(found[0] + found[1]), [0, 1, 2, 3], "each signal once")
        expect(found, [sorted(found[0]), sorted(found[1])], "in order for each task")


@workflow
async def waits_in_vain() -> str:
    try:
        async with asyncio.timeout(0.01):
            await number.receive()
    except TimeoutError:
        return f"then {await number.receive()}"
    return "at once"


@case
async def a_wait_for_a_signal_can_time_out_and_loses_nothing(run: Runner) -> None:
    async with run(workflows=[waits_in_vain], activities=[]) as app:
        handle = await app.start(waits_in_vain)
        await after_turns(handle, 2)
        await handle.signal(number, 5)
        expect(await handle.result(), "then 5", "the signal that came later")
