"""The test environment: go-workflows' tester's cases by meaning, and what goes beyond them."""

from __future__ import annotations

import asyncio
import threading
from datetime import UTC, datetime, timedelta

import perdure
import pytest
from perdure import (
    ApplicationError,
    ArgumentsError,
    Query,
    Retry,
    Signal,
    Update,
    UsageError,
    WorkflowCancelledError,
    WorkflowFailedError,
    activity,
    activity_info,
    now,
    sleep,
    workflow,
)
from perdure_backends import history as h
from perdure_runtime.testing import (
    Happened,
    SyncEnvironment,
    WorkflowBlockedError,
    WorkflowParkedError,
)

decision = Signal("decision", bool)
count = Query("count", int)
add = Update("add", int, int)


@activity
async def greet(name: str) -> str:
    return f"hello {name}"


@activity(retry=Retry(attempts=3, interval=60))
async def flaky() -> int:
    if activity_info().attempt < 3:
        raise ValueError(f"attempt {activity_info().attempt}")
    return activity_info().attempt


@activity
def in_thread(name: str) -> str:
    return f"{name} in {threading.current_thread() is threading.main_thread()}"


released: list[asyncio.Event] = []


@activity
async def real_work() -> str:
    await released[-1].wait()
    return "done"


@activity.declare(name="billing.charge")
def charge(amount: int) -> str:
    raise NotImplementedError


@workflow
async def greeting(name: str) -> str:
    return await greet(name)


@workflow
async def month() -> str:
    await sleep(timedelta(days=30))
    return now().isoformat()


@workflow
async def approval() -> bool:
    return await decision.receive()


@workflow
async def deadline() -> str:
    try:
        async with asyncio.timeout(3600):
            return str(await decision.receive())
    except TimeoutError:
        return "too late"


@workflow
async def family() -> list[str]:
    return [await greeting("child"), await greeting.options(id="second")("other")]


@workflow
async def retries() -> int:
    return await flaky()


@workflow
async def charges(amount: int) -> str:
    return await charge(amount)


@workflow
async def cleans_up() -> str:
    try:
        await sleep(timedelta(days=365))
    except asyncio.CancelledError:
        return await greet("after all")
    return "slept"


@workflow
async def forever() -> None:
    await sleep(timedelta(days=365))


@workflow
async def rounds(left: int) -> str:
    if left == 0:
        return now().isoformat()
    await sleep(60)
    return rounds.continue_as_new(left - 1)


@workflow
async def counter() -> int:
    total = 0

    @count.handler
    def _() -> int:
        return total

    @add.handler
    async def _(value: int) -> int:
        nonlocal total
        await sleep(10)
        total += value
        return total

    await decision.receive()
    return total


@workflow
async def tells(other: str) -> None:
    await perdure.instance(other).signal(decision, True)


@workflow
async def parent_of_approval() -> list[bool]:
    child = approval.options(id="child")()
    return [await child]


# --- running ----------------------------------------------------------------------------------


def test_a_workflow_runs_and_finds_its_activities_by_itself(perdure_env: SyncEnvironment) -> None:
    assert perdure_env.run(greeting, "bob") == "hello bob"
    assert perdure_env.run(family) == ["hello child", "hello other"]


def test_what_is_defined_in_the_test_is_found_too(perdure_env: SyncEnvironment) -> None:
    @activity
    async def double(value: int) -> int:
        return 2 * value

    @workflow
    async def twice(value: int) -> int:
        return await double(await double(value))

    assert perdure_env.run(twice, 3) == 12


def test_arguments_and_results_are_checked(perdure_env: SyncEnvironment) -> None:
    with pytest.raises(ArgumentsError):
        perdure_env.run(greeting, 3)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


def test_a_failing_workflow_raises_with_its_cause(perdure_env: SyncEnvironment) -> None:
    @workflow
    async def fails() -> None:
        raise ApplicationError("no money", type="NoMoney")

    with pytest.raises(WorkflowFailedError, match="no money"):
        perdure_env.run(fails)


def test_activities_in_threads(perdure_env: SyncEnvironment) -> None:
    @workflow
    async def threads() -> str:
        return await in_thread("main")

    assert perdure_env.run(threads) == "main in False"


@pytest.mark.perdure(replay_every_turn=True)
def test_every_turn_can_be_replayed(perdure_env: SyncEnvironment) -> None:
    assert perdure_env.run(family) == ["hello child", "hello other"]
    assert perdure_env.environment.worker.cached_instances == 0


# --- time -------------------------------------------------------------------------------------


def test_a_month_takes_no_time(perdure_env: SyncEnvironment) -> None:
    assert perdure_env.run(month) == "2025-01-31T00:00:00+00:00"
    assert perdure_env.now == datetime(2025, 1, 31, tzinfo=UTC)


@pytest.mark.perdure(start_time=datetime(2031, 5, 1, 12, 30, tzinfo=UTC))
def test_the_initial_time(perdure_env: SyncEnvironment) -> None:
    assert perdure_env.run(month) == "2031-05-31T12:30:00+00:00"


def test_retries_wait_in_virtual_time(perdure_env: SyncEnvironment) -> None:
    assert perdure_env.run(retries) == 3
    assert perdure_env.now == datetime(2025, 1, 1, 0, 2, tzinfo=UTC)


def test_timers_of_sub_workflows_and_of_a_continued_workflow(perdure_env: SyncEnvironment) -> None:
    assert perdure_env.run(rounds, 10) == "2025-01-01T00:10:00+00:00"


def test_time_stands_still_while_nobody_waits(perdure_env: SyncEnvironment) -> None:
    handle = perdure_env.start(month)
    perdure_env.settle()
    assert (handle.state(), perdure_env.now.day) == ("running", 1)
    perdure_env.advance(timedelta(days=29, hours=23))
    assert (handle.state(), perdure_env.now.day) == ("running", 30)
    perdure_env.advance_to(datetime(2025, 1, 31, tzinfo=UTC))
    assert handle.state() == "completed"


def test_several_timers_fire_in_their_order(perdure_env: SyncEnvironment) -> None:
    @workflow
    async def order() -> list[int]:
        seen: list[int] = []

        async def after(seconds: int) -> None:
            await sleep(seconds)
            seen.append(seconds)

        await asyncio.gather(after(30), after(10), after(20))
        return seen

    assert perdure_env.run(order) == [10, 20, 30]


def test_real_activities_let_real_time_pass(perdure_env: SyncEnvironment) -> None:
    @workflow
    async def race() -> str:
        work = real_work()
        try:
            async with asyncio.timeout(0.05):
                return await work
        except TimeoutError:
            return "timed out"

    async def waits() -> str:
        released.append(asyncio.Event())
        return await perdure_env.environment.run(race)

    assert perdure_env.call(waits()) == "timed out"


def test_a_callback_while_real_work_is_done(perdure_env: SyncEnvironment) -> None:
    @workflow
    async def works() -> str:
        return await real_work()

    async def main() -> str:
        released.append(asyncio.Event())
        perdure_env.call_later(0.02, released[-1].set)
        return await perdure_env.environment.run(works)

    assert perdure_env.call(main()) == "done"


def test_a_result_may_be_waited_for_so_long(perdure_env: SyncEnvironment) -> None:
    handle = perdure_env.start(month)
    with pytest.raises(TimeoutError):
        handle.result(timeout=timedelta(days=3))
    assert perdure_env.now == datetime(2025, 1, 4, tzinfo=UTC)
    assert handle.result().startswith("2025-01-31")


def test_a_time_that_was_not_needed_is_forgotten(perdure_env: SyncEnvironment) -> None:
    handle = perdure_env.start(month)
    handle.result(timeout=timedelta(days=300))
    with pytest.raises(WorkflowBlockedError):  # and no jump to an end that nobody waits for
        perdure_env.run(approval)
    assert perdure_env.now == datetime(2025, 1, 31, tzinfo=UTC)


# --- messages and cancellation ----------------------------------------------------------------


def test_signals_before_and_while_somebody_waits(perdure_env: SyncEnvironment) -> None:
    handle = perdure_env.start(approval)
    handle.signal(decision, True)
    assert handle.result() is True
    late = perdure_env.start(deadline)
    inside = perdure_env.environment.handle(late.id, deadline)
    perdure_env.call_later(3599, lambda: inside.signal(decision, False))
    assert late.result() == "False"
    assert perdure_env.run(deadline) == "too late"


def test_signals_to_a_sub_workflow(perdure_env: SyncEnvironment) -> None:
    handle = perdure_env.start(parent_of_approval)
    child = perdure_env.environment.handle("child", approval)
    perdure_env.call_later(60, lambda: child.signal(decision, True))
    assert handle.result() == [True]


def test_workflows_signal_each_other(perdure_env: SyncEnvironment) -> None:
    waits = perdure_env.start(approval.options(id="one"))
    perdure_env.run(tells, "one")
    assert waits.result() is True


def test_updates_and_queries(perdure_env: SyncEnvironment) -> None:
    handle = perdure_env.start(counter)
    assert handle.update(add, 3) == 3
    assert handle.query(count) == 3
    assert perdure_env.now == datetime(2025, 1, 1, 0, 0, 10, tzinfo=UTC)
    handle.signal(decision, True)
    assert handle.result() == 3


def test_cancellation_cleans_up(perdure_env: SyncEnvironment) -> None:
    handle = perdure_env.start(cleans_up)
    perdure_env.settle()
    handle.cancel("enough")
    assert handle.result() == "hello after all"
    other = perdure_env.start(forever)
    perdure_env.settle()
    other.cancel()
    with pytest.raises(WorkflowCancelledError):
        other.result()


# --- mocks ------------------------------------------------------------------------------------


def test_a_mock_returns_and_remembers(perdure_env: SyncEnvironment) -> None:
    mock = perdure_env.mock(greet).returns("mocked")
    assert perdure_env.run(greeting, "bob") == "mocked"
    mock.assert_called_once_with("bob")
    assert perdure_env.mock(greet) is mock
    with pytest.raises(AssertionError, match=r"was called with \('bob',?\), not with \('eve',?\)"):
        mock.assert_called_once_with("eve")
    with pytest.raises(AssertionError, match="was to be called twice, and was called once"):
        mock.assert_called(2)
    with pytest.raises(AssertionError, match="never called with"):
        mock.assert_called_with("eve")


def test_mocks_stand_for_what_is_only_declared(perdure_env: SyncEnvironment) -> None:
    perdure_env.mock(charge).returns_each("first", "second")
    assert perdure_env.run(charges, 1) == "first"
    assert perdure_env.run(charges, 2) == "second"
    with pytest.raises(WorkflowFailedError, match="does not know what to do"):
        perdure_env.run(charges, 3)


def test_mocks_fail_and_are_tried_again(perdure_env: SyncEnvironment) -> None:
    mock = perdure_env.mock(flaky).raises(ValueError("down"), times=2).returns(7)
    assert perdure_env.run(retries) == 7
    mock.assert_called(3)
    perdure_env.mock(flaky).raises(ValueError("down"))
    with pytest.raises(WorkflowFailedError, match="ActivityError: activity 'flaky' failed"):
        perdure_env.run(retries)


def test_fakes_run_and_are_checked(perdure_env: SyncEnvironment) -> None:
    async def fake(name: str) -> str:
        return name.upper()

    perdure_env.mock(greet).runs(fake)
    assert perdure_env.run(greeting, "bob") == "BOB"
    with pytest.raises(UsageError, match=r"can't be called as activity greet\(name: "):
        perdure_env.mock(greet).runs(lambda: "x")  # type: ignore[arg-type]  # pyright: ignore


def test_a_mock_of_the_wrong_type_is_refused_at_run_time(perdure_env: SyncEnvironment) -> None:
    perdure_env.mock(greet).returns(3)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    with pytest.raises(WorkflowFailedError, match="str"):
        perdure_env.run(greeting, "bob")


def test_sub_workflows_are_mocked(perdure_env: SyncEnvironment) -> None:
    mock = perdure_env.mock(greeting).returns_each("one", "two")
    assert perdure_env.run(family) == ["one", "two"]
    mock.assert_called(2)
    mock.raises(ApplicationError("no"))
    with pytest.raises(WorkflowFailedError, match="no"):
        perdure_env.run(family)


# --- blocked and put aside --------------------------------------------------------------------


def test_blocked_says_what_it_waits_for_and_where(perdure_env: SyncEnvironment) -> None:
    with pytest.raises(WorkflowBlockedError) as error:
        perdure_env.run(approval)
    assert "workflow 'approval'" in str(error.value)
    assert "return await decision.receive()" in str(error.value)
    with pytest.raises(WorkflowBlockedError, match=r"'billing.charge' is not known here: mock\(\)"):
        perdure_env.run(charges, 1)


def test_who_is_stuck_is_put_aside(perdure_env: SyncEnvironment) -> None:
    @workflow
    async def stuck() -> None:
        await asyncio.get_running_loop().create_future()

    with pytest.raises(WorkflowParkedError, match="can't happen") as error:
        perdure_env.run(stuck)
    assert error.value.reason == "stuck"


def test_what_the_guard_refuses(perdure_env: SyncEnvironment) -> None:
    import time

    @workflow
    async def clock() -> float:
        return time.time()

    with pytest.raises(WorkflowParkedError, match=r"time\.time"):
        perdure_env.run(clock)


@pytest.mark.perdure(history_limit=20)
def test_the_history_limit(perdure_env: SyncEnvironment) -> None:
    @workflow
    async def long() -> None:
        for _ in range(100):
            await sleep(1)

    with pytest.raises(WorkflowParkedError, match="limit of 20"):
        perdure_env.run(long)


def test_a_callback_that_raises_fails_the_test(perdure_env: SyncEnvironment) -> None:
    def bad() -> None:
        raise KeyError("oops")

    perdure_env.call_later(5, bad)
    with pytest.raises(UsageError, match="KeyError: 'oops'"):
        perdure_env.run(month)


# --- listening --------------------------------------------------------------------------------


def test_listeners_hear_of_all_that_starts_and_ends(perdure_env: SyncEnvironment) -> None:
    heard: list[Happened] = []
    perdure_env.listen(heard.append)
    perdure_env.run(deadline)
    kinds = [h.tag_of(one.event) for one in heard]
    assert kinds == [
        *("workflow_started", "timer_started"),
        *("timer_fired", "workflow_completed"),
    ]
    assert heard[-1].time - heard[0].time == timedelta(hours=1)


# --- life -------------------------------------------------------------------------------------


def test_the_asynchronous_environment_on_the_tests_own_loop(perdure_env: SyncEnvironment) -> None:
    async def main() -> None:
        with pytest.raises(UsageError, match="async test"):
            perdure_env.run(month)
        async with perdure_env as env:
            one, two = await asyncio.gather(env.run(month), env.run(greeting, "x"))
            assert (one, two) == ("2025-01-31T00:00:00+00:00", "hello x")

    asyncio.run(main())


def test_a_waiter_that_is_cancelled_leaves_the_others(perdure_env: SyncEnvironment) -> None:
    async def main() -> str:
        env = perdure_env.environment
        given_up = asyncio.ensure_future(env.run(approval))
        other = asyncio.ensure_future(env.run(month))
        await asyncio.sleep(0)
        given_up.cancel()
        return await other

    assert perdure_env.call(main()).startswith("2025-01-31")


def test_many_environments_are_quick_and_leave_nothing() -> None:
    before = threading.active_count()
    for _ in range(20):
        with SyncEnvironment() as env:
            assert env.run(greeting, "x") == "hello x"
    assert threading.active_count() <= before + 1
