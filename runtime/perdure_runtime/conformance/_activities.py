"""Activities: retries, time-outs, heartbeats, cancellation, local ones, other processes.

PYTEST_DONT_REWRITE
"""

from __future__ import annotations

import asyncio
import threading
import time
from typing import Any

from perdure import (
    ActivityError,
    ActivityGoneError,
    ActivityTimeoutError,
    ApplicationError,
    Retry,
    Signal,
    activity,
    activity_info,
    cancel_reason,
    complete_later,
    heartbeat,
    inject,
    is_cancelled,
    last_heartbeat,
    raise_if_cancelled,
    sleep,
    workflow,
)

from .._client import Client
from ._harness import (
    FAST,
    Runner,
    after_turns,
    case,
    eventually,
    expect,
    expect_true,
    kinds_of,
    raised_by,
)

go_on = Signal("go-on", None)
log: dict[str, list[str]] = {}


def note(text: str) -> None:
    """Notes something about the instance of the running activity."""
    log.setdefault(activity_info().instance_id, []).append(text)


# --- attempts -------------------------------------------------------------------------------


@activity(retry=FAST)
async def third_time() -> list[int]:
    about = activity_info()
    note(f"{about.attempt} {about.idempotency_key}")
    if about.attempt < 3:
        raise ValueError("not yet")
    return [about.attempt]


@workflow
async def tries(how: str) -> Any:
    if how == "third":
        return await third_time()
    try:
        return await raises.options(retry=FAST)(how)
    except ActivityError as error:
        return f"{error.type}: {error.failure.message}"


@activity
async def raises(how: str) -> str:
    note(how)
    if how == "permanent":
        raise ApplicationError("for good", type="Permanent", retryable=False)
    if how == "soon":
        if activity_info().attempt == 1:
            raise ApplicationError("again", retry_after=0.001)
        return "in time"
    if how == "exit":
        raise SystemExit(3)
    raise KeyError(how)


@case
async def the_attempt_counts_up_and_the_key_stays(run: Runner) -> None:
    async with run(workflows=[tries], activities=[third_time, raises]) as app:
        handle = await app.start(tries, "third")
        expect(await handle.result(), [3], "attempt")
        noted = [line.split(" ") for line in log[handle.id]]
        expect([line[0] for line in noted], ["1", "2", "3"], "attempts")
        expect(len({line[1] for line in noted}), 1, "idempotency keys")


@case
async def errors_decide_about_retries(run: Runner) -> None:
    async with run(workflows=[tries], activities=[third_time, raises]) as app:
        for how, result, count in (
            ("permanent", "Permanent: for good", 1),
            ("soon", "in time", 2),
            ("exit", "SystemExit: 3", 3),
            ("other", "KeyError: 'other'", 3),
        ):
            handle = await app.start(tries, how)
            expect(await handle.result(), result, how)
            expect(len(log[handle.id]), count, f"attempts of {how}")


# --- time-outs and heartbeats ---------------------------------------------------------------


@activity(retry=Retry.never)
async def hangs() -> None:
    await asyncio.sleep(30)


@workflow
async def times_out(which: str) -> str:
    options: dict[str, Any] = {which: 0.03}
    if which == "schedule_to_start":
        options["queue"] = "nobody-serves-it"
    try:
        await hangs.options(**options)()
    except ActivityTimeoutError as error:
        return error.failure.message.partition(" ")[2].partition(" ")[0]
    return "nothing"


@case
async def each_timeout_ends_an_activity(run: Runner) -> None:
    async with run(workflows=[times_out], activities=[hangs]) as app:
        for which in ("start_to_close", "schedule_to_close", "schedule_to_start", "heartbeat"):
            expect(await app.run(times_out, which), which, "which time-out has passed")


@activity(retry=Retry(interval=0.01), heartbeat=0.3)
async def remembers() -> str:
    if last_heartbeat() is None:  # the first one; or it was lost before its details were stored
        heartbeat({"done": 3})
        await asyncio.sleep(30)
    return f"{last_heartbeat()} {activity_info().progress}"


@workflow
async def goes_on_where_it_was() -> str:
    return await remembers()


@case
async def the_next_attempt_reads_what_the_last_one_left(run: Runner) -> None:
    async with run(workflows=[goes_on_where_it_was], activities=[remembers]) as app:
        expect(await app.run(goes_on_where_it_was), "{'done': 3} {'done': 3}", "details")


@activity(retry=Retry.never)
async def takes_a_while() -> str:
    for _ in range(45):
        await asyncio.sleep(0.04)
        heartbeat()
    return "done"


@workflow
async def is_patient() -> str:
    return await takes_a_while.options(heartbeat=1.2)()


@case
async def heartbeats_keep_an_activity_alive(run: Runner) -> None:
    async with run(workflows=[is_patient], activities=[takes_a_while], lease=1.2) as app:
        expect(await app.run(is_patient), "done", "result")


# --- cancellation ---------------------------------------------------------------------------


@activity(retry=Retry.never)
async def runs_async() -> None:
    note("started")
    try:
        await asyncio.sleep(30)
    except asyncio.CancelledError:
        note(f"cancelled: {cancel_reason()}")
        raise


@activity(retry=Retry.never)
def runs_in_thread() -> None:
    note("started")
    while not is_cancelled():
        time.sleep(0.002)
    note(f"cancelled: {cancel_reason()}")


@activity(retry=Retry.never)
def raises_in_thread() -> None:
    note("started")
    while True:
        raise_if_cancelled()
        time.sleep(0.002)


@workflow
async def cancels(what: str, how: Any) -> str:
    found = {"async": runs_async, "thread": runs_in_thread, "raise": raises_in_thread}[what]
    future = found.options(cancellation=how)()
    await go_on.receive()
    future.cancel()
    try:
        await future
    except asyncio.CancelledError:
        return "cancelled"
    return "ended"


@case
async def cancellation_reaches_a_running_activity_with_its_reason(run: Runner) -> None:
    activities = [runs_async, runs_in_thread, raises_in_thread]
    async with run(workflows=[cancels], activities=activities) as app:
        for what in ("async", "thread", "raise"):
            for how in ("try", "wait"):
                handle = await app.start(cancels, what, how)

                async def started(handle: Any = handle) -> bool:
                    return "started" in log.get(handle.id, [])

                await eventually(started, "the start of the activity")
                await handle.signal(go_on, None)
                expect(
                    await handle.result(),
                    "cancelled" if what != "thread" or how == "try" else "ended",
                    f"{what} {how}",
                )
                if what == "raise":
                    continue

                async def told(handle: Any = handle) -> bool:
                    return "cancelled: cancelled" in log[handle.id]

                await eventually(told, "the reason")


@case
async def an_abandoned_activity_goes_on_unheard(run: Runner) -> None:
    async with run(workflows=[cancels], activities=[runs_async]) as app:
        handle = await app.start(cancels, "async", "abandon")

        async def started() -> bool:
            return "started" in log.get(handle.id, [])

        await eventually(started, "the start of the activity")
        await handle.signal(go_on, None)
        expect(await handle.result(), "cancelled", "result")
        expect_true("activity_cancel_requested" not in await kinds_of(handle), "nothing was sent")


@case
async def terminating_stops_running_activities(run: Runner) -> None:
    async with run(workflows=[cancels], activities=[runs_async]) as app:
        handle = await app.start(cancels, "async", "try")

        async def started() -> bool:
            return "started" in log.get(handle.id, [])

        await eventually(started, "the start of the activity")
        await handle.terminate()

        async def stopped() -> bool:
            return any(line.startswith("cancelled") for line in log[handle.id])

        await eventually(stopped, "the end of the activity")


# --- from another process -------------------------------------------------------------------


tokens: dict[str, str] = {}


@activity(start_to_close=30, retry=FAST)
async def asks_somebody(question: str) -> str:
    tokens[activity_info().instance_id] = activity_info().token
    complete_later()


@workflow
async def asks(question: str) -> str:
    try:
        return await asks_somebody(question)
    except ActivityError as error:
        return f"{error.type}: {error.failure.message}"


async def token_of(instance_id: str, other_than: str = "") -> str:
    """The token, once the activity has given it."""

    async def known() -> bool:
        return tokens.get(instance_id, other_than) != other_than

    await eventually(known, "the token")
    return tokens[instance_id]


@case
async def an_activity_is_completed_from_elsewhere(run: Runner) -> None:
    async with run(workflows=[asks], activities=[asks_somebody]) as app:
        handle = await app.start(asks, "why?")
        waiting = app.client.activity(await token_of(handle.id), asks_somebody)

        async def detached() -> bool:
            return await waiting.heartbeat({"asked": "twice"})

        await eventually(detached, "a heartbeat that is heard")
        await waiting.complete("because")
        expect(await handle.result(), "because", "result")
        await raised_by(waiting.complete("again"), ActivityGoneError)
        expect(await waiting.heartbeat(), False, "heartbeat of what has ended")


@case
async def a_failure_from_elsewhere_follows_the_retry_policy(run: Runner) -> None:
    async with run(workflows=[asks], activities=[asks_somebody]) as app:
        handle = await app.start(asks, "why?")
        token = ""
        for number in range(3):
            token = await token_of(handle.id, token)
            await app.client.activity(token, asks_somebody).fail(ValueError(f"no {number}"))
        expect(await handle.result(), "ValueError: no 2", "result")


# --- local activities -----------------------------------------------------------------------


@activity(local=True, retry=FAST)
async def quick(value: int) -> int:
    if value < 0 and activity_info().attempt < 3:
        raise ValueError("not yet")
    if value == 0:
        raise ApplicationError("zero", retryable=False)
    return value + 1


@activity(local=True)
def quick_in_thread() -> bool:
    return threading.current_thread().name.startswith("perdure-activity")


@activity(local=True, start_to_close=0.02, retry=Retry.never)
async def too_slow() -> None:
    await asyncio.sleep(30)


@workflow
async def acts_locally() -> list[Any]:
    seen: list[Any] = [await quick(1)]
    seen += await asyncio.gather(quick(2), quick(3), quick(-1))
    seen.append(await quick_in_thread())
    try:
        await quick(0)
    except ActivityError as error:
        seen.append(error.failure.message)
    try:
        await too_slow()
    except ActivityTimeoutError:
        seen.append("too slow")
    future = too_slow.options(start_to_close=30)()
    future.cancel()
    await sleep(0.001)
    seen.append(await quick(9))
    return seen


@case
async def local_activities_run_within_the_turn(run: Runner) -> None:
    async with run(workflows=[acts_locally], activities=[quick, quick_in_thread, too_slow]) as app:
        handle = await app.start(acts_locally)
        expect(await handle.result(), [2, 3, 4, 0, True, "zero", "too slow", 10], "results")
        expect((await handle.describe()).turn, 2, "turns: before and after the timer")


@activity(local=True, retry=Retry(attempts=2, interval=0.001))
async def cancels_itself() -> int:
    note(f"{activity_info().attempt}")
    raise asyncio.CancelledError


@workflow
async def many_local() -> list[int]:
    try:
        await cancels_itself()
    except ActivityError:
        pass
    return await asyncio.gather(*[quick(n) for n in range(1, 30)])


@case
async def local_activities_wait_for_slots(run: Runner) -> None:
    async with run(
        workflows=[many_local], activities=[quick, cancels_itself], max_activities=3
    ) as app:
        handle = await app.start(many_local)
        expect(await handle.result(), list(range(2, 31)), "results")
        expect(log[handle.id], ["1", "2"], "attempts of one that cancels itself")


@workflow
async def ends_over_local() -> str:
    too_slow.options(start_to_close=30)()
    return "ended"


@case
async def a_workflow_can_end_over_its_local_activities(run: Runner) -> None:
    async with run(workflows=[ends_over_local], activities=[too_slow]) as app:
        expect(await app.run(ends_over_local), "ended", "result")


# --- queues ---------------------------------------------------------------------------------


order: list[int] = []


@activity(queue="important")
async def ranked(number: int) -> None:
    order.append(number)


@workflow
async def ranks() -> None:
    numbers = [1, 5, 3, 9, 7]
    await asyncio.gather(*[ranked.options(priority=n)(n) for n in numbers])


@case
async def the_greatest_priority_goes_first(run: Runner) -> None:
    order.clear()
    async with run(workflows=[ranks], activities=[]) as app:
        handle = await app.start(ranks)
        await after_turns(handle, 1)
        async with run(workflows=[], activities=[ranked], queues=["important"], max_activities=1):
            await handle.result()
    expect(order, [9, 7, 5, 3, 1], "order")


@activity(retry=Retry.never)
async def stamps() -> float:
    return asyncio.get_running_loop().time()


@workflow
async def stamps_often(count: int) -> list[float]:
    return sorted(await asyncio.gather(*[stamps() for _ in range(count)]))


# Limits say how early the last of many can start, counted from before the first was allowed. How
# far apart the starts themselves lie, they don't say: the first may be late, by a slow commit.


@case
async def a_queues_limit_holds_for_all_workers(run: Runner) -> None:
    async with (
        run(workflows=[stamps_often], activities=[stamps]) as app,
        run(workflows=[], activities=[stamps]),
    ):
        await app.client.limit_queue("default", 20, burst=1)
        begun = asyncio.get_running_loop().time()
        times = await app.run(stamps_often, 6)
        passed = times[-1] - begun
        # Half a start less than 5 / 20: the store and the process each have a clock.
        expect_true(passed >= 4.5 / 20, f"the last of six starts after {passed} s")
        await app.client.limit_queue("default", None)


@case
async def a_workers_rate_holds(run: Runner) -> None:
    begun = asyncio.get_running_loop().time()
    async with run(
        workflows=[stamps_often], activities=[stamps], max_activities_per_second=10
    ) as app:
        times = await app.run(stamps_often, 13)
        passed = times[-1] - begun
        expect_true(passed >= 2.5 / 10, f"the last above the burst starts after {passed} s")


# --- resources, other kinds -----------------------------------------------------------------


class Shop:
    """Shared state, and activities that use it."""

    def __init__(self) -> None:
        self.sold: list[str] = []

    @activity
    async def sell(self, what: str) -> int:
        self.sold.append(what)
        return len(self.sold)


@activity
async def prices(what: str, *, shop: Shop = inject(), client: Client = inject()) -> str:
    expect_true(client.converter, "the worker's own client is there")
    return f"{what} after {len(shop.sold)}"


@workflow
async def trades() -> list[Any]:
    return [await Shop.sell("tea"), await Shop.sell("tin"), await prices("tea")]


@case
async def activities_get_what_their_worker_was_given(run: Runner) -> None:
    shop = Shop()
    async with run(workflows=[trades], activities=[shop, prices], resources=[shop]) as app:
        expect(await app.run(trades), [1, 2, "tea after 2"], "results")


@activity.dynamic
async def anything(arguments: list[Any]) -> Any:
    return {"called": activity_info().activity, "with": arguments}


@workflow
async def calls_by_name() -> Any:
    return await activity.named("what-is-this")(1, "two")


@case
async def a_catch_all_runs_what_has_no_name_here(run: Runner) -> None:
    async with run(workflows=[calls_by_name], activities=[anything]) as app:
        wanted = {"called": "what-is-this", "with": [1, "two"]}
        expect(await app.run(calls_by_name), wanted, "result")
