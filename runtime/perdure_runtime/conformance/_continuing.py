"""Continue-as-new.

PYTEST_DONT_REWRITE
"""

from __future__ import annotations

import asyncio

from perdure import Query, Signal, Update, activity, info, sleep, workflow
from perdure_backends.records import ListFilter

from ._harness import Runner, after_turns, case, expect, expect_true

item = Signal("item", int)
total = Query("total", int)
put = Update("put", int, int)


@activity
async def one() -> int:
    return 1


@workflow
async def counts(left: int, done: int) -> int:
    done += await one()
    if left > 1:
        counts.continue_as_new(left - 1, done)
    return done


@case
async def a_run_continues_as_a_new_one(run: Runner) -> None:
    async with run(workflows=[counts], activities=[one]) as app:
        handle = await app.start(counts.options(id="c"), 3, 0)
        expect(await handle.result(), 3, "result of the last run")
        first = await app.backend.describe("c", handle.run_id)
        expect(first.status.value if first else None, "continued_as_new", "state of the first run")
        latest = await app.backend.describe("c")
        expect_true(latest is not None and latest.run_id != handle.run_id, "a new run id")
        runs = [r async for r in app.client.list(ListFilter(id_prefix="c", all_runs=True))]
        expect(len(runs), 3, "runs under the id")


@workflow
async def has_counter() -> int:
    return await counts(3, 0)


@case
async def a_parent_gets_the_result_of_the_last_run(run: Runner) -> None:
    async with run(workflows=[has_counter, counts], activities=[one]) as app:
        expect(await app.run(has_counter), 3, "result")


@case
async def earlier_runs_go_with_their_instance(run: Runner) -> None:
    async with run(workflows=[counts], activities=[one]) as app:
        handle = await app.start(counts.options(id="c"), 3, 0)
        await handle.result()
        await app.client.handle("c", counts).remove()
        left = [r async for r in app.client.list(ListFilter(all_runs=True))]
        expect(left, [], "runs left")


@workflow
async def collects(seen: list[int]) -> list[int]:
    await sleep(0.005)
    seen = [*seen, await item.receive()]
    if len(seen) < 12:
        collects.continue_as_new(seen)
    return seen


@case
async def unread_signals_move_to_the_new_run_in_order(run: Runner) -> None:
    async with run(workflows=[collects], activities=[]) as app:
        handle = await app.start(collects, [])
        for number in range(12):
            await handle.signal(item, number)
        expect(await handle.result(), list(range(12)), "signals")


@workflow
async def loops(round: int) -> int:
    @total.handler
    def _() -> int:
        return round

    @put.handler
    async def _put(value: int) -> int:
        await one()
        return value + round

    await item.receive()
    if round < 2:
        loops.continue_as_new(round + 1)
    return round


@case
async def queries_and_updates_go_to_the_current_run(run: Runner) -> None:
    async with run(workflows=[loops], activities=[one]) as app:
        handle = await app.start(loops.options(id="loop"), 0)
        await after_turns(handle, 1)
        expect(await handle.query(total), 0, "first run")
        expect(await handle.update(put, 10), 10, "update of the first run")
        await handle.signal(item, 1)
        latest = app.client.handle("loop", loops)

        async def second() -> None:
            async with asyncio.timeout(10):
                while await latest.query(total) != 1:  # noqa: ASYNC110
                    await asyncio.sleep(0.005)

        await second()
        expect(await latest.update(put, 10), 11, "update of the second run")
        await latest.signal(item, 1)
        await latest.signal(item, 1)
        expect(await handle.result(), 2, "result")


@workflow
async def follows(seen: list[str]) -> list[str]:
    seen = [*seen, str(info().continued_from is not None)]
    if len(seen) < 2:
        follows.continue_as_new(seen)
    return seen


@case
async def a_run_knows_what_it_continues(run: Runner) -> None:
    async with run(workflows=[follows], activities=[]) as app:
        expect(await app.run(follows, []), ["False", "True"], "continued_from")
