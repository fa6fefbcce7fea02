"""Waiting for several things: groups, select, channels, locks, limits, sagas, retries.

PYTEST_DONT_REWRITE
"""

from __future__ import annotations

import asyncio
import functools
from typing import Any

from perdure import (
    ActivityError,
    ApplicationError,
    Channel,
    ChannelClosedError,
    CompensationError,
    ResettableTimer,
    Retry,
    Saga,
    Signal,
    TaskGroup,
    WorkflowCancelledError,
    WorkflowFailedError,
    activity,
    activity_info,
    fan_out,
    now,
    select,
    sending,
    sleep,
    timer,
    wait_until,
    with_retries,
    workflow,
)
from perdure import (
    case as when,
)

from ._harness import FAST, Runner, after_turns, case, expect, expect_true, kinds_of, raised_by

word = Signal("word", str)


@activity(retry=Retry.never)
async def echo(text: str) -> str:
    return text


@activity(retry=Retry.never)
async def fails(text: str) -> str:
    raise ValueError(text)


@activity(retry=Retry.never)
async def slow(text: str) -> str:
    await asyncio.sleep(30)
    return text


ALL: list[Any] = [echo, fails, slow]


async def check(run: Runner, flow: Any, wanted: Any) -> None:
    """Runs a workflow and compares its result."""
    async with run(workflows=[flow], activities=ALL) as app:
        expect(await app.run(flow), wanted, flow.name)


# --- select ---------------------------------------------------------------------------------


@workflow
async def selects_in_order() -> list[str]:
    first, second = echo("a"), echo("b")
    await asyncio.gather(first, second)
    seen = [await select(when(second), when(first)) for _ in range(2)]
    seen.append(await select(when(first, lambda value: value * 2), when(second)))
    return seen


@case
async def select_tests_its_cases_in_the_order_given(run: Runner) -> None:
    await check(run, selects_in_order, ["b", "b", "aa"])


@workflow
async def selects_default() -> list[str]:
    pending = timer(3600)
    seen = [await select(when(pending, lambda _: "timer"), default=lambda: "nothing")]
    pending.cancel()
    soon = timer(0.002)
    seen.append(await select(when(word, str), when(soon, lambda _: "timer")))
    return seen


@case
async def select_has_a_default_and_waits_without_one(run: Runner) -> None:
    await check(run, selects_default, ["nothing", "timer"])


@workflow
async def selects_everything() -> list[str]:
    queue: asyncio.Queue[str] = asyncio.Queue()
    channel: Channel[str] = Channel()
    seen: list[str] = []

    async def feed() -> None:
        await sleep(0.001)
        await channel.send("from the channel")
        queue.put_nowait("from the queue")
        await sleep(0.001)
        deadline.reset(0.001)

    deadline = ResettableTimer(3600)
    task = asyncio.create_task(feed())
    while len(seen) < 3:
        seen.append(
            await select(
                when(word, lambda text: f"signal {text}"),
                when(channel),
                when(queue),
                when(deadline, lambda _: "deadline"),
            )
        )
    await task
    return seen


@case
async def select_takes_signals_channels_queues_and_timers(run: Runner) -> None:
    await check(run, selects_everything, ["from the channel", "from the queue", "deadline"])


@workflow
async def select_leaves_the_rest() -> list[str]:
    first = await select(when(word), when(timer(3600), lambda _: "timer"))
    return [first, await word.receive(), await word.receive()]


@case
async def select_takes_nothing_from_the_cases_that_lost(run: Runner) -> None:
    async with run(workflows=[select_leaves_the_rest], activities=[]) as app:
        handle = await app.start(select_leaves_the_rest)
        for text in ("a", "b", "c"):
            await handle.signal(word, text)
        expect(await handle.result(), ["a", "b", "c"], "signals in order")


@workflow
async def select_raises() -> str:
    try:
        return await select(when(fails("broken")), when(timer(3600), lambda _: "timer"))
    except ActivityError as error:
        return error.failure.message


@case
async def select_raises_what_its_case_raised(run: Runner) -> None:
    await check(run, select_raises, "broken")


def _numbered(number: int, text: str) -> tuple[int, str]:
    return number, text


@workflow
async def hundred_through_select() -> int:
    pending = {n: echo(str(n)) for n in range(100)}
    total = 0
    while pending:
        number, text = await select(
            *[when(future, functools.partial(_numbered, n)) for n, future in pending.items()]
        )
        del pending[number]
        total += int(text)
    return total


@case
async def a_hundred_activities_through_select(run: Runner) -> None:
    await check(run, hundred_through_select, 4950)


# --- channels -------------------------------------------------------------------------------


@workflow
async def uses_channels() -> list[str]:
    seen: list[str] = []
    unbuffered: Channel[int] = Channel()
    buffered: Channel[int] = Channel(2)

    async def produce() -> None:
        for number in range(3):
            await unbuffered.send(number)
            seen.append(f"sent {number}")
        unbuffered.close()

    task = asyncio.create_task(produce())
    await sleep(0.001)
    seen.append(f"{len(unbuffered)} waiting")
    async for number in unbuffered:
        seen.append(f"got {number}")
    await task
    buffered.send_nowait(1)
    await buffered.send(2)
    try:
        buffered.send_nowait(3)
    except asyncio.QueueFull:
        seen.append(f"full with {len(buffered)}")
    buffered.close()
    seen += [str(await buffered.receive()), str(buffered.receive_nowait())]
    try:
        await buffered.receive()
    except ChannelClosedError:
        seen.append("closed")
    try:
        await buffered.send(4)
    except ChannelClosedError:
        seen.append("closed for senders")
    return seen


@case
async def channels_pass_values_on_in_order(run: Runner) -> None:
    async with run(workflows=[uses_channels], activities=[]) as app:
        seen = await app.run(uses_channels)
        expect([x for x in seen if x.startswith("got")], ["got 0", "got 1", "got 2"], "received")
        expect(seen[0], "0 waiting", "an unbuffered channel holds nothing")
        wanted = ["full with 2", "1", "2", "closed", "closed for senders"]
        expect(seen[-5:], wanted, "a buffered channel")


@workflow
async def select_sends() -> list[str]:
    channel: Channel[int] = Channel()
    seen = [await select(sending(channel, 1, lambda: "sent"), default=lambda: "nobody there")]
    receiver = asyncio.create_task(channel.receive())
    await sleep(0)
    seen.append(await select(sending(channel, 2, lambda: "sent")))
    return [*seen, str(await receiver)]


@case
async def select_sends_when_somebody_receives(run: Runner) -> None:
    await check(run, select_sends, ["nobody there", "sent", "2"])


@workflow
async def cancelled_receiver() -> list[int]:
    channel: Channel[int] = Channel()
    receiver = asyncio.create_task(channel.receive())
    await sleep(0)
    channel.send_nowait(1)
    receiver.cancel()  # in the very moment in which the value has come
    await asyncio.wait([receiver])
    return [await channel.receive()]


@case
async def a_receiver_that_is_cancelled_loses_no_value(run: Runner) -> None:
    await check(run, cancelled_receiver, [1])


# --- asyncio --------------------------------------------------------------------------------


@workflow
async def group_fails() -> list[str]:
    seen: list[str] = []

    async def branch(name: str) -> None:
        try:
            await slow(name)
        except asyncio.CancelledError:
            seen.append(name)
            raise

    try:
        async with TaskGroup() as group:
            for name in "abcdef":
                group.create_task(branch(name))
            group.create_task(fails("first"))
    except ExceptionGroup as errors:
        seen.append(str(len(errors.exceptions)))
    return seen


@case
async def a_failing_group_cancels_its_members(run: Runner) -> None:
    async with run(workflows=[group_fails], activities=ALL) as app:
        seen = await app.run(group_fails)
        expect(sorted(seen), ["1", *"abcdef"], "cancelled members and one error")


@workflow
async def late_member() -> str:
    group = TaskGroup()
    async with group:
        pass
    late = sleep(0)
    try:
        group.create_task(late)
    except RuntimeError:
        late.close()
        return "refused"
    return "taken"


@case
async def a_group_that_has_ended_takes_nobody(run: Runner) -> None:
    await check(run, late_member, "refused")


@workflow
async def locks_and_semaphores() -> list[int]:
    lock, few = asyncio.Lock(), asyncio.Semaphore(2)
    running = most = 0
    order: list[int] = []

    async def one(number: int) -> None:
        nonlocal running, most
        async with few:
            running += 1
            most = max(most, running)
            await echo("x")
            running -= 1
        async with lock:
            order.append(number)
            await sleep(0.001)

    async with asyncio.TaskGroup() as group:
        for number in range(5):
            group.create_task(one(number))
    return [most, *sorted(order)]


@case
async def locks_and_semaphores_work_durably(run: Runner) -> None:
    await check(run, locks_and_semaphores, [2, 0, 1, 2, 3, 4])


@workflow
async def waits_with_limit() -> str:
    try:
        async with asyncio.timeout(0.005):
            await wait_until(lambda: False)
    except TimeoutError:
        pass
    reached = now()
    await wait_until(lambda: now() >= reached)
    try:
        return await asyncio.wait_for(slow("x"), 0.005)
    except TimeoutError:
        return "timed out"


@case
async def timeouts_limit_any_wait(run: Runner) -> None:
    await check(run, waits_with_limit, "timed out")


# --- fan-out, retries, sagas ----------------------------------------------------------------


@workflow
async def fans_out() -> list[str]:
    running = most = 0

    async def one(number: int) -> str:
        nonlocal running, most
        running += 1
        most = max(most, running)
        text = await echo(str(number))
        running -= 1
        return text

    found = await fan_out(one, range(20), limit=3)
    found.append(str(most))
    found += await fan_out(echo, ["x", "y"])
    mixed = await fan_out(
        lambda n: echo(str(n)) if n else fails("zero"), range(3), return_exceptions=True
    )
    found += [text if isinstance(text, str) else type(text).__name__ for text in mixed]
    return found


@case
async def fan_out_keeps_its_limit_and_the_order(run: Runner) -> None:
    wanted = [*map(str, range(20)), "3", "x", "y", "ActivityError", "1", "2"]
    await check(run, fans_out, wanted)


@workflow
async def fan_out_fails() -> list[str]:
    stopped: list[str] = []

    async def one(number: int) -> str:
        try:
            return await (slow(str(number)) if number else fails("zero"))
        except asyncio.CancelledError:
            stopped.append(str(number))
            raise

    try:
        await fan_out(one, range(10), limit=4)
    except ActivityError as error:
        stopped.append(error.failure.message)
    return stopped


@case
async def the_first_error_of_a_fan_out_cancels_the_rest(run: Runner) -> None:
    await check(run, fan_out_fails, ["1", "2", "3", "zero"])


@workflow
async def retries_code() -> list[str]:
    seen: list[str] = []

    async def attempt(number: int) -> str:
        seen.append(f"attempt {number}")
        if number < 3:
            raise ValueError("not yet")
        return await echo("done")

    seen.append(await with_retries(FAST, attempt))

    async def permanent(number: int) -> str:
        seen.append(f"permanent {number}")
        raise ApplicationError("no", retryable=False)

    try:
        await with_retries(FAST, permanent)
    except ApplicationError as error:
        seen.append(str(error))
    return seen


@case
async def any_code_can_be_retried(run: Runner) -> None:
    wanted = ["attempt 1", "attempt 2", "attempt 3", "done", "permanent 1", "no"]
    await check(run, retries_code, wanted)


@workflow
async def retries_are_cancelled() -> str:
    async def attempt(number: int) -> str:
        raise ValueError("never")

    return await with_retries(Retry(attempts=0, interval=3600), attempt)


@case
async def cancelling_ends_retries(run: Runner) -> None:
    async with run(workflows=[retries_are_cancelled], activities=[]) as app:
        handle = await app.start(retries_are_cancelled)
        await after_turns(handle, 1)
        await handle.cancel()
        await raised_by(handle.result(), WorkflowCancelledError)


done: list[str] = []


@activity(retry=FAST)
async def undo(text: str) -> None:
    done.append(f"{activity_info().instance_id} {text}")


@activity(retry=Retry.never)
async def undo_fails(text: str) -> None:
    raise ValueError(f"can't undo {text}")


@workflow
async def books(how: str) -> str:
    async with Saga() as saga:
        saga.add(undo, "flight")
        await echo("flight")
        if how == "bad undo":
            saga.add(undo_fails, "car")
        saga.add(undo, "hotel")
        await echo("hotel")
        if how == "cancel":
            await sleep(3600)
        if how != "well":
            await fails("no car")
    return "booked"


def undone(instance_id: str) -> list[str]:
    """What was undone for an instance, in order."""
    return [x.partition(" ")[2] for x in done if x.startswith(f"{instance_id} ")]


@case
async def a_saga_undoes_its_steps_in_reverse(run: Runner) -> None:
    async with run(workflows=[books], activities=[*ALL, undo, undo_fails]) as app:
        well = await app.start(books, "well")
        expect(await well.result(), "booked", "a saga that ends well")
        expect(undone(well.id), [], "nothing is undone then")
        failed = await app.start(books, "fail")
        error = await raised_by(failed.result(), WorkflowFailedError)
        expect(error.type, "ActivityError", "the error goes on")
        expect(undone(failed.id), ["hotel", "flight"], "undone in reverse")


@case
async def a_saga_that_is_cancelled_undoes_its_steps(run: Runner) -> None:
    async with run(workflows=[books], activities=[*ALL, undo, undo_fails]) as app:
        handle = await app.start(books, "cancel")
        await after_turns(handle, 3)
        await handle.cancel()
        await raised_by(handle.result(), WorkflowCancelledError)
        expect(undone(handle.id), ["hotel", "flight"], "undone in reverse")


@case
async def a_compensation_that_fails_does_not_stop_the_others(run: Runner) -> None:
    async with run(workflows=[books], activities=[*ALL, undo, undo_fails]) as app:
        handle = await app.start(books, "bad undo")
        error = await raised_by(handle.result(), WorkflowFailedError)
        expect(error.type, CompensationError.__name__, "what is raised")
        expect_true(error.failure.cause is not None, "why it was undone at all")
        expect(undone(handle.id), ["hotel", "flight"], "the others were undone")
        expect_true("activity_failed" in await kinds_of(handle), "the failed one is in the history")
