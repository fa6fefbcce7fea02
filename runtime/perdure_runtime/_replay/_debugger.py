"""Steps through a history, forwards and backwards, with what the code has in hand at each event.

Nothing is recorded but the history: to go back is to replay from the start. The turn at hand is
kept as a list of moments, so that steps within it cost nothing.

PYTEST_DONT_REWRITE
"""

from __future__ import annotations

import bisect
import copy
import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from perdure import DataConverter, Middleware, PerdureError, UsageError, Workflow
from perdure_backends import history as h

from .._core import Fault
from .._core._compare import describe
from ._files import History
from ._frames import TaskView, tasks, views
from ._replayer import Divergence, Replayer, divergence_of


@dataclasses.dataclass(frozen=True, slots=True)
class PendingView:
    """A command that has no outcome so far.

    Attributes:
        number: of the command.
        command: in words.
        location: ``file:line`` that issued it.
        issued_at: time of that turn, microseconds since the epoch.
    """

    number: int
    command: str
    location: str
    issued_at: int


@dataclasses.dataclass(frozen=True, slots=True)
class Moment:
    """What there is at an event: just before it is delivered, or as the code issues it.

    Attributes:
        position: of the event in the history, from 0; behind the last one at the end.
        turn: from 1.
        time: of the turn, microseconds since the epoch.
        event: ``None`` at the end.
        location: ``file:line`` of the code that issues the event.
        tasks: first the one that runs; at most 100.
        published: the published state as plain data; ``None`` when there is none.
        divergence: at the end, where the code does not fit the history.
    """

    position: int
    turn: int
    time: int
    event: h.AnyEvent | None
    location: str
    tasks: list[TaskView]
    pending: list[PendingView]
    published: Any
    divergence: Divergence | None


class Debugger:
    """A history and the code at hand, at one of its events. Use as ``with``.

    ::

        with Debugger(history, order) as debugger:
            moment = debugger.goto(17)
            print(moment.tasks[0].frames[-1].variables)
            print(debugger.evaluate("receipts[-1]"))
            debugger.back()

    No store is touched. ``breakpoint()`` in the code works as it does anywhere.

    Args:
        history: a run.
        workflow: the code at hand.
        strict: changed arguments are a mismatch.
        converter, middleware, guard: as the worker's.

    Attributes:
        position: of the event, from 0.

    Raises:
        UsageError: no turn has run so far.
    """

    def __init__(
        self,
        history: History,
        workflow: Workflow[..., Any],
        *,
        strict: bool = False,
        converter: DataConverter | None = None,
        middleware: Sequence[Middleware] = (),
        guard: bool = True,
    ) -> None:
        if not history.turns:
            raise UsageError(f"{history.instance_id}: no turn has run so far, there is no history")
        self.history = history
        self.position = 0
        self._replayer = Replayer(
            workflow, strict=strict, converter=converter, middleware=middleware, guard=guard
        )
        self._starts = [0]
        for turn in history.turns:
            self._starts.append(self._starts[-1] + len(turn.events))
        self._end: int | None = None
        self._last_turn = len(history.turns)
        self._run: _Run | None = None
        self._turn = 0
        self._seen: list[_Seen] = []

    def __enter__(self) -> Debugger:
        self._replayer.__enter__()
        self.goto(0)
        return self

    def __exit__(self, *_: object) -> None:
        self._close()
        self._replayer.__exit__()

    @property
    def last(self) -> int:
        """The position behind the last event; where code and history part, once that is known."""
        return self._starts[-1] if self._end is None else self._end

    @property
    def moment(self) -> Moment:
        """What there is at :attr:`position`."""
        return self._seen[self._index].moment

    def goto(self, position: int) -> Moment:
        """Goes to an event; below 0 it counts from the end, which is -1.

        Goes no further than to where code and history part.
        """
        if position < 0:
            position += self.last + 1
        position = max(0, min(position, self.last))
        turn = min(bisect.bisect_right(self._starts, position), self._last_turn)
        if turn < self._turn:
            self._close()
        self._replay_to(turn)
        self.position = min(position, self.last)
        return self.moment

    def forward(self, events: int = 1) -> Moment:
        """Goes on by so many events."""
        return self.goto(self.position + events)

    def back(self, events: int = 1) -> Moment:
        """Goes back by so many events."""
        return self.goto(max(0, self.position - events))

    def goto_turn(self, number: int) -> Moment:
        """Goes to the first event of a turn, from 1; of the last turn when there are fewer."""
        number = max(1, min(number, len(self.history.turns)))
        return self.goto(self._starts[number - 1])

    def evaluate(self, expression: str, *, task: int = 0, frame: int = -1) -> Any:
        """A copy of an expression's value in a function of a task, at :attr:`position`.

        The code is replayed up to there once more: what the expression changes is gone afterwards.

        Args:
            expression: Python, such as ``order.total``.
            task: index in :attr:`Moment.tasks`.
            frame: index in :attr:`TaskView.frames`.

        Raises:
            UsageError: there is no such task or function.
            Exception: what the expression raises.
        """
        run = _Run(self._replayer, self.history)
        try:
            for recorded in self.history.turns[: self._turn - 1]:
                run.replay(recorded)
            return run.evaluate(
                self.history.turns[self._turn - 1],
                self._seen[self._index].at,
                expression,
                task,
                frame,
            )
        finally:
            run.close()

    # --- inside

    @property
    def _index(self) -> int:
        return self.position - self._starts[self._turn - 1]

    def _replay_to(self, turn: int) -> None:
        if self._run is None:
            self._run = _Run(self._replayer, self.history)
        run = self._run
        while self._turn < turn:
            recorded = self.history.turns[self._turn]
            self._turn += 1
            if self._turn < turn:
                if run.replay(recorded) is not None:
                    # They part in a turn before: that one is where to stop, with all that it did.
                    stop = self._turn
                    self._close()
                    self._replay_to(stop)
                    return
                continue
            start = self._starts[turn - 1]
            self._seen, fault = run.watch(recorded, start)
            if fault is not None or turn == len(self.history.turns):
                self._end, self._last_turn = start + len(self._seen), turn
                divergence = None if fault is None else self._explain(run, fault)
                self._seen.append(_Seen(-1, run.moment(self._end, None, divergence)))

    def _explain(self, run: _Run, fault: Fault) -> Divergence:
        return divergence_of(self.history, fault, run.execution, self._replayer.execution)

    def _close(self) -> None:
        if self._run is not None:
            self._run.close()
        self._run, self._turn, self._seen = None, 0, []


class _Seen(NamedTuple):
    """A moment, and which call of the observer in its turn it was; -1 for the turn's end."""

    at: int
    moment: Moment


class _Run:
    """An execution under observation."""

    def __init__(self, replayer: Replayer, history: History) -> None:
        self.execution = replayer.execution(history)
        self._issued: dict[int, tuple[str, str, int]] = {}
        self._published: bytes | None = None

    def replay(self, turn: h.Turn) -> Fault | None:
        """A turn that nobody looks at."""
        return self._replay(turn, self._note)

    def watch(self, turn: h.Turn, start: int) -> tuple[list[_Seen], Fault | None]:
        """A turn with its moments; ``start`` is the position of its first event."""
        events: list[h.AnyEvent] = []
        moments: list[Moment] = []

        def observe(event: h.AnyEvent) -> None:
            self._note(event)
            events.append(event)
            moments.append(self.moment(0, event, None))

        fault = self._replay(turn, observe)
        timers = (h.TimerStarted, h.TimerCancelled)
        started = {e.number for e in events if isinstance(e, h.TimerStarted)}
        brief = {e.number for e in events if isinstance(e, h.TimerCancelled)} & started
        seen: list[_Seen] = []
        for at, (event, moment) in enumerate(zip(events, moments, strict=True)):
            if not (isinstance(event, timers) and event.number in brief):  # they leave no record
                position = start + len(seen)
                seen.append(_Seen(at, dataclasses.replace(moment, position=position)))
        return seen, fault

    def evaluate(self, turn: h.Turn, at: int, expression: str, task: int, frame: int) -> Any:
        """The value of an expression at one call of the observer, -1 for the turn's end."""
        results: list[tuple[Any, Exception | None]] = []
        calls = 0

        def ask() -> None:
            try:
                with self.execution.unguarded():
                    results.append((self._evaluate(expression, task, frame), None))
            except Exception as error:
                results.append((None, error))

        def observe(_: h.AnyEvent) -> None:
            nonlocal calls
            if calls == at:
                ask()
            calls += 1

        self._replay(turn, observe)
        if not results:
            with self.execution.loop.entered():
                ask()
        value, error = results[0]
        if error is not None:
            raise error
        return value

    def _evaluate(self, expression: str, task: int, frame: int) -> Any:
        try:
            _, _, frames = tasks(self.execution)[task]
            chosen = frames[frame]
        except IndexError:
            raise UsageError(f"there is no function {frame} of task {task} at this event") from None
        # What the person at the debugger typed, in their own process, as in pdb.
        value = eval(expression, chosen.f_globals, dict(chosen.f_locals))  # noqa: S307
        try:
            return copy.deepcopy(value)  # the code runs on, and changes it
        except Exception:
            return value

    def _replay(self, turn: h.Turn, observe: Callable[[h.AnyEvent], None]) -> Fault | None:
        execution = self.execution
        execution.observer = observe
        try:
            return execution.replay(turn)
        finally:
            execution.observer = None
            self._published = execution.calls.published or self._published

    def moment(
        self, position: int, event: h.AnyEvent | None, divergence: Divergence | None
    ) -> Moment:
        """What there is now."""
        execution = self.execution
        with execution.unguarded():  # a repr may do what it likes
            found = views(execution)
        return Moment(
            position=position,
            turn=execution.turn,
            time=execution.microseconds,
            event=event,
            location=execution.location(event) if isinstance(event, h.Command) else "",
            tasks=found,
            pending=[PendingView(n, *self._issued[n]) for n in execution.pending_numbers()],
            published=self._published_state(),
            divergence=divergence,
        )

    def _published_state(self) -> Any:
        payload = self.execution.calls.published or self._published
        if payload is None:
            return None
        try:
            payload = self.execution.converter.unwrap(payload)
        except PerdureError:
            pass  # shown as it is
        return h.payload_to_jsonable(payload)

    def _note(self, event: h.AnyEvent) -> None:
        if isinstance(event, h.Command):
            execution = self.execution
            words = describe(event).removesuffix(f" (number {event.number})")
            issued = (words, execution.location(event), execution.microseconds)
            self._issued.setdefault(event.number, issued)

    def close(self) -> None:
        """Takes it out of memory."""
        self.execution.close()
