"""Generated histories: of all kinds, and each of them replays."""

from __future__ import annotations

import asyncio
import collections
from datetime import timedelta

import pytest
from hypothesis import HealthCheck, Phase, find, given, settings
from hypothesis import strategies as st
from perdure import (
    ActivityError,
    PerdureError,
    Signal,
    Update,
    activity,
    patched,
    sleep,
    workflow,
)
from perdure_backends import history as h
from perdure_runtime import History, replay
from perdure_runtime.testing.strategies import histories

paused = Signal("paused", bool)
more = Update("more", int, int)


@activity
async def charge(amount: int) -> str: ...  # type: ignore[empty-body]


@activity(local=True)
async def note_down(text: str) -> float: ...  # type: ignore[empty-body]


@workflow
async def child(number: int) -> list[str]:
    return [await charge(number)]


@workflow
async def order(amount: int) -> list[str]:
    found: list[str] = []

    @more.handler
    async def _(count: int) -> int:
        await sleep(1)
        return count + 1

    try:
        async with asyncio.timeout(3600):
            found.append(await charge(amount))
    except (TimeoutError, ActivityError):
        found.append("no receipt")
    await note_down("charged")
    if not await paused.receive():
        await sleep(timedelta(days=1))
    found += await child(amount)
    if amount > 1000:
        order.continue_as_new(amount - 1)
    return found


@workflow(name="order")
async def next_order(amount: int) -> list[str]:
    """The same with a step more that is guarded."""
    found: list[str] = []

    @more.handler
    async def _(count: int) -> int:
        await sleep(1)
        return count + 1

    if patched("audit"):
        await charge(0)
    try:
        async with asyncio.timeout(3600):
            found.append(await charge(amount))
    except (TimeoutError, ActivityError):
        found.append("no receipt")
    await note_down("charged")
    if not await paused.receive():
        await sleep(timedelta(days=1))
    found += await child(amount)
    if amount > 1000:
        next_order.continue_as_new(amount - 1)
    return found


@workflow(name="order")
async def broken_order(amount: int) -> list[str]:
    """Without the wait in the branch that is seldom taken."""
    found: list[str] = []
    try:
        async with asyncio.timeout(3600):
            found.append(await charge(amount))
    except (TimeoutError, ActivityError):
        found.append("no receipt")
    await note_down("charged")
    await paused.receive()
    found += await child(amount)
    return found


MESSAGES = {paused: st.booleans()}
STRATEGY = histories(order, signals=MESSAGES, updates={more: st.integers(0, 9)}, cancel=True)


@given(STRATEGY)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_every_history_replays_on_the_code_that_made_it(history: History) -> None:
    found = replay(history, order, strict=True)
    assert found.ok, found.divergence
    assert found.events == history.events


@given(STRATEGY)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_every_history_replays_on_a_guarded_edit(history: History) -> None:
    assert replay(history, next_order).ok


def test_an_edit_in_a_branch_is_found() -> None:
    history = find(
        histories(order, arguments=st.just((1,)), signals=MESSAGES),
        lambda history: not replay(history, broken_order).ok,
        settings=settings(max_examples=500, phases=[Phase.generate], database=None),
    )
    assert replay(history, order).ok


def test_all_kinds_come_up() -> None:
    seen: collections.Counter[str] = collections.Counter()

    @given(STRATEGY)
    @settings(
        max_examples=150, deadline=None, database=None, derandomize=True, phases=[Phase.generate]
    )
    def collect(history: History) -> None:
        for turn in history.turns:
            for event in turn.events:
                seen[h.tag_of(event)] += 1
                if isinstance(event, h.ActivityFailed):
                    seen[event.kind] += 1

    collect()
    for kind in (
        "workflow_completed",
        "workflow_failed",
        "activity_completed",
        "activity_failed",
        "timeout",
        "failed",
        "timer_fired",
        "child_completed",
        "child_failed",
        "signal_received",
        "update_answered",
        "cancel_requested",
        "activity_cancel_requested",
    ):
        assert seen[kind], (kind, seen)


def test_results_and_failures_are_chosen() -> None:
    strategy = histories(
        child, results={charge: st.just("r")}, failures=st.nothing(), arguments=st.just((1,))
    )

    @given(strategy)
    @settings(max_examples=20, deadline=None, database=None)
    def holds(history: History) -> None:
        assert replay(history, child).result == ["r"]

    holds()
    with pytest.raises(TypeError, match="by activity or workflow"):
        histories(child, results={"charge": st.just("r")})


@workflow
async def looks_at_the_clock() -> float:
    import time

    return time.time()


def test_a_workflow_that_would_be_put_aside() -> None:
    @given(histories(looks_at_the_clock))
    @settings(max_examples=2, database=None)
    def draws(history: History) -> None: ...

    with pytest.raises(PerdureError, match="would be put aside \\[nondeterministic\\]"):
        draws()
