"""Scenarios under every crash: sound ones survive, faults put in by hand are found."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Awaitable, Callable
from datetime import timedelta

import pytest
from perdure import Signal, UsageError, activity, activity_info, sleep, workflow
from perdure_runtime._guard import installed
from perdure_runtime.testing import (
    CrashFoundError,
    CrashRun,
    Environment,
    SyncEnvironment,
    explore_crashes,
)

approved = Signal("approved", bool)


@activity
async def charge(amount: int) -> str:
    raise NotImplementedError


@activity
async def ship(receipt: str) -> str:
    return f"shipped for {receipt}"


@workflow
async def checkout(amount: int) -> str:
    receipt = await charge(amount)
    await sleep(timedelta(hours=1))
    return await ship(receipt)


@workflow
async def approval() -> str:
    return "yes" if await approved.receive() else "no"


@workflow
async def parent(count: int) -> list[str]:
    return await asyncio.gather(*[child(n) for n in range(count)])


@workflow
async def child(number: int) -> str:
    return await ship(str(number))


@dataclasses.dataclass
class Bank:
    """Charges once for each key, where it is given one."""

    idempotent: bool
    charged: int = 0
    seen: dict[str, str] = dataclasses.field(default_factory=dict[str, str])

    async def charge(self, amount: int) -> str:
        key = activity_info().idempotency_key
        if self.idempotent and key in self.seen:
            return self.seen[key]
        self.charged += amount
        self.seen[key] = f"r{amount}"
        return self.seen[key]


def checking(*, idempotent: bool) -> Callable[[Environment], Awaitable[str]]:
    async def scenario(env: Environment) -> str:
        bank = Bank(idempotent)
        env.mock(charge).runs(bank.charge)
        result = await env.run(checkout, 9)
        assert bank.charged == 9
        return result

    return scenario


def test_a_sound_scenario_survives_all() -> None:
    explored = explore_crashes(checking(idempotent=True), more=40, seed=3)
    assert explored.calls["commit"] == 4
    assert explored.runs == 4 * 4 + 1 + 40


def test_nothing_is_left_behind() -> None:
    """The guard neither: the crash behind the last commit comes when the scenario is over."""
    before = installed()
    explore_crashes(checking(idempotent=True), more=20)
    with pytest.raises(CrashFoundError):
        explore_crashes(checking(idempotent=False))
    assert installed() is before


def test_a_charge_that_is_made_twice_is_found_and_reproduced() -> None:
    with pytest.raises(CrashFoundError, match="18 == 9") as caught:
        explore_crashes(checking(idempotent=False))
    assert caught.value.faults == ("crash before commit 2",)
    assert "only=['crash before commit 2']" in str(caught.value)
    with pytest.raises(CrashFoundError, match="18 == 9"):
        explore_crashes(checking(idempotent=False), only=caught.value.faults)
    assert explore_crashes(checking(idempotent=False), only=["repeated commit 2"]).runs == 1


def test_messages_that_are_delivered_twice() -> None:
    async def scenario(env: Environment) -> str:
        handle = await env.start(approval)
        await handle.signal(approved, True)
        return await handle.result()

    explored = explore_crashes(scenario, more=20)
    assert explored.calls["send"] == 1
    assert explored.calls["start"] == 1


def test_sub_workflows_survive() -> None:
    assert explore_crashes(parent, 3).runs == 4 * 4 + 1


def test_results_that_go_through_the_store() -> None:
    explored = explore_crashes(checking(idempotent=True), replay_every_turn=True)
    assert explored.calls["settle"] == 2
    assert explored.runs == 4 * 4 + 2 * 3 + 1


def test_an_invariant_of_the_user() -> None:
    def never_late(run: CrashRun[str]) -> None:
        assert run.result == run.expected
        assert "lost lease at commit 3" not in run.faults, "not this one"

    with pytest.raises(CrashFoundError, match="not this one"):
        explore_crashes(checking(idempotent=True), invariant=never_late)


def test_another_result_is_found_unless_it_is_allowed() -> None:
    async def scenario(env: Environment) -> str:
        env.mock(charge).returns_each("first", "second", "third")
        return await env.run(checkout, 1)

    with pytest.raises(CrashFoundError, match="without faults it is 'shipped for first'"):
        explore_crashes(scenario)
    assert explore_crashes(scenario, same_result=False).runs


def test_the_same_seed_gives_the_same_runs() -> None:
    def ids(seed: int) -> list[str]:
        found: list[str] = []

        async def scenario(env: Environment) -> str:
            handle = await env.start(approval)
            found.append(f"{handle.id} {env.now}")
            await handle.signal(approved, True)
            return await handle.result()

        explore_crashes(scenario, more=10, seed=seed)
        return found

    assert ids(1) == ids(1)
    assert ids(1) != ids(2)


def test_what_cant_be_explored() -> None:
    with pytest.raises(UsageError, match="is no fault"):
        explore_crashes(checking(idempotent=True), only=["crash during lunch 3"])

    async def inside() -> None:
        explore_crashes(checking(idempotent=True))

    with pytest.raises(UsageError, match="to_thread"):
        asyncio.run(inside())


@activity
async def endless() -> str:
    await asyncio.Event().wait()
    return "never"


@workflow
async def patient() -> str:
    return await endless()


def test_a_worker_that_dies_in_the_middle() -> None:
    with SyncEnvironment() as env:
        begun: list[str] = []

        async def stand_in() -> str:
            begun.append("begun")
            if len(begun) == 1:
                await asyncio.Event().wait()
            return "done"

        env.mock(endless).runs(stand_in)
        handle = env.start(patient)
        before = env.now
        while not begun:
            env.call(asyncio.sleep(0))
        env.crash()
        assert handle.result() == "done"
        assert begun == ["begun", "begun"]
        assert env.now - before >= timedelta(seconds=15)


def test_a_crash_at_a_time() -> None:
    with SyncEnvironment() as env:
        env.mock(charge).returns("r")
        handle = env.start(checkout, 1)
        inside = env.environment
        env.call_later(timedelta(minutes=30), inside.crash)
        assert handle.result() == "shipped for r"
        assert env.mock(charge).calls == [env.mock(charge).calls[0]]
