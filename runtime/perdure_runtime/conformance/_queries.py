"""Queries and published state.

PYTEST_DONT_REWRITE
"""

from __future__ import annotations

import asyncio
import dataclasses
from typing import Any

from perdure import (
    InstanceNotFoundError,
    Query,
    QueryError,
    QueryWith,
    Signal,
    activity,
    publish,
    sleep,
    workflow,
)

from ._harness import Runner, after_turns, case, expect, expect_true, kinds_of, raised_by

progress = Query("progress", int)
names = QueryWith("names", str, list[str])
broken = Query("broken", int)
unknown = Query("unknown", int)
step = Signal("step", str)


@dataclasses.dataclass
class State:
    """What the workflow publishes."""

    done: int
    names: list[str]


@activity
async def one() -> int:
    return 1


@workflow
async def steps(count: int) -> int:
    state = State(0, [])

    @progress.handler
    def _() -> int:
        return state.done

    @names.handler
    def _(prefix: str) -> list[str]:
        return [name for name in state.names if name.startswith(prefix)]

    @broken.handler
    def _() -> int:
        raise KeyError("missing")

    publish(state)
    while state.done < count:
        state.names.append(await step.receive())
        state.done += await one()
        publish(state)
    return state.done


@case
async def queries_see_the_state_after_the_last_turn(run: Runner) -> None:
    async with run(workflows=[steps], activities=[one]) as app:
        handle = await app.start(steps, 2)
        await after_turns(handle, 1)
        expect(await handle.query(progress), 0, "at the start")
        await handle.signal(step, "anna")
        await after_turns(handle, 3)
        expect(await handle.query(progress), 1, "after a step")
        expect(await handle.query(names, "a"), ["anna"], "with an argument")
        expect(await handle.query(names, "b"), [], "with another one")
        await handle.signal(step, "berta")
        await handle.result()
        expect(await handle.query(progress), 2, "after the end")
        expect(await handle.query(names, "b"), ["berta"], "after the end, with an argument")


@case
async def queries_leave_nothing_in_the_history(run: Runner) -> None:
    async with run(workflows=[steps], activities=[one]) as app:
        handle = await app.start(steps, 1)
        await after_turns(handle, 1)
        before = await kinds_of(handle)
        await asyncio.gather(*[handle.query(progress) for _ in range(10)])
        expect(await kinds_of(handle), before, "history")
        await handle.signal(step, "x")
        expect(await handle.result(), 1, "result")


@case
async def a_query_without_an_answer_says_why(run: Runner) -> None:
    async with run(workflows=[steps], activities=[one]) as app:
        handle = await app.start(steps, 1)
        await after_turns(handle, 1)
        error = await raised_by(handle.query(broken), QueryError)
        expect(error.type, "KeyError", "what the handler raised")
        error = await raised_by(handle.query(unknown), QueryError)
        expect_true("progress" in error.failure.message, "what there is is named")
        nobody = app.client.handle("nobody", steps)
        await raised_by(nobody.query(progress), InstanceNotFoundError)
        await handle.terminate()


@case
async def a_query_without_a_worker_times_out_with_advice(run: Runner) -> None:
    async with run(workflows=[steps], activities=[one]) as app:
        handle = await app.start(steps, 1)
        await after_turns(handle, 1)
    client = await run.client()
    alone = client.handle(handle.id, steps)
    error = await raised_by(alone.query(progress, timeout=0.05), TimeoutError)
    expect_true("is a worker running" in str(error), "advice")
    state = await alone.published(State)
    expect(state, State(0, []), "published state needs no worker")


@workflow
async def impure(how: str) -> int:
    count = 0
    seen: list[int] = []

    @progress.handler
    def _() -> Any:
        nonlocal count
        if how == "schedules":
            one()
        elif how == "sleeps":
            asyncio.create_task(asyncio.sleep(1)).cancel()
        elif how == "counts":
            count += 1
        elif how == "appends":
            seen.append(1)
        elif how == "publishes":
            publish(1)
        return count

    await step.receive()
    return count + len(seen)


@case
async def a_query_that_changes_something_is_refused(run: Runner) -> None:
    async with run(workflows=[impure], activities=[one]) as app:
        for how in ("schedules", "counts", "appends", "publishes"):
            handle = await app.start(impure, how)
            await after_turns(handle, 1)
            for _ in range(2):
                error = await raised_by(handle.query(progress), QueryError)
                expect(error.type, "ReadOnlyError", how)
            await handle.signal(step, "x")
            expect(await handle.result(), 0, f"nothing was changed ({how})")


@workflow
async def publishes() -> None:
    publish("first")
    await sleep(0.001)
    publish("second")
    publish("third")
    await step.receive()


@case
async def published_state_is_that_of_the_last_turn(run: Runner) -> None:
    async with run(workflows=[publishes, unpublished], activities=[]) as app:
        handle = await app.start(publishes)
        await after_turns(handle, 2)
        expect(await handle.published(str), "third", "published state")
        await handle.terminate()
        expect(await handle.published(str), "third", "published state after the end")
        silent = await app.start(unpublished)
        expect(await silent.published(str), None, "nothing was published")
        await silent.terminate()


@workflow
async def unpublished() -> None:
    await step.receive()
