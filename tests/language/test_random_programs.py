"""Random programs do the same straight, with crashes, with evictions, and on any store."""

from __future__ import annotations

import asyncio
import random as plain_random
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from perdure import DataConverter
from perdure_backends import history as h
from perdure_runtime import Client, Local, Worker, connect
from perdure_runtime._core import Execution
from programs import child, interpret, poke, programs, quick, word, work
from virtual import Virtual

SLOW = [HealthCheck.too_slow, HealthCheck.function_scoped_fixture]


def straight(program: Any, *more: tuple[int, h.Received]) -> tuple[Any, Virtual]:
    """The result of a program without any crash."""
    run = Virtual(program, crash=lambda: False)
    for delay, event in more:
        run.plan(delay, event)
    return run.run(), run


@given(program=programs, seed=st.integers(0, 1000))
@settings(max_examples=150, deadline=None, suppress_health_check=SLOW)
def test_crashes_at_every_commit_and_at_random_change_nothing(program: Any, seed: int) -> None:
    wanted, first = straight(program)
    assert isinstance(wanted, list), wanted
    rng = plain_random.Random(seed)
    for crash in (lambda: True, lambda: rng.random() < 0.3):
        run = Virtual(program, crash=crash)
        assert run.run() == wanted
        assert run.records == first.records, "the very same history, byte for byte"


@given(
    program=programs,
    pokes=st.lists(st.tuples(st.integers(0, 5000), st.integers(0, 9)), max_size=4),
    cancel=st.one_of(st.none(), st.integers(0, 5000)),
)
@settings(max_examples=100, deadline=None, suppress_health_check=SLOW)
def test_updates_and_cancellation_at_any_time_replay_as_well(
    program: Any, pokes: list[tuple[int, int]], cancel: int | None
) -> None:
    messages: list[tuple[int, h.Received]] = [
        (1 + delay, h.UpdateReceived(f"u{n}", poke.name, str(number).encode()))
        for n, (delay, number) in enumerate(pokes)
    ]
    if cancel is not None:
        messages.append((1 + cancel, h.CancelRequested("enough")))
    wanted, first = straight(program, *messages)
    run = Virtual(program, crash=lambda: True)
    for delay, event in messages:
        run.plan(delay, event)
    assert repr(run.run()) == repr(wanted)
    assert run.records == first.records
    assert run.answers == first.answers


@asynccontextmanager
async def on(url: str, cache_size: int) -> AsyncGenerator[Local]:
    """A store with a worker."""
    async with (
        connect(url) as backend,
        Worker(
            backend, workflows=[interpret, child], activities=[work, quick], cache_size=cache_size
        ) as worker,
    ):
        yield Local(backend, worker, Client(backend))


async def everywhere(batch: list[Any]) -> None:
    """Runs programs side by side in several surroundings and compares what they give."""
    wanted = [straight(program)[0] for program in batch]
    for url, cache_size in (
        ("memory://", 100),
        ("memory://", 0),
        ("memory://", 1),  # instances push each other out of memory
        ("sqlite:///:memory:", 0),
        ("sqlite:///:memory:", 1),
    ):
        async with on(url, cache_size) as app:
            handles = [await app.start(interpret, program) for program in batch]
            found = [await handle.result(timeout=20) for handle in handles]
            assert found == wanted, (url, cache_size)
            for handle in handles:
                await replays_elsewhere([turn async for turn in handle.history()])


async def replays_elsewhere(turns: list[h.Turn]) -> None:
    """A history of one store replays without it."""
    execution = Execution(
        interpret,
        instance_id="copy",
        run_id="copy",
        started_at=turns[0].time,
        converter=DataConverter(),
        strict=True,
    )
    for turn in turns:
        fault = execution.replay(turn)
        assert fault is None, fault.message
    assert execution.ended
    execution.close()


@given(batch=st.lists(programs, min_size=1, max_size=4))
@settings(max_examples=12, deadline=None, suppress_health_check=SLOW)
def test_all_stores_and_caches_give_the_same(batch: list[Any]) -> None:
    asyncio.run(everywhere(batch))


def test_signals_wait_for_programs_that_read_them() -> None:
    program = [["sleep", 2], ["signal"], ["gather", [[["signal"]], [["work", 1]]]]]
    signals: list[tuple[int, h.Received]] = [
        (delay, h.SignalReceived(word.name, f'"{text}"'.encode()))
        for delay, text in ((1, "a"), (5000, "b"))
    ]
    wanted, first = straight(program, *signals)
    assert wanted == ["slept", "a", [["b"], [2]]]
    run = Virtual(program, crash=lambda: True)
    for delay, event in signals:
        run.plan(delay, event)
    assert run.run() == wanted
    assert run.records == first.records
