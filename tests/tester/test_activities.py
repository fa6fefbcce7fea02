"""Activities by themselves, with their surroundings under control."""

from __future__ import annotations

import asyncio
import threading
from datetime import UTC, datetime, timedelta

import pytest
from perdure import (
    ArgumentsError,
    PayloadError,
    RegistrationError,
    UsageError,
    activity,
    activity_info,
    heartbeat,
    inject,
    is_cancelled,
    last_heartbeat,
)
from perdure_runtime.testing import ActivityTester


class Bank:
    """A resource."""

    rate = 3


@activity
async def pages(last: int) -> list[int]:
    start = last_heartbeat() or 0
    for page in range(start, last):
        heartbeat(page + 1)
    return [activity_info().attempt, start]


@activity
async def waits() -> None:
    await asyncio.Event().wait()


started = threading.Event()


@activity
def polls() -> str:
    started.set()
    while not is_cancelled():
        pass
    return "stopped"


@activity
async def exchange(amount: int, *, bank: Bank = inject()) -> int:
    return amount * bank.rate


@activity
async def lies() -> int:
    return "one"  # type: ignore[return-value]  # pyright: ignore[reportReturnType]


@activity
async def when() -> tuple[str, str | None]:
    info = activity_info()
    return info.scheduled_at.isoformat(), info.deadline.isoformat() if info.deadline else None


class Shop:
    """Holds an activity."""

    def __init__(self, name: str) -> None:
        self.name = name

    @activity
    async def sells(self, what: str) -> str:
        return f"{self.name} sells {what}"


def test_attempt_and_progress() -> None:
    tester = ActivityTester(attempt=4, progress=2)
    assert asyncio.run(tester.run(pages, 5)) == [4, 2]
    assert tester.heartbeats == [3, 4, 5]


def test_cancelling_an_async_activity() -> None:
    async def main() -> None:
        tester = ActivityTester()
        running = asyncio.ensure_future(tester.run(waits))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        tester.cancel("enough")
        with pytest.raises(asyncio.CancelledError):
            await running

    asyncio.run(main())


def test_cancelling_a_plain_activity() -> None:
    async def main() -> str:
        started.clear()
        tester = ActivityTester()
        running = asyncio.ensure_future(tester.run(polls))
        await asyncio.to_thread(started.wait)
        tester.cancel()
        return await running

    assert asyncio.run(main()) == "stopped"
    early = ActivityTester()
    early.cancel()
    assert asyncio.run(early.run(polls)) == "stopped"


def test_resources_and_methods() -> None:
    assert asyncio.run(ActivityTester(resources=[Bank()]).run(exchange, 2)) == 6
    with pytest.raises(RegistrationError, match="Bank"):
        asyncio.run(ActivityTester().run(exchange, 2))
    assert asyncio.run(ActivityTester().run(Shop("Ann").sells, "tea")) == "Ann sells tea"
    with pytest.raises(UsageError, match="is a method"):
        asyncio.run(ActivityTester().run(Shop.sells, "tea"))  # pyright: ignore


def test_types_are_checked_as_by_a_worker() -> None:
    with pytest.raises(PayloadError):
        asyncio.run(ActivityTester().run(lies))
    with pytest.raises(ArgumentsError):
        asyncio.run(ActivityTester().run(pages, "x"))  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


def test_times() -> None:
    at = datetime(2030, 1, 1, tzinfo=UTC)
    tester = ActivityTester(scheduled_at=at, timeout=timedelta(minutes=1))
    assert asyncio.run(tester.run(when)) == (
        "2030-01-01T00:00:00+00:00",
        "2030-01-01T00:01:00+00:00",
    )
