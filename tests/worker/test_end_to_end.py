"""What users do: start, wait, signal, cancel, steer; on every store."""

from __future__ import annotations

import asyncio
import dataclasses
import threading
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from conftest import Run
from perdure import (
    ActivityError,
    ActivityTimeoutError,
    ApplicationError,
    ArgumentsError,
    ArgumentValueError,
    ChildWorkflowError,
    InstanceExistsError,
    InstanceFinishedError,
    InstanceNotFinishedError,
    InstanceNotFoundError,
    Retry,
    Signal,
    SignalError,
    WorkflowCancelledError,
    WorkflowFailedError,
    WorkflowTerminatedError,
    WorkflowTimeoutError,
    activity,
    activity_info,
    heartbeat,
    is_cancelled,
    last_heartbeat,
    sleep,
    workflow,
)
from perdure_backends import history as h
from perdure_runtime import ListFilter
from process_activities import in_process, kills_its_process

FAST = Retry(attempts=3, interval=0.01)


async def eventually(condition: Callable[[], Awaitable[Any]]) -> None:
    """Waits until something holds."""
    async with asyncio.timeout(30):
        while not await condition():  # noqa: ASYNC110  (seen from outside, by polling)
            await asyncio.sleep(0.005)


@dataclasses.dataclass
class Order:
    price: Decimal
    placed: datetime
    key: UUID
    tags: set[str]
    note: str | None = None


@activity
async def add(a: int, b: int) -> int:
    return a + b


@activity
def in_thread(order: Order) -> Order:
    assert threading.current_thread().name.startswith("perdure-activity")
    return dataclasses.replace(order, note="seen")


class Service:
    def __init__(self, name: str) -> None:
        self.name = name

    @activity
    async def greet(self, whom: str) -> str:
        return f"{self.name} greets {whom}"

    @activity
    def wave(self) -> str:
        return f"{self.name} waves"


@workflow
async def sums(a: int, b: int) -> int:
    return await add(await add(a, b), 1)


def test_a_workflow_and_its_history(run: Run) -> None:
    async def main() -> None:
        async with run(workflows=[sums], activities=[add]) as app:
            handle = await app.start(sums.options(id="a"), 1, 2)
            assert await handle.result() == 4
            kinds = [h.tag_of(event) async for turn in handle.history() for event in turn.events]
            assert kinds == [
                "workflow_started",
                "activity_scheduled",
                "activity_completed",
                "activity_scheduled",
                "activity_completed",
                "workflow_completed",
            ]
            record = await handle.describe()
            assert (record.state, record.events, record.turn) == ("completed", 6, 3)

    asyncio.run(main())


@workflow
async def kinds_of_activities(order: Order) -> list[str]:
    seen = await in_thread(order)
    assert seen.price == order.price
    assert seen.tags == order.tags
    return [
        str(seen.note),
        await in_process(5),
        await Service.greet("Ada"),
        await Service.wave.options(retry=FAST)(),
    ]


def test_threads_processes_and_methods(run: Run) -> None:
    async def main() -> None:
        order = Order(Decimal("1.10"), datetime.now(UTC), UUID(int=5), {"b", "a"})
        service = Service("Bob")
        async with run(
            workflows=[kinds_of_activities], activities=[in_thread, in_process, service]
        ) as app:
            assert await app.run(kinds_of_activities, order) == [
                "seen",
                "5 in SpawnProcess",
                "Bob greets Ada",
                "Bob waves",
            ]

    asyncio.run(main())


@workflow
async def crashes_the_pool() -> str:
    first = "no error"
    try:
        await kills_its_process()
    except ActivityError as error:
        first = error.type
    return first + " " + await in_process(1)


def test_a_process_pool_that_breaks_is_made_anew(run: Run) -> None:
    async def main() -> None:
        async with run(
            workflows=[crashes_the_pool], activities=[kills_its_process, in_process]
        ) as app:
            assert await app.run(crashes_the_pool) == "ProcessCrashed 1 in SpawnProcess"

    asyncio.run(main())


attempts: list[int] = []


@activity(retry=FAST)
async def succeeds_late() -> int:
    info = activity_info()
    attempts.append(info.attempt)
    if info.attempt < 3:
        raise ValueError("not yet")
    return info.attempt


class Unpicklable(Exception):  # noqa: N818
    def __init__(self) -> None:
        super().__init__("has a lock")
        self.lock = threading.Lock()


@activity(retry=FAST)
async def raises(kind: str) -> None:
    attempts.append(activity_info().attempt)
    if kind == "permanent":
        raise ApplicationError("for good", type="Permanent", retryable=False)
    if kind == "unpicklable":
        raise Unpicklable
    if kind == "exit":
        raise SystemExit(3)
    if kind == "interrupt":
        raise KeyboardInterrupt
    if kind == "chained":
        try:
            raise KeyError("inner")
        except KeyError as error:
            raise ValueError("outer") from error


@activity(retry=FAST)
async def returns_the_wrong_type() -> int:
    attempts.append(1)
    return "text"  # type: ignore[return-value]  # pyright: ignore[reportReturnType]  # the point


@workflow
async def retries() -> int:
    return await succeeds_late()


@workflow
async def reports(kind: str) -> list[str]:
    try:
        await raises(kind)
    except ActivityError as error:
        chain: list[str] = []
        cause: BaseException | None = error
        while cause is not None:
            chain.append(str(getattr(cause, "type", "")))
            cause = cause.__cause__
        return chain
    return []


@workflow
async def gets_the_wrong_type() -> int:
    return await returns_the_wrong_type()


def test_attempts_count_up(run: Run) -> None:
    async def main() -> None:
        attempts.clear()
        async with run(workflows=[retries], activities=[succeeds_late]) as app:
            assert await app.run(retries) == 3
        assert attempts == [1, 2, 3]

    asyncio.run(main())


@pytest.mark.parametrize(
    ("kind", "types", "count"),
    [
        ("permanent", ["Permanent", "Permanent"], 1),
        ("unpicklable", ["Unpicklable", "Unpicklable"], 3),
        ("exit", ["SystemExit", "SystemExit"], 3),
        ("interrupt", ["KeyboardInterrupt", "KeyboardInterrupt"], 3),
        ("chained", ["ValueError", "ValueError", "KeyError"], 3),
    ],
)
def test_failures_arrive_typed(run: Run, kind: str, types: list[str], count: int) -> None:
    async def main() -> None:
        attempts.clear()
        async with run(workflows=[reports], activities=[raises]) as app:
            assert await app.run(reports, kind) == types
        assert len(attempts) == count

    asyncio.run(main())


def test_a_result_of_the_wrong_type_fails_once_and_typed(run: Run) -> None:
    async def main() -> None:
        attempts.clear()
        async with run(workflows=[gets_the_wrong_type], activities=[returns_the_wrong_type]) as app:
            with pytest.raises(WorkflowFailedError, match="PayloadError") as caught:
                await app.run(gets_the_wrong_type)
            assert caught.value.failure.cause is not None
        assert attempts == [1]

    asyncio.run(main())


def test_wrong_arguments_are_refused_at_the_start(run: Run) -> None:
    async def main() -> None:
        async with run(workflows=[sums], activities=[add]) as app:
            with pytest.raises(ArgumentsError, match="missing a required argument"):
                await app.start(sums, 1)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
            with pytest.raises(ArgumentValueError, match="b: Expected `int`, got `str`") as caught:
                await app.start(sums, 1, "2")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
            assert caught.value.path == "b"

    asyncio.run(main())


go = Signal("go", int)


@workflow
async def waits(count: int) -> list[int]:
    return [await go.receive() for _ in range(count)]


@workflow
async def sends(to: str) -> str:
    await go.send(to, 7)
    try:
        await go.send("nobody", 7)
    except SignalError as error:
        return str(error)
    return "accepted"


def test_signals(run: Run) -> None:
    async def main() -> None:
        async with run(workflows=[waits, sends], activities=[]) as app:
            handle = await app.start(waits.options(id="w"), 4)
            for _ in range(3):
                await handle.signal(go, 1, request_id="same")
            await handle.signal(go, 2)
            assert "nobody" in await app.run(sends, "w")
            await handle.signal(go, 3)
            assert await handle.result() == [1, 2, 7, 3]
            with pytest.raises(InstanceFinishedError):
                await handle.signal(go, 4)
            with pytest.raises(InstanceNotFoundError):
                await app.client.handle("none", waits).signal(go, 4)

    asyncio.run(main())


@workflow
async def naps(seconds: float) -> float:
    begun = asyncio.get_running_loop().time()
    await sleep(seconds, name="nap")
    return asyncio.get_running_loop().time() - begun


@workflow
async def limits() -> str:
    try:
        async with asyncio.timeout(0.05):
            await go.receive()
    except TimeoutError:
        return "timed out"
    return "received"


def test_timers(run: Run) -> None:
    async def main() -> None:
        async with run(workflows=[naps, limits]) as app:
            assert await app.run(naps, 0.1) >= 0.1
            assert await app.run(limits) == "timed out"

    asyncio.run(main())


@activity
async def slow() -> None:
    await asyncio.sleep(30)


cancelled: list[str] = []


@activity
async def notices_cancellation() -> None:
    cancelled.append("started")
    try:
        await asyncio.sleep(30)
    except asyncio.CancelledError:
        cancelled.append("async")
        raise


@activity
def polls_cancellation() -> None:
    cancelled.append("started")
    end = time.monotonic() + 10
    while time.monotonic() < end:
        if is_cancelled():
            cancelled.append("thread")
            return
        time.sleep(0.005)


@workflow
async def cleans_up() -> str:
    try:
        await asyncio.gather(notices_cancellation(), polls_cancellation())
    except asyncio.CancelledError:
        await asyncio.shield(add(1, 2))
        raise
    return "not cancelled"


def test_cancelling_reaches_activities_and_runs_clean_up(run: Run) -> None:
    async def main() -> None:
        cancelled.clear()
        async with run(
            workflows=[cleans_up],
            activities=[notices_cancellation, polls_cancellation, add],
            poll_interval=0.05,
        ) as app:
            handle = await app.start(cleans_up)

            async def both_run() -> bool:
                return cancelled.count("started") == 2

            await eventually(both_run)
            await handle.cancel("enough")
            await handle.cancel("enough")
            with pytest.raises(WorkflowCancelledError):
                await handle.result(timeout=30)
            assert await handle.state() == "cancelled"

            async def both_noticed() -> bool:
                return {"async", "thread"} <= set(cancelled)

            await eventually(both_noticed)

    asyncio.run(main())


@workflow
async def times_out(kind: str) -> str:
    try:
        if kind == "start_to_close":
            await slow.options(start_to_close=0.05, retry=FAST)()
        else:
            await slow.options(schedule_to_close=timedelta(milliseconds=50))()
    except ActivityTimeoutError as error:
        return error.failure.message
    return "no time-out"


@pytest.mark.parametrize("kind", ["start_to_close", "schedule_to_close"])
def test_activity_timeouts(run: Run, kind: str) -> None:
    async def main() -> None:
        async with run(workflows=[times_out], activities=[slow], poll_interval=0.05) as app:
            assert kind in await app.run(times_out, kind)

    asyncio.run(main())


progress: list[Any] = []


@activity(heartbeat=0.5, retry=Retry(interval=0.01))
async def beats() -> int:
    before = last_heartbeat()
    progress.append(before)
    if before is None:  # the first one; or it was lost before its details were stored
        heartbeat({"done": 5})
        await asyncio.sleep(30)  # and falls silent
        return -1
    return int(before["done"])


@workflow
async def uses_heartbeats() -> int:
    return await beats()


def test_heartbeat_details_reach_the_next_attempt(run: Run) -> None:
    async def main() -> None:
        progress.clear()
        async with run(workflows=[uses_heartbeats], activities=[beats], poll_interval=0.05) as app:
            assert await app.run(uses_heartbeats) == 5
        assert progress[0] is None
        assert progress[-1] == {"done": 5}

    asyncio.run(main())


@workflow
async def child(fail: bool) -> str:
    await add(1, 1)
    if fail:
        raise ValueError("child broke")
    return "done"


@workflow
async def mother() -> list[str]:
    good = child.options(id="good")(False)
    second = third = "no error"
    try:
        await child(True)
    except ChildWorkflowError as error:
        second = f"{error.workflow} {error.type}"
    try:
        await child.options(id="taken")(False)
    except ChildWorkflowError as error:
        third = error.type
    fourth = child.options(id="never")(False)
    fourth.cancel()
    return [await good, second, third]


def test_sub_workflows(run: Run) -> None:
    async def main() -> None:
        async with run(workflows=[mother, child, waits], activities=[add]) as app:
            await app.start(waits.options(id="taken"), 1)
            assert await app.run(mother) == ["done", "child ValueError", "InstanceExistsError"]
            with pytest.raises(InstanceNotFoundError):
                await app.client.handle("never", child).describe()

    asyncio.run(main())


@workflow
async def sleeper_child() -> None:
    await asyncio.sleep(1000)


@workflow
async def cancels_children() -> None:
    await asyncio.gather(sleeper_child.options(id="c1")(), sleeper_child.options(id="c2")())


def test_cancellation_goes_down_to_children(run: Run) -> None:
    async def main() -> None:
        async with run(workflows=[cancels_children, sleeper_child]) as app:
            handle = await app.start(cancels_children)
            one = app.client.handle("c1", sleeper_child)

            async def asleep() -> bool:
                try:
                    return bool((await one.pending()).timers)
                except InstanceNotFoundError:
                    return False

            await eventually(asleep)
            await handle.cancel()
            with pytest.raises(WorkflowCancelledError):
                await handle.result()
            for name in ("c1", "c2"):
                with pytest.raises(WorkflowCancelledError):
                    await app.client.handle(name, sleeper_child).result(timeout=30)

    asyncio.run(main())


@workflow
async def counts_on(left: int, total: int) -> int:
    total += await go.receive()
    if left:
        return counts_on.continue_as_new(left - 1, total)
    return total


def test_continue_as_new_keeps_unread_signals(run: Run) -> None:
    async def main() -> None:
        async with run(workflows=[counts_on]) as app:
            handle = await app.start(counts_on.options(id="c"), 4, 0)
            for value in range(1, 6):
                await handle.signal(go, value)
            assert await handle.result() == 15
            runs = [r async for r in app.client.list(ListFilter(all_runs=True))]
            assert [r.state for r in runs] == ["completed", *["continued_as_new"] * 4]
            last = await app.client.handle("c", counts_on).describe()
            assert last.run_id == runs[0].run_id

    asyncio.run(main())


def test_steering(run: Run) -> None:
    async def main() -> None:
        async with run(workflows=[waits], activities=[]) as app:
            handle = await app.start(waits.options(id="a"), 1)
            await handle.suspend()
            await handle.signal(go, 1)
            assert await handle.state() == "suspended"
            with pytest.raises(TimeoutError, match="goes on"):
                await handle.result(timeout=0.1)
            await handle.resume()
            assert await handle.result(timeout=30) == [1]
            other = await app.start(waits.options(id="b"), 1)
            with pytest.raises(InstanceNotFinishedError):
                await other.remove()
            await other.terminate("because")
            with pytest.raises(WorkflowTerminatedError, match="because"):
                await other.result()
            await other.remove()
            with pytest.raises(InstanceNotFoundError):
                await other.describe()

    asyncio.run(main())


def test_id_policies(run: Run) -> None:
    async def main() -> None:
        async with run(workflows=[waits], activities=[]) as app:
            first = await app.start(waits.options(id="a"), 1)
            with pytest.raises(InstanceExistsError, match="if_running"):
                await app.start(waits.options(id="a"), 1)
            same = await app.start(waits.options(id="a", if_running="use_existing"), 1)
            assert same.run_id == first.run_id
            second = await app.start(waits.options(id="a", if_running="replace"), 1)
            with pytest.raises(WorkflowTerminatedError):
                await first.result()
            await second.signal(go, 1)
            assert await second.result() == [1]
            with pytest.raises(InstanceExistsError, match="if_finished"):
                await app.start(waits.options(id="a", if_finished="reject"), 1)

    asyncio.run(main())


def test_run_timeout(run: Run) -> None:
    async def main() -> None:
        async with run(workflows=[waits], activities=[], poll_interval=0.05) as app:
            handle = await app.start(waits.options(run_timeout=0.05), 1)
            with pytest.raises(WorkflowTimeoutError):
                await handle.result(timeout=30)

    asyncio.run(main())


@workflow
async def many(count: int) -> int:
    return sum(await asyncio.gather(*(add(i, 0) for i in range(count))))


def test_more_activities_than_slots(run: Run) -> None:
    async def main() -> None:
        async with run(workflows=[many], activities=[add], max_activities=7) as app:
            assert await app.run(many, 100) == sum(range(100))

    asyncio.run(main())


def test_start_by_name_and_untyped_handles(run: Run) -> None:
    async def main() -> None:
        async with run(workflows=[sums], activities=[add]) as app:
            handle = await app.client.start_by_name("sums", b"[2, 3]", id="n")
            assert await handle.result() == 6
            assert await app.client.handle_by_id("n").result() == 6

    asyncio.run(main())


@workflow
async def returns_at_once() -> int:
    return 1


@workflow
async def fails_at_once() -> int:
    raise ApplicationError("no")


def test_finished_instances_are_pruned_by_age(run: Run) -> None:
    async def main() -> None:
        async with run(workflows=[returns_at_once, fails_at_once, naps_long]) as app:
            client = app.client
            for name in ("one", "two", "three"):
                await client.run(returns_at_once.options(id=name))
            with pytest.raises(WorkflowFailedError):
                await client.run(fails_at_once.options(id="failed"))
            await client.start(naps_long.options(id="running"))
            assert [one async for one in client.prune(timedelta(hours=1))] == []
            await asyncio.sleep(0.01)
            age = timedelta(milliseconds=1)
            found = [one async for one in client.prune(age, dry_run=True)]
            assert sorted(found) == ["failed", "one", "three", "two"]
            assert len([record async for record in client.list()]) == 5
            completed = client.prune(age, states=["completed"], page_size=2)
            assert sorted([one async for one in completed]) == ["one", "three", "two"]
            assert [one async for one in client.prune(age, workflow="other")] == []
            assert [one async for one in client.prune(age)] == ["failed"]
            assert [record.instance_id async for record in client.list()] == ["running"]

    asyncio.run(main())


@workflow
async def naps_long() -> None:
    await sleep(3600)
