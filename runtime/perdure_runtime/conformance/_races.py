"""Things that happen at the same time.

PYTEST_DONT_REWRITE
"""

from __future__ import annotations

import asyncio
from typing import Any

from perdure import (
    ActivityTimeoutError,
    ChildWorkflowError,
    InstanceFinishedError,
    InstanceNotFoundError,
    Retry,
    Signal,
    Update,
    UpdateError,
    WorkflowCancelledError,
    activity,
    sleep,
    timer,
    workflow,
)

from ._harness import Runner, after_turns, case, expect, expect_true, kinds_of, raised_by

ping = Signal("ping", int)
poke = Update("poke", int, int)


@activity(retry=Retry.never)
async def instant() -> int:
    return 1


@activity(retry=Retry.never)
async def naps(seconds: float) -> int:
    await asyncio.sleep(seconds)
    return 1


@workflow
async def races_a_timer() -> str:
    first, second = timer(0.003), timer(0.003)
    await first
    late = second.cancel()
    await sleep(0.004)
    return f"{late} {second.done()}"


@case
async def a_timer_cancelled_as_it_fires_stays_consistent(run: Runner) -> None:
    async with run(workflows=[races_a_timer], activities=[]) as app:
        handle = await app.start(races_a_timer)
        expect_true((await handle.result()) in ("True True", "False True"), "either way, but one")
        kinds = await kinds_of(handle)
        started = kinds.count("timer_started")
        ended = kinds.count("timer_fired") + kinds.count("timer_cancelled")
        expect_true(ended >= started, "each timer has an end")


@workflow
async def is_cancelled_as_it_sleeps() -> str:
    try:
        await sleep(0.02)
    except asyncio.CancelledError:
        return "cancelled"
    return "slept"


@case
async def cancellation_and_timer_at_once_give_one_of_both(run: Runner) -> None:
    async with run(workflows=[is_cancelled_as_it_sleeps], activities=[]) as app:
        handles = [await app.start(is_cancelled_as_it_sleeps) for _ in range(10)]
        await asyncio.sleep(0.015)
        for handle in handles:
            try:
                await handle.cancel()
            except InstanceFinishedError:
                pass
        results = {await handle.result() for handle in handles}
        expect_true(results <= {"cancelled", "slept"}, f"results: {results}")


@workflow
async def lets_go() -> None:
    await sleep(3600)


@case
async def cancelling_before_the_first_turn(run: Runner) -> None:
    client = await run.client()
    handle = await client.start(lets_go)
    await handle.cancel()
    await handle.cancel()
    async with run(workflows=[lets_go], activities=[]):
        await raised_by(handle.result(), WorkflowCancelledError)


@workflow
async def ends_on_ping(count: int) -> list[int]:
    seen = [await ping.receive() for _ in range(count)]
    while True:
        try:
            seen.append(ping.receive_nowait())
        except asyncio.QueueEmpty:
            return seen


@case
async def a_signal_that_comes_with_the_end_is_read_or_refused(run: Runner) -> None:
    async with run(workflows=[ends_on_ping], activities=[]) as app:
        for _ in range(5):
            handle = await app.start(ends_on_ping, 2)
            accepted: list[int] = []

            async def send(number: int, handle: Any = handle, into: Any = accepted) -> None:
                try:
                    await handle.signal(ping, number)
                    into.append(number)
                except InstanceFinishedError:
                    pass

            await asyncio.gather(*[send(number) for number in range(8)])
            while len(accepted) < 2:
                await send(99)
            seen = await handle.result()
            expect(len(set(seen)), len(seen), "nothing was read twice")
            expect_true(set(seen) <= set(accepted), "what was read was accepted")
            recorded = (await kinds_of(handle)).count("signal_received")
            expect(recorded, len(accepted), "what was accepted is in the history")


@workflow
async def goes_round(round: int) -> int:
    @poke.handler
    async def _(value: int) -> int:
        await sleep(0.001)
        return value

    await sleep(0.002)
    if round < 10:
        goes_round.continue_as_new(round + 1)
    await ping.receive()
    return round


@case
async def updates_during_continue_as_new_are_all_answered(run: Runner) -> None:
    async with run(workflows=[goes_round], activities=[]) as app:
        await app.start(goes_round.options(id="round"), 0)
        current = app.client.handle("round", goes_round)
        for value in range(15):
            expect(await current.update(poke, value), value, "answer")
        await current.signal(ping, 1)
        expect(await current.result(), 10, "result")


@workflow
async def child(seconds: float) -> str:
    await sleep(seconds)
    return "child ended"


@workflow
async def waits_for_child(seconds: float) -> str:
    try:
        return await child.options(id=None)(seconds)
    except asyncio.CancelledError:
        return "cancelled"
    except ChildWorkflowError as error:
        return error.type


@case
async def a_child_that_finishes_while_its_parent_is_cancelled(run: Runner) -> None:
    async with run(workflows=[waits_for_child, child], activities=[]) as app:
        handles = [await app.start(waits_for_child, 0.01) for _ in range(8)]
        await asyncio.sleep(0.01)
        for handle in handles:
            try:
                await handle.cancel()
            except (InstanceFinishedError, InstanceNotFoundError):
                pass
        results = {await handle.result() for handle in handles}
        expect_true(results <= {"cancelled", "child ended"}, f"results: {results}")


@workflow
async def timer_or_result() -> str:
    try:
        return f"result {await asyncio.wait_for(naps(0.01), 0.01)}"
    except TimeoutError:
        return "timer"


@case
async def a_timer_and_a_result_at_once_give_one_of_both(run: Runner) -> None:
    async with run(workflows=[timer_or_result], activities=[naps]) as app:
        results = {await app.run(timer_or_result) for _ in range(5)}
        expect_true(results <= {"timer", "result 1"}, f"results: {results}")


@workflow
async def runs_one(seconds: float) -> int:
    return await naps(seconds)


@case
async def terminating_while_an_activity_runs_drops_its_result(run: Runner) -> None:
    async with run(workflows=[runs_one], activities=[naps]) as app:
        handle = await app.start(runs_one, 0.3)
        await after_turns(handle, 1)
        await handle.terminate()
        before = await kinds_of(handle)
        await asyncio.sleep(0.35)
        expect(await kinds_of(handle), before, "history")
        expect((await handle.describe()).state, "terminated", "state")


@activity(retry=Retry.never, heartbeat=0.03)
async def silent(seconds: float) -> int:
    await asyncio.sleep(seconds)
    return 1


@workflow
async def heartbeat_or_result() -> str:
    try:
        return f"result {await silent(0.03)}"
    except ActivityTimeoutError:
        return "timed out"


@case
async def a_heartbeat_timeout_and_a_result_at_once_give_one_of_both(run: Runner) -> None:
    async with run(workflows=[heartbeat_or_result], activities=[silent]) as app:
        results = {await app.run(heartbeat_or_result) for _ in range(4)}
        expect_true(results <= {"timed out", "result 1"}, f"results: {results}")


@workflow
async def takes_pokes() -> int:
    @poke.handler
    async def _(value: int) -> int:
        await instant()
        return value

    return await ping.receive()


@case
async def updates_and_the_end_at_once_are_answered_or_refused(run: Runner) -> None:
    async with run(workflows=[takes_pokes], activities=[instant]) as app:
        handle = await app.start(takes_pokes)
        await after_turns(handle, 1)

        async def send(value: int) -> int | None:
            try:
                return await handle.update(poke, value, timeout=10)
            except (InstanceFinishedError, UpdateError):
                return None

        sent = [asyncio.create_task(send(value)) for value in range(10)]
        await asyncio.sleep(0)
        await handle.signal(ping, 7)
        answers = await asyncio.gather(*sent)
        expect(await handle.result(), 7, "result")
        wrong = [a for n, a in enumerate(answers) if a not in (n, None)]
        expect(wrong, [], "wrong answers")
