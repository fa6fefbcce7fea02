"""Starting, results, timers, side effects, cancellation: a single workflow and its history.

PYTEST_DONT_REWRITE
"""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

from perdure import (
    ArgumentsError,
    ArgumentValueError,
    InstanceExistsError,
    InstanceFinishedError,
    InstanceNotFinishedError,
    InstanceNotFoundError,
    ResettableTimer,
    Signal,
    WorkflowCancelledError,
    WorkflowFailedError,
    WorkflowTerminatedError,
    activity,
    deprecate_patch,
    info,
    now,
    patched,
    random,
    shielded,
    side_effect,
    sleep,
    sleep_until,
    timer,
    uuid4,
    workflow,
)
from perdure_backends import history as h
from perdure_backends import new_id

from ._harness import (
    FAST,
    Runner,
    after_turns,
    case,
    expect,
    expect_true,
    kinds_of,
    parked,
    raised_by,
)

go_on = Signal("go-on", int)


@activity(retry=FAST)
async def add(a: int, b: int) -> int:
    return a + b


@workflow
async def adds(a: int, b: int) -> int:
    return await add(a, b)


@workflow
async def returns(value: int) -> int:
    return value


@case
async def a_workflow_returns_its_typed_result(run: Runner) -> None:
    async with run(workflows=[returns], activities=[]) as app:
        expect(await app.run(returns, 42), 42, "result")


@case
async def a_history_holds_exactly_what_happened(run: Runner) -> None:
    async with run(workflows=[adds], activities=[add]) as app:
        handle = await app.start(adds, 1, 2)
        await handle.result()
        wanted = [
            "workflow_started",
            "activity_scheduled",
            "activity_completed",
            "workflow_completed",
        ]
        expect(await kinds_of(handle), wanted, "history")


@case
async def a_workflow_that_no_worker_has_waits_and_is_shown(run: Runner) -> None:
    async with run(workflows=[returns], activities=[]) as app:
        handle = await app.start(adds, 1, 2)
        record, pending = await handle.describe(), await handle.pending()
        missing = await app.client.unoffered(record, pending)
        expect_true("no worker offers workflow" in " ".join(missing), "what nobody offers is named")
        async with run(workflows=[adds], activities=[add]):
            expect(await handle.result(), 3, "result once a worker comes")


@case
async def an_activity_that_no_worker_has_waits_and_is_shown(run: Runner) -> None:
    async with run(workflows=[adds], activities=[]) as app:
        handle = await app.start(adds, 1, 2)
        await after_turns(handle, 1)
        record, pending = await handle.describe(), await handle.pending()
        missing = await app.client.unoffered(record, pending)
        expect_true("no worker offers 'add'" in " ".join(missing), "what nobody offers is named")
        async with run(workflows=[], activities=[add]):
            expect(await handle.result(), 3, "result once a worker comes")


@case
async def arguments_that_do_not_fit_are_refused_at_the_start(run: Runner) -> None:
    client = await run.client()
    start: Any = client.start
    await raised_by(start(adds, 1), ArgumentsError)
    await raised_by(start(adds, 1, "two"), ArgumentValueError)


@workflow
async def calls_wrongly() -> str:
    call: Any = add
    try:
        await call(1, "two")
    except ArgumentValueError as error:
        return error.path
    return "nothing"


@case
async def arguments_that_do_not_fit_are_refused_at_the_call(run: Runner) -> None:
    async with run(workflows=[calls_wrongly], activities=[add]) as app:
        expect(await app.run(calls_wrongly), "b", "parameter at fault")


@workflow
async def hundred() -> int:
    return sum(await asyncio.gather(*[add(n, 1) for n in range(100)]))


@case
async def a_hundred_activities_at_once(run: Runner) -> None:
    async with run(workflows=[hundred], activities=[add]) as app:
        expect(await app.run(hundred), 5050, "sum")


calls: dict[str, int] = {}


@workflow
async def takes_side_effect(key: str) -> int:
    def effect() -> int:
        calls[key] = calls.get(key, 0) + 1
        return 7

    value = side_effect(effect, int)
    await add(1, 2)
    await sleep(0.001)
    return value + calls[key]


@case
async def a_side_effect_runs_once(run: Runner) -> None:
    async with run(workflows=[takes_side_effect], activities=[add]) as app:
        key = f"effect {new_id()}"
        expect(await app.run(takes_side_effect, key), 8, "value, and one call")


@workflow
async def looks_around() -> list[str]:
    seen = [str(now()), str(uuid4()), str(random("a").random()), str(uuid4()), str(len({1, 2}))]
    await add(1, 2)
    again = [str(random("b").random()), str(random("a").random())]
    await sleep(0.002)
    return seen + again


@case
async def time_and_randomness_are_the_same_at_each_replay(run: Runner) -> None:
    async with run(workflows=[looks_around], activities=[add]) as app:
        seen = await app.run(looks_around)
        expect(len(set(seen)), 7, "different values")


@workflow
async def sleeps() -> bool:
    before = now()
    await sleep(0.01, "first")
    await sleep_until(before + timedelta(milliseconds=15))
    await asyncio.sleep(0.001)
    await sleep(0)
    return now() - before >= timedelta(milliseconds=16)


@case
async def timers_fire_in_time(run: Runner) -> None:
    async with run(workflows=[sleeps], activities=[]) as app:
        handle = await app.start(sleeps)
        expect(await handle.result(), True, "time has passed")
        names = [
            event.name
            async for turn in handle.history()
            for event in turn.events
            if isinstance(event, h.TimerStarted)
        ]
        expect((names[0], names[-1]), ("first", ""), "names of timers")


@workflow
async def sleeps_long() -> str:
    try:
        await sleep(3600)
    except asyncio.CancelledError as error:
        return f"cancelled: {error.args[0]}"
    return "slept"


@case
async def cancelling_wakes_a_sleeping_workflow(run: Runner) -> None:
    async with run(workflows=[sleeps_long], activities=[]) as app:
        handle = await app.start(sleeps_long)
        await after_turns(handle, 1)
        await handle.cancel("enough")
        expect(await handle.result(), "cancelled: enough", "result")
        expect((await handle.pending()).timers, (), "timers left")


@workflow
async def cancels_timers(before_start: bool) -> list[bool]:
    first = timer(0.005, "kept")
    second = timer(3600, "dropped")
    if not before_start:
        await first
    second.cancel()
    second.cancel()
    await first
    return [second.cancelled(), first.done()]


@case
async def a_timer_cancelled_in_its_own_turn_is_never_stored(run: Runner) -> None:
    async with run(workflows=[cancels_timers], activities=[]) as app:
        handle = await app.start(cancels_timers, True)
        expect(await handle.result(), [True, True], "result")
        kinds = await kinds_of(handle)
        expect(kinds.count("timer_started"), 1, "timers in the history")
        expect(kinds.count("timer_cancelled"), 0, "cancellations in the history")


@case
async def a_timer_may_be_cancelled_twice_and_leaves_no_row(run: Runner) -> None:
    async with run(workflows=[cancels_timers], activities=[]) as app:
        handle = await app.start(cancels_timers, False)
        expect(await handle.result(), [True, True], "result")
        expect((await kinds_of(handle)).count("timer_cancelled"), 1, "cancellations")


@workflow
async def moves_a_timer() -> list[str]:
    seen: list[str] = []
    deadline = ResettableTimer(3600, "deadline")
    waiting = asyncio.create_task(deadline.wait())
    await sleep(0.002)
    deadline.reset(7200)
    seen.append(str(deadline.fired))
    deadline.reset(0.002)
    await waiting
    seen.append(str(deadline.fired))
    deadline.stop()
    seen.append(str(deadline.due))
    deadline.reset_until(now())
    await deadline.wait()
    return seen


@case
async def a_timer_can_be_moved(run: Runner) -> None:
    async with run(workflows=[moves_a_timer], activities=[]) as app:
        expect(await app.run(moves_a_timer), ["False", "True", "None"], "what was seen")


@workflow
async def cleans_up() -> int:
    try:
        await sleep(3600)
    finally:
        await add(1, 2)
        await shielded(sleep(0.002))
        await go_on.receive()
    return 1


@case
async def clean_up_runs_after_cancellation(run: Runner) -> None:
    async with run(workflows=[cleans_up], activities=[add]) as app:
        handle = await app.start(cleans_up)
        await after_turns(handle, 1)
        await handle.cancel()
        await handle.cancel()  # a repeat does not interrupt it
        await handle.signal(go_on, 1)
        await raised_by(handle.result(), WorkflowCancelledError)
        kinds = await kinds_of(handle)
        expect_true("activity_completed" in kinds, "the clean-up's activity ran")
        expect_true("timer_fired" in kinds, "the shielded sleep came to its end")


@case
async def messages_after_the_end_get_a_typed_error(run: Runner) -> None:
    async with run(workflows=[returns], activities=[]) as app:
        handle = await app.start(returns, 1)
        await handle.result()
        await raised_by(handle.signal(go_on, 1), InstanceFinishedError)
        await raised_by(handle.cancel(), InstanceFinishedError)
        nobody = app.client.handle("nobody", returns)
        await raised_by(nobody.signal(go_on, 1), InstanceNotFoundError)
        await raised_by(nobody.result(), InstanceNotFoundError)


@case
async def an_id_in_use_follows_the_policy(run: Runner) -> None:
    async with run(workflows=[sleeps_long, returns], activities=[]) as app:
        first = await app.start(sleeps_long.options(id="one"))
        await raised_by(app.start(sleeps_long.options(id="one")), InstanceExistsError)
        same = await app.start(sleeps_long.options(id="one", if_running="use_existing"))
        expect(same.run_id, first.run_id, "run in use")
        other = await app.start(returns.options(id="one", if_running="replace"), 5)
        expect(await other.result(), 5, "result of the replacement")
        await raised_by(first.result(), WorkflowTerminatedError)
        again = await app.start(returns.options(id="one"), 6)
        expect(await again.result(), 6, "result under the id of a finished one")
        refused = app.start(returns.options(id="one", if_finished="reject"), 7)
        await raised_by(refused, InstanceExistsError)


@case
async def a_finished_instance_can_be_removed(run: Runner) -> None:
    async with run(workflows=[returns, sleeps_long], activities=[]) as app:
        running = await app.start(sleeps_long)
        await raised_by(running.remove(), InstanceNotFinishedError)
        handle = await app.start(returns, 1)
        await handle.result()
        await handle.remove()
        await raised_by(handle.describe(), InstanceNotFoundError)
        await raised_by(handle.remove(), InstanceNotFoundError)


@case
async def terminating_ends_an_instance_at_once(run: Runner) -> None:
    async with run(workflows=[sleeps_long], activities=[]) as app:
        handle = await app.start(sleeps_long)
        await after_turns(handle, 1)
        await handle.terminate("because")
        error = await raised_by(handle.result(), WorkflowTerminatedError)
        expect(error.failure.message, "because", "reason")
        await raised_by(handle.terminate(), InstanceFinishedError)


@workflow
async def waits_for_signal() -> int:
    return await go_on.receive()


@case
async def a_suspended_instance_stands_still(run: Runner) -> None:
    async with run(workflows=[waits_for_signal], activities=[]) as app:
        handle = await app.start(waits_for_signal)
        await after_turns(handle, 1)
        await handle.suspend()
        await handle.signal(go_on, 4)
        expect((await handle.describe()).state, "suspended", "state")
        expect((await handle.pending()).inbox, 1, "messages that gather")
        await handle.resume()
        expect(await handle.result(), 4, "result after resuming")


@workflow
async def tells_of_itself() -> list[str]:
    about = info()
    await add(1, 2)
    later = info()
    return [
        about.id,
        about.workflow,
        str(about.version),
        about.queue,
        str(about.history_length),
        str(later.history_length),
        str(later.history_size > 0),
        str(later.continue_as_new_suggested),
        str(later.turn > about.turn),
    ]


@case
async def a_workflow_knows_about_itself(run: Runner) -> None:
    async with run(workflows=[tells_of_itself], activities=[add], queues=["quiet"]) as app:
        told = await app.run(tells_of_itself.options(id="me", queue="quiet"))
        wanted = ["me", "tells_of_itself", "1", "quiet", "1", "3", "True", "False", "True"]
        expect(told, wanted, "info()")


@case
async def queues_are_kept_apart(run: Runner) -> None:
    async with run(workflows=[returns], activities=[], queues=["a"]) as app:
        other = await app.start(returns.options(queue="b"), 1)
        mine = await app.start(returns.options(queue="a"), 2)
        expect(await mine.result(), 2, "result on the queue that is served")
        expect((await other.describe()).turn, 0, "turns on the other queue")
        async with run(workflows=[returns], activities=[], queues=["b"]):
            expect(await other.result(), 1, "result once its queue is served")


@workflow
async def changed() -> list[int]:
    done = [await add(1, 0)]
    if patched("second"):
        done.append(await add(2, 0))
    deprecate_patch("third")
    done.append(await add(3, 0))
    return done


@case
async def new_runs_take_the_patched_code(run: Runner) -> None:
    async with run(workflows=[changed], activities=[add]) as app:
        expect(await app.run(changed), [1, 2, 3], "what was done")


class Runaway:
    """Alternates between what it does: the second replay finds something else."""

    turns = 0


@workflow(name="runaway")
async def runaway() -> int:
    Runaway.turns += 1
    if Runaway.turns > 1:
        await sleep(0.001)
    else:
        await add(1, 2)
    return 1


@case
async def a_replay_that_differs_parks_the_instance(run: Runner) -> None:
    Runaway.turns = 0
    async with run(workflows=[runaway], activities=[add], cache_size=0) as app:
        handle = await app.start(runaway)
        park = await parked(handle)
        expect_true("activity 'add'" in park.details["expected"], "what was expected")
        expect_true("timer" in park.details["actual"], "what was done")
        await handle.terminate()


@workflow
async def grows() -> int:
    while True:
        await add(1, 2)


@case
async def a_history_over_the_limit_is_put_aside_with_advice(run: Runner) -> None:
    async with run(workflows=[grows], activities=[add], history_limit=10) as app:
        handle = await app.start(grows)
        park = await parked(handle)
        expect(park.reason, "history_limit", "reason")
        expect_true("continue_as_new" in park.message, "advice")
        await handle.terminate()


@workflow
async def raises() -> int:
    raise ValueError("out of range")


@case
async def a_workflow_that_raises_fails(run: Runner) -> None:
    async with run(workflows=[raises], activities=[]) as app:
        error = await raised_by(app.run(raises), WorkflowFailedError)
        expect((error.type, error.failure.message), ("ValueError", "out of range"), "failure")


@workflow(run_timeout=0.05)
async def times_out() -> None:
    await sleep(3600)


@case
async def a_run_timeout_ends_the_run(run: Runner) -> None:
    async with run(workflows=[times_out], activities=[]) as app:
        await raised_by(app.run(times_out), TimeoutError)


@workflow
async def leaves_things_pending() -> int:
    timer(3600)
    add.options(queue="nobody")(1, 2)
    task = asyncio.create_task(sleep(3600))
    return 1 + task.done()


@case
async def what_is_pending_at_the_end_is_dropped(run: Runner) -> None:
    async with run(workflows=[leaves_things_pending], activities=[add]) as app:
        handle = await app.start(leaves_things_pending)
        expect(await handle.result(), 1, "result")
        pending = await handle.pending()
        expect((pending.activities, pending.timers), ((), ()), "what is left")


@workflow
async def waits_for_nothing() -> None:
    await asyncio.get_running_loop().create_future()


@case
async def an_instance_that_waits_for_nothing_parks_with_its_line(run: Runner) -> None:
    async with run(workflows=[waits_for_nothing], activities=[]) as app:
        handle = await app.start(waits_for_nothing)
        park = await parked(handle)
        expect(park.reason, "stuck", "reason")
        expect_true("_workflows.py:" in park.message, "source line")
        await handle.terminate()


@case
async def statistics_follow_an_instance(run: Runner) -> None:
    async with run(workflows=[adds], activities=[]) as app:
        handle = await app.start(adds, 1, 2)
        await after_turns(handle, 1)
        running = [r.instance_id async for r in app.client.list()]
        expect(running, [handle.id], "instances")
        waiting = (await handle.pending()).activities
        expect([(a.name, a.state) for a in waiting], [("add", "waiting")], "activities")
        async with run(workflows=[], activities=[add]):
            await handle.result()
        expect((await handle.pending()).activities, (), "activities at the end")
