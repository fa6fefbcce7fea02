"""Decorators, options and names: what is refused says how to mend it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import perdure
import pytest
from hypothesis import given
from hypothesis import strategies as st
from perdure import (
    DataConverter,
    DefinitionError,
    Failure,
    InvalidIdError,
    InvalidOptionError,
    OutsideWorkflowError,
    RegistrationError,
    Retry,
    Signal,
    activity,
    workflow,
)


@workflow
async def flow(x: int, y: int = 2) -> int:
    return x + y


async def no_annotation(x) -> None: ...  # type: ignore[no-untyped-def]  # pyright: ignore  # the point


async def no_result(x: int): ...  # type: ignore[no-untyped-def]  # pyright: ignore  # the point


async def star(*args: int) -> None: ...


async def generator() -> Any:
    yield 1


def plain(x: int) -> int:
    return x


WRONG: list[tuple[Any, Any, str]] = [
    (activity, no_annotation, r"'no_annotation' \(.*test_definitions.py:\d+\): parameter 'x'"),
    (workflow, no_result, "the result has no annotation"),
    (activity, star, "take a list or a dict"),
    (activity, generator, "is a generator"),
    (workflow, plain, "takes an `async def`"),
    (activity, 5, "takes a function"),
    (activity(executor="process"), no_result, "can't run in a process pool"),
]


@pytest.mark.parametrize(("decorate", "function", "match"), WRONG)
def test_definition_errors(decorate: Callable[[Any], Any], function: Any, match: str) -> None:
    with pytest.raises(DefinitionError, match=match):
        decorate(function)


@pytest.mark.parametrize(
    "make",
    [
        lambda: Retry(attempts=-1),
        lambda: Retry(backoff=0.5),
        lambda: Retry(jitter=2),
        lambda: Retry(interval=-1),
        lambda: Retry(interval=float("nan")),
        lambda: activity(start_to_close=0),
        lambda: activity(queue=""),
        lambda: activity(name="x" * 513),
        lambda: workflow(version=0)(flow.fn),
        lambda: Signal("a\0b", int),
    ],
)
def test_options_out_of_range(make: Callable[[], Any]) -> None:
    with pytest.raises(InvalidOptionError):
        make()


@pytest.mark.parametrize("bad", ["", "a\0b", "x" * 513, "\ud800", 5])
def test_instance_ids(bad: Any) -> None:
    with pytest.raises(InvalidIdError):
        flow.options(id=bad)


def test_names_are_qualified_without_module_and_enclosing_functions() -> None:
    @activity
    async def inner() -> None: ...

    class Things:
        @activity
        async def method(self) -> None: ...

    assert inner.name == "inner"
    assert Things.method.name == "Things.method"
    assert activity(name="given")(inner.fn).name == "given"


def test_calls_outside_a_workflow_name_the_plain_function() -> None:
    @activity
    async def outside(x: int) -> int:
        return x

    with pytest.raises(OutsideWorkflowError, match=r"outside\.fn"):
        outside(1)
    with pytest.raises(OutsideWorkflowError, match=r"client\.start\(flow"):
        flow(1)
    assert asyncio.run(outside.fn(1)) == 1
    assert asyncio.run(flow.fn(1)) == 3
    for call in (perdure.now, perdure.info, perdure.uuid4, lambda: perdure.patched("x")):
        with pytest.raises(OutsideWorkflowError):
            call()


def test_forward_references_are_resolved_late_and_missing_ones_are_named() -> None:
    @activity
    async def refers(x: Missing) -> None: ...  # type: ignore[name-defined]  # noqa: F821  # pyright: ignore

    with pytest.raises(RegistrationError, match=r"'Missing' is not defined.*TYPE_CHECKING"):
        refers.definition.signature.converted(DataConverter())


def test_options_leave_the_original_alone() -> None:
    @activity(retry=Retry.never, start_to_close=timedelta(seconds=5))
    async def base() -> None: ...

    changed = base.options(queue="x")
    assert changed.default_options.queue == "x"
    assert changed.default_options.retry == Retry.never
    assert base.default_options.queue is None
    assert changed.definition is base.definition


@given(
    st.integers(1, 200),
    st.floats(0.001, 100),
    st.floats(1, 10),
    st.floats(0.001, 1000),
    st.floats(0, 1),
    st.floats(0, 0.999),
)
def test_retry_delays_stay_within_their_limits(
    attempt: int, interval: float, backoff: float, longest: float, jitter: float, draw: float
) -> None:
    retry = Retry(0, interval, backoff, longest, jitter)
    delay = retry.delay(attempt, draw=draw)
    assert 0 <= delay <= longest
    assert delay <= retry.delay(attempt + 1, draw=draw) + 1e-9


def test_retry_decisions() -> None:
    retry = Retry(attempts=3, interval=1, total=10, non_retryable=("Bad",))
    fine = Failure("ValueError", "")
    assert retry.next_delay(1, fine, elapsed=0) == 1
    assert retry.next_delay(2, fine, elapsed=0) == 2
    assert retry.next_delay(3, fine, elapsed=0) is None
    assert retry.next_delay(1, fine, elapsed=9.5) is None
    assert retry.next_delay(1, Failure("Bad", ""), elapsed=0) is None
    assert retry.next_delay(1, Failure("E", "", retryable=False), elapsed=0) is None
    assert Retry.forever.next_delay(10_000, fine, elapsed=1e9) == 60


class NastyError(Exception):
    def __str__(self) -> str:
        raise SystemExit


def test_failures_record_whatever_is_thrown_at_them() -> None:
    assert "SystemExit" in Failure.of(NastyError()).message
    assert Failure.of(ValueError("\ud800")).message == "?"
    assert len(Failure.of(ValueError("x" * 10**6)).message) == 8192
    looped = ValueError("a")
    looped.__context__ = KeyError("b")
    looped.__context__.__context__ = looped
    assert Failure.of(looped).cause is not None
    group = ExceptionGroup("several", [ValueError("1"), ExceptionGroup("x", [KeyError("2")])])
    recorded = Failure.of(group)
    assert [member.type for member in recorded.members] == ["ValueError", "ExceptionGroup"]


def test_arguments_from_before_a_parameter_was_added() -> None:
    @activity
    async def grown(a: int, b: str = "x", *, c: float = 1.5) -> None: ...

    signature = grown.definition.signature.converted(DataConverter())
    assert signature.decode(b"[1]") == ([1, "x"], {"c": 1.5})
    assert signature.decode(b'[1,"y"]') == ([1, "y"], {"c": 1.5})
    assert signature.decode(b'[1,"y",2.5]') == ([1, "y"], {"c": 2.5})
    for wrong in (b"[]", b'["a"]', b'[1,"y",2.5,4]'):
        with pytest.raises(perdure.PayloadError, match="grown"):
            signature.decode(wrong)
