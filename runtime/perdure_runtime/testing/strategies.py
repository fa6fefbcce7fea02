"""Generated histories for property tests with Hypothesis (``pip install hypothesis``).

PYTEST_DONT_REWRITE
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from hypothesis import note, reject
from hypothesis import strategies as st
from perdure import (
    Activity,
    ApplicationError,
    DataConverter,
    Failure,
    Middleware,
    PayloadError,
    PerdureError,
    Signal,
    Update,
    Workflow,
)
from perdure_backends import history as h
from perdure_backends._policies import cancelled_entry, timeout_failure

from .._core import Execution, TurnResult
from .._replay import History
from .._replay._replayer import Replayer
from .._rows import text_rows
from ._clock import START, to_microseconds

_LONGEST_DELAY: Final = 7 * 86_400_000_000
"""Microseconds that an activity takes at most."""

_SOMETIMES: Final = 5
"""One outcome in so many is a failure; one step in so many is a message."""

_WIDTH: Final = 100


def histories(
    workflow: Workflow[..., Any],
    *,
    arguments: st.SearchStrategy[tuple[Any, ...]] | None = None,
    results: Mapping[Any, st.SearchStrategy[Any]] | None = None,
    failures: st.SearchStrategy[BaseException] | None = None,
    signals: Mapping[Signal[Any], st.SearchStrategy[Any]] | None = None,
    updates: Mapping[Update[Any, Any], st.SearchStrategy[Any]] | None = None,
    cancel: bool = False,
    max_turns: int = 40,
    start_time: datetime = START,
    converter: DataConverter | None = None,
    middleware: Iterable[Middleware] = (),
) -> st.SearchStrategy[History]:
    """A strategy of histories that a workflow can have.

    The workflow's code runs, as in a worker; what its activities and sub-workflows give, when, and
    which messages come in between, is drawn::

        @given(histories(subscription, signals={paused: st.booleans()}))
        def test_it_always_ends_well(history: History) -> None:
            found = replay(history, subscription)
            assert found.outcome in ("completed", "open")

        @given(histories(version_a))
        def test_what_runs_can_be_deployed_upon(history: History) -> None:
            assert replay(history, version_b).ok

    Args:
        arguments: of the workflow; by default made from its annotations.
        results: of activities and sub-workflows; by default made from their annotations.
        failures: what activities and sub-workflows raise now and then; an ``ApplicationError`` by
            default. ``st.nothing()`` for none; time-outs are among them unless it is given.
        signals, updates: that may come, with their payloads.
        cancel: the instance may be asked to cancel.
        max_turns: after which the history stays open.
        start_time: of the run.
        converter, middleware: as the worker's.

    Raises:
        PerdureError: when a history is drawn: the workflow would be put aside.
    """
    converter = converter if converter is not None else DataConverter()
    middleware = tuple(middleware)
    given = {_definition(one): strategy for one, strategy in (results or {}).items()}
    choices = _Choices(
        arguments=arguments if arguments is not None else _arguments_of(workflow),
        results=given,
        failures=failures,
        messages=[*_signals(signals or {}, converter), *_updates(updates or {}, converter)],
        cancel=cancel,
        max_turns=max_turns,
        start=to_microseconds(start_time),
        converter=converter,
    )

    @st.composite
    def drawn(draw: st.DrawFn) -> History:
        with Replayer(workflow, converter=converter, middleware=middleware) as replayer:
            run = History(
                "generated",
                "generated",
                workflow.name,
                workflow.definition.version,
                choices.start,
                [],
            )
            execution = replayer.execution(run)
            try:
                _Run(draw, choices, execution, run).to_the_end()
            finally:
                execution.close()
        note(f"history of {workflow.name}:\n" + "\n".join(text_rows(run.turns, _WIDTH)))
        return run

    return drawn()


Message = st.SearchStrategy[h.Received]


@dataclasses.dataclass(frozen=True, slots=True)
class _Choices:
    arguments: st.SearchStrategy[tuple[Any, ...]]
    results: Mapping[int, st.SearchStrategy[Any]]
    failures: st.SearchStrategy[BaseException] | None
    messages: Sequence[Message]
    cancel: bool
    max_turns: int
    start: int
    converter: DataConverter


class _Run:
    """A run whose outcomes are drawn."""

    def __init__(
        self, draw: st.DrawFn, choices: _Choices, execution: Execution, history: History
    ) -> None:
        self._draw = draw
        self._choices = choices
        self._execution = execution
        self._history = history
        self._time = choices.start
        self._outcomes: dict[int, Callable[[], h.Received]] = {}
        self._due: dict[int, int] = {}  # timers
        self._failures = choices.failures

    def to_the_end(self) -> None:
        """Fills the history, turn by turn."""
        received: h.Received | None = self._started()
        while received is not None and len(self._history.turns) < self._choices.max_turns:
            if self._turn(received):
                return
            received = self._next()

    def _started(self) -> h.Received:
        workflow = self._execution.workflow
        signature = workflow.definition.signature
        values = self._draw(self._choices.arguments, label="arguments")
        payload = signature.converted(self._choices.converter).encode(
            signature.bind(tuple(values), {}), checked=True
        )
        seed = self._draw(st.integers(0, 2**56 - 1), label="seed")
        return h.WorkflowStarted(
            workflow.name, workflow.definition.version, "default", payload, seed
        )

    def _turn(self, received: h.Received) -> bool:
        """Whether it was the last one."""
        execution = self._execution
        result = execution.run_turn(self._time, [received])
        while result.fault is None and result.local:
            number, scheduled = next(iter(result.local.items()))
            result = execution.extend_turn([self._outcome_of(number, scheduled.activity)])
        if result.fault is not None:
            if result.fault.reason == "stuck":
                return True  # a worker would put it aside here; nothing is committed
            raise PerdureError(
                f"the workflow would be put aside [{result.fault.reason}]: {result.fault.message}"
            )
        if result.events:
            self._history.turns.append(
                h.Turn(
                    h.FORMAT_VERSION,
                    execution.turn,
                    execution.microseconds,
                    result.events,
                    result.lines,
                )
            )
        self._note_effects(result)
        return result.end is not None

    def _note_effects(self, result: TurnResult) -> None:
        for event in result.events:
            match event:
                case h.ActivityScheduled(local=False):
                    called: _Callable = result.activities[event.number].activity
                    self._outcomes[event.number] = self._later(event.number, called)
                case h.ChildScheduled():
                    called = result.children[event.number].workflow
                    self._outcomes[event.number] = self._later(event.number, called)
                case h.TimerStarted():
                    self._due[event.number] = self._time + event.duration
                case h.SignalSent() | h.CancelSent():
                    self._outcomes[event.number] = _constant(h.SignalAccepted(event.number))
                case h.ActivityCancelRequested():
                    self._outcomes[event.number] = _constant(
                        h.decode_event(cancelled_entry(event.number))
                    )
                case h.ChildCancelRequested():
                    failure = Failure("WorkflowCancelledError", "cancelled", retryable=False)
                    self._outcomes[event.number] = _constant(
                        h.ChildFailed(event.number, failure, "cancelled")
                    )
                case _:
                    pass

    def _next(self) -> h.Received | None:
        """What happens next, and when."""
        waiting = set(self._execution.pending_numbers())
        due = {number: at for number, at in self._due.items() if number in waiting}
        first = min(due, key=lambda number: (due[number], number)) if due else None
        candidates = [number for number in self._outcomes if number in waiting]
        if self._choices.messages and self._draw(st.integers(0, _SOMETIMES)) == _SOMETIMES:
            return self._message()
        if self._choices.cancel and self._draw(st.integers(0, _SOMETIMES)) == _SOMETIMES:
            return h.CancelRequested("drawn")
        if first is not None and (not candidates or self._draw(st.booleans(), label="timer")):
            self._time = max(self._time, due[first])
            return h.TimerFired(first)
        if not candidates:
            return self._message() if self._choices.messages else None
        until = due[first] - self._time if first is not None else _LONGEST_DELAY
        self._time += self._draw(st.integers(0, max(0, until)), label="delay")
        number = self._draw(st.sampled_from(candidates), label="what ends")
        return self._outcomes.pop(number)()

    def _message(self) -> h.Received:
        message: h.Received = self._draw(st.one_of(*self._choices.messages), label="message")
        return message

    def _later(self, number: int, what: _Callable) -> Callable[[], h.Received]:
        return lambda: self._outcome_of(number, what)

    def _outcome_of(self, number: int, what: _Callable) -> h.Received:
        is_activity = isinstance(what, Activity)
        if self._draw(st.integers(0, _SOMETIMES), label="fails") == _SOMETIMES:
            failed = self._failure(is_activity=is_activity)
            if failed is not None:
                failure, kind = failed
                make = h.ActivityFailed if is_activity else h.ChildFailed
                return make(number, failure, kind)
        signature = what.definition.signature
        strategy = self._choices.results.get(id(what.definition))
        if strategy is None:
            strategy = _of_type(signature.resolve()[1])
        value = self._draw(strategy, label=f"result of {what.name}")
        try:
            payload = signature.converted(self._choices.converter).result.encode_checked(value)
        except PayloadError:
            if id(what.definition) in self._choices.results:
                raise
            reject()  # made from an annotation that allows more than can be stored
        make_done = h.ActivityCompleted if is_activity else h.ChildCompleted
        return make_done(number, payload)

    def _failure(self, *, is_activity: bool) -> tuple[Failure, str] | None:
        strategy = self._failures
        if strategy is None:
            if is_activity and self._draw(st.booleans(), label="timeout"):
                return timeout_failure("start_to_close", 10_000_000), "timeout"
            return Failure.of(ApplicationError("a generated failure")), "failed"
        if strategy.is_empty:
            return None
        return Failure.of(self._draw(strategy, label="failure")), "failed"


_Callable = Activity[..., Any] | Workflow[..., Any]


def _definition(what: object) -> int:
    definition = getattr(what, "definition", None)
    if definition is None:
        raise TypeError(f"results are given by activity or workflow, not by {what!r}")
    return id(definition)


def _constant(event: h.Received) -> Callable[[], h.Received]:
    return lambda: event


def _arguments_of(workflow: Workflow[..., Any]) -> st.SearchStrategy[tuple[Any, ...]]:
    signature = workflow.definition.signature
    required = signature.resolve()[0][: signature.required]
    return st.tuples(*[_of_type(one) for one in required])


def _of_type(annotation: Any) -> st.SearchStrategy[Any]:
    return st.from_type(annotation).filter(_is_stored)


def _is_stored(value: object) -> bool:
    """JSON has no infinity and nothing that is not a number."""
    return not isinstance(value, float) or math.isfinite(value)


def _signals(
    given: Mapping[Signal[Any], st.SearchStrategy[Any]], converter: DataConverter
) -> Iterable[Message]:
    for signal, payloads in given.items():
        yield payloads.map(functools.partial(_signal_received, signal, converter))


def _signal_received(signal: Signal[Any], converter: DataConverter, payload: Any) -> h.Received:
    encoded = signal.serializer(converter).encode_checked(payload)
    return h.SignalReceived(signal.name, encoded)


def _updates(
    given: Mapping[Update[Any, Any], st.SearchStrategy[Any]], converter: DataConverter
) -> Iterable[Message]:
    for update, arguments in given.items():
        asked = st.tuples(st.uuids(version=4), arguments)
        yield asked.map(functools.partial(_update_received, update, converter))


def _update_received(
    update: Update[Any, Any], converter: DataConverter, asked: tuple[Any, Any]
) -> h.Received:
    encoded = update.argument_serializer(converter).encode_checked(asked[1])
    return h.UpdateReceived(str(asked[0]), update.name, encoded)
