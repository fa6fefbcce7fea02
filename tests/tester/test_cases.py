"""The cases of go-workflows' tester by meaning; each in the test kit and on every real store."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextvars import ContextVar
from pathlib import Path

import pytest
from perdure import (
    ActivityError,
    ApplicationError,
    Propagate,
    Retry,
    Signal,
    WorkflowCancelledError,
    WorkflowError,
    activity,
    case,
    info,
    select,
    sleep,
    workflow,
)
from perdure_runtime.testing import SyncEnvironment, SyncStoreEnvironment
from stores import STORES, store_url

AnyEnvironment = SyncEnvironment | SyncStoreEnvironment

tenant: ContextVar[str] = ContextVar("tenant", default="nobody")
go_on = Signal("go_on", int)
PROPAGATE = [Propagate(tenant, str)]


@pytest.fixture(params=["kit", *STORES])
def env(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[AnyEnvironment]:
    """The same surface over virtual time in memory, and over real time on a store."""
    if request.param == "kit":
        with SyncEnvironment(middleware=PROPAGATE) as kit:
            yield kit
    else:
        url = store_url(request.param, tmp_path)
        with SyncStoreEnvironment(url, middleware=PROPAGATE) as real:
            yield real


QUICK = Retry(interval=0.001, attempts=3)


@activity(retry=QUICK)
async def work(number: int) -> int:
    raise NotImplementedError


@activity
async def whose() -> str:
    return tenant.get()


@workflow
async def calls(number: int) -> int:
    return await work(number)


@workflow
async def parent(number: int) -> int:
    return await calls(number) + 1


def test_an_activity_that_always_fails(env: AnyEnvironment) -> None:
    mock = env.mock(work).raises(ValueError("no"))
    with pytest.raises(WorkflowError, match="no"):
        env.run(calls, 1)
    mock.assert_called(3)


def test_a_permanent_failure_is_not_tried_again(env: AnyEnvironment) -> None:
    mock = env.mock(work).raises(ApplicationError("never", retryable=False))
    with pytest.raises(WorkflowError, match="never"):
        env.run(calls, 1)
    mock.assert_called(1)


def test_failing_twice_is_forgiven(env: AnyEnvironment) -> None:
    mock = env.mock(work).raises(ValueError("not yet"), times=2).returns(7)
    assert env.run(calls, 1) == 7
    mock.assert_called(3)


def test_a_mocked_sub_workflow(env: AnyEnvironment) -> None:
    env.mock(calls).returns(41)
    env.mock(work)
    assert env.run(parent, 5) == 42


def test_a_mocked_sub_workflow_that_fails(env: AnyEnvironment) -> None:
    env.mock(calls).raises(ValueError("the child"))
    with pytest.raises(WorkflowError, match="the child"):
        env.run(parent, 5)


@workflow
async def waits() -> int:
    return await go_on.receive()


@workflow
async def cancels_its_child() -> str:
    child = asyncio.ensure_future(waits())
    await sleep(0.001)
    child.cancel()
    try:
        await child
    except asyncio.CancelledError:
        return "cancelled"
    return "not cancelled"


def test_a_sub_workflow_is_cancelled(env: AnyEnvironment) -> None:
    assert env.run(cancels_its_child) == "cancelled"


@workflow
async def begins_again(left: int, total: int) -> int:
    if left == 0:
        return total
    await sleep(0.001)
    return begins_again.continue_as_new(left - 1, total + left)


@workflow
async def begins_again_inside(left: int) -> int:
    return await begins_again(left, 0)


def test_continue_as_new(env: AnyEnvironment) -> None:
    assert env.run(begins_again, 3, 0) == 6
    assert env.run(begins_again_inside, 3) == 6


@workflow
async def asks_whose() -> str:
    return f"{tenant.get()} {await whose()}"


def test_context_is_propagated(env: AnyEnvironment) -> None:
    token = tenant.set("ada")
    try:
        assert env.run(asks_whose) == "ada ada"
    finally:
        tenant.reset(token)
    assert env.run(asks_whose) == "nobody nobody"


@workflow
async def counts_events() -> list[int]:
    lengths = [info().history_length]
    await sleep(0.001)
    lengths.append(info().history_length)
    return lengths


def test_the_length_of_the_history(env: AnyEnvironment) -> None:
    first, second = env.run(counts_events)
    assert first < second == first + 2


@workflow
async def races() -> str:
    return await select(case(go_on, lambda _: "signal"), case(work(1), lambda _: "activity"))


def test_a_signal_races_with_an_activity(env: AnyEnvironment) -> None:
    started = asyncio.Event()

    async def never(number: int) -> int:
        started.set()
        await asyncio.Event().wait()
        return number

    env.mock(work).runs(never)
    handle = env.start(races)
    env.call(started.wait())
    handle.signal(go_on, 1)
    assert handle.result() == "signal"


@workflow
async def waits_long() -> str:
    await sleep(0.05)
    return "woken"


@workflow
async def gives_up_a_timer() -> str:
    timer = asyncio.ensure_future(sleep(3600))
    await sleep(0.001)
    timer.cancel()
    return "not waited for"


@workflow
async def leaves_a_timer() -> str:
    hanging = asyncio.ensure_future(sleep(3600))
    await sleep(0.001)
    return f"{hanging.done()}"


def test_timers(env: AnyEnvironment) -> None:
    assert env.run(waits_long) == "woken"
    assert env.run(gives_up_a_timer) == "not waited for"
    assert env.run(leaves_a_timer) == "False"


@workflow
async def panics() -> None:
    raise RecursionError("too deep")


@workflow
async def survives() -> str:
    try:
        await panics()
    except Exception as error:
        return type(error).__name__
    return "nothing"


def test_a_panic(env: AnyEnvironment) -> None:
    with pytest.raises(WorkflowError, match="too deep"):
        env.run(panics)
    assert "Error" in env.run(survives)


@workflow
async def retries_long() -> str:
    try:
        await work.options(retry=Retry(interval=3600, attempts=9))(1)
    except ActivityError:
        return "failed"
    return "done"


def test_cancelled_while_a_retry_waits(env: AnyEnvironment) -> None:
    failed = asyncio.Event()

    async def fails(number: int) -> int:
        failed.set()
        raise ValueError("again")

    env.mock(work).runs(fails)
    handle = env.start(retries_long)
    env.call(failed.wait())
    handle.cancel()
    with pytest.raises(WorkflowCancelledError):
        handle.result()


def test_cancelled_before_it_has_begun(env: AnyEnvironment) -> None:
    mock = env.mock(work).returns(1)
    handle = env.start(waits)
    handle.cancel()
    with pytest.raises(WorkflowCancelledError):
        handle.result()
    mock.assert_not_called()
