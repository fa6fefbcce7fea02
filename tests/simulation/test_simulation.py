"""A cluster under a hostile network keeps its promises; and the simulation would notice if not."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from cluster import Scenario, Simulation, shrink
from perdure_backends.memory import _activities, _turns
from perdure_backends.memory import _state as memory_state
from perdure_backends.records import CommitResult, SendResult, StartOutcome, StartResult, Status

SEEDS = 300 if os.environ.get("CI") else 60
CHUNKS = 12


@pytest.mark.slow
@pytest.mark.parametrize("chunk", range(CHUNKS))
def test_every_promise_holds(chunk: int) -> None:
    for seed in range(chunk, SEEDS, CHUNKS):
        scenario = Scenario(seed)
        try:
            Simulation(scenario).run()
        except Exception as error:
            smallest, problem, trace = shrink(scenario)
            tail = "\n".join(trace[-120:])
            pytest.fail(f"{tail}\nseed {seed}: {error}\nsmallest: {smallest}\n{problem!r}")


def test_a_seed_reproduces_its_run() -> None:
    traces: list[list[str]] = []
    for _ in range(2):
        simulation = Simulation(Scenario(7))
        simulation.run()
        traces.append(simulation.trace)
    assert traces[0] == traces[1]
    assert len(traces[0]) > 500


# --- bugs put in by hand ----------------------------------------------------------------------


def _skip_the_token_check(patch: pytest.MonkeyPatch) -> None:
    def check(state: Any, item: Any) -> CommitResult:
        run = state.runs.get(item.run_id)
        if run is None or run.status is not Status.RUNNING:
            return CommitResult.GONE
        return CommitResult.APPLIED

    patch.setattr(_turns, "_check", check)


def _forget_commit_ids(patch: pytest.MonkeyPatch) -> None:
    original: Any = getattr(_turns, "_check")  # noqa: B009

    def check(state: Any, item: Any) -> CommitResult:
        run = state.runs.get(item.run_id)
        if run is not None and run.last_commit == item.commit_id:
            run.last_commit = ""
            return CommitResult.APPLIED if run.status is Status.RUNNING else CommitResult.GONE
        result: CommitResult = original(state, item)
        return result

    patch.setattr(_turns, "_check", check)


def _finish_over_unread_messages(patch: pytest.MonkeyPatch) -> None:
    original = memory_state.State.continue_as_new

    def continue_as_new(self: Any, run: Any, following: Any, now: int) -> Any:
        run.inbox.clear()  # what is unread does not move
        return original(self, run, following, now)

    patch.setattr(memory_state.State, "continue_as_new", continue_as_new)


def _drop_what_was_received_but_not_read(patch: pytest.MonkeyPatch) -> None:
    from perdure_runtime._core import Execution

    def nothing(self: Any) -> list[Any]:
        return []

    patch.setattr(Execution, "unread_messages", nothing)


def _accept_messages_twice(patch: pytest.MonkeyPatch) -> None:
    def send(state: Any, message: Any) -> SendResult:
        run = state.current(message.instance_id)
        if run is None:
            return SendResult.NOT_FOUND
        if run.status is not Status.RUNNING:
            return SendResult.ACCEPTED
        state.accept(run, message.entry, carried=True)
        return SendResult.ACCEPTED

    patch.setattr(_turns, "send", send)


def _number_messages_backwards(patch: pytest.MonkeyPatch) -> None:
    original = memory_state.State.accept

    def accept(self: Any, run: Any, entry: bytes, *, carried: bool) -> int:
        seq = original(self, run, entry, carried=carried)
        if carried and len(run.inbox) > 1:
            keys = list(run.inbox)
            last, before = keys[-1], keys[-2]
            if run.inbox[before][1]:
                run.inbox[last], run.inbox[before] = run.inbox[before], run.inbox[last]
        return seq

    patch.setattr(memory_state.State, "accept", accept)


def _acknowledge_before_it_is_stored(patch: pytest.MonkeyPatch) -> None:
    original: Any = getattr(_turns, "_apply")  # noqa: B009

    def apply(state: Any, run: Any, item: Any, *more: Any) -> None:
        original(state, run, item, *more)
        if item.turn and item.turn % 4 == 0:
            run.history.pop()  # a crash came between the answer and the write

    patch.setattr(_turns, "_apply", apply)


def _answer_starts_before_they_are_stored(patch: pytest.MonkeyPatch) -> None:
    original = _turns.start
    seen: list[str] = []

    def start(state: Any, request: Any) -> Any:
        seen.append(request.run_id)
        if len(seen) % 9 == 0:
            return StartOutcome(result=StartResult.CREATED, run_id=request.run_id)
        return original(state, request)

    patch.setattr(_turns, "start", start)


def _ignore_activity_tokens(patch: pytest.MonkeyPatch) -> None:
    def find(state: Any, run_id: str, number: int, token: str) -> Any:
        run = state.runs.get(run_id)
        return run.activities.get(number) if run is not None else None

    def settle(state: Any, result: Any) -> bool:
        run = state.runs.get(result.run_id)
        if run is None or run.status is not Status.RUNNING or result.entry is None:
            return original(state, result)
        row = run.activities.get(result.number)
        if row is not None:
            state.drop_activity(row)
        state.accept(run, result.entry, carried=False)  # late results count as well
        return True

    original = _activities.settle
    patch.setattr(_activities, "_find", find)
    patch.setattr(_activities, "settle", settle)


BUGS: list[Callable[[pytest.MonkeyPatch], None]] = [
    _skip_the_token_check,
    _forget_commit_ids,
    _finish_over_unread_messages,
    _drop_what_was_received_but_not_read,
    _accept_messages_twice,
    _number_messages_backwards,
    _acknowledge_before_it_is_stored,
    _answer_starts_before_they_are_stored,
    _ignore_activity_tokens,
]


@pytest.fixture
def patch() -> Iterator[pytest.MonkeyPatch]:
    with pytest.MonkeyPatch.context() as context:
        yield context


@pytest.mark.slow
@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.__name__.strip("_"))
def test_a_bug_put_in_by_hand_is_found(
    bug: Callable[[pytest.MonkeyPatch], None], patch: pytest.MonkeyPatch
) -> None:
    bug(patch)
    for seed in range(80):
        try:
            Simulation(Scenario(seed)).run()
        except Exception:
            return
    pytest.fail("80 seeds did not find it")
