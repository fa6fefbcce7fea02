"""A deterministic surrounding for the core alone: outcomes at virtual times, crashes at will."""

from __future__ import annotations

import heapq
import itertools
import json
from collections.abc import Callable
from typing import Any

from perdure import DataConverter, Failure
from perdure_backends import history as h
from perdure_runtime._core import Execution, TurnResult
from programs import interpret

START = 1_700_000_000_000_000


class Virtual:
    """One run of ``interpret`` whose outcomes come at virtual times.

    Args:
        crash: asked before each turn whether the execution is thrown away and replayed first.
    """

    def __init__(self, program: Any, crash: Callable[[], bool]) -> None:
        self.converter = DataConverter()
        self.crash = crash
        self.time = START
        self.records: list[bytes] = []
        self.execution = self.fresh()
        self.replays = 0
        self.answers: dict[str, Any] = {}
        self._order = itertools.count()
        self._due: list[tuple[int, int, h.Received]] = []
        start = h.WorkflowStarted(
            interpret.name, 1, "default", json.dumps([program]).encode(), seed=99
        )
        self.plan(0, start)

    def fresh(self) -> Execution:
        """A new execution of the run."""
        return Execution(
            interpret,
            instance_id="i",
            run_id="r",
            started_at=START,
            converter=self.converter,
            strict=True,
        )

    def plan(self, delay: int, event: h.Received) -> None:
        """An event comes ``delay`` microseconds from now."""
        heapq.heappush(self._due, (self.time + delay, next(self._order), event))

    def run(self) -> Any:
        """Runs to the end; the result, the failure, or the fault."""
        try:
            return self._run(limit=3000)
        finally:
            self.execution.close()

    def _run(self, limit: int) -> Any:
        for _ in range(limit):
            if self.crash():
                self.reload()
            if not self._due:
                return "nothing is due"
            self.time, _, event = heapq.heappop(self._due)
            events = [event]
            while self._due and self._due[0][0] == self.time and len(events) < 3:
                events.append(heapq.heappop(self._due)[2])
            result = self.turn(events)
            if result.fault is not None:
                return result.fault
            if result.end is not None:
                end = result.end
                return json.loads(end.result) if isinstance(end, h.WorkflowCompleted) else end
        return "no end"

    def reload(self) -> None:
        """A crash: what is in memory is lost, history is replayed."""
        self.execution.close()
        self.execution = self.fresh()
        self.replays += 1
        for record in self.records:
            fault = self.execution.replay(h.decode_turn(record), len(record))
            assert fault is None, fault.message

    def turn(self, events: list[h.Received]) -> TurnResult:
        """One turn with its local activities, recorded."""
        result = self.execution.run_turn(self.time, events)
        while result.fault is None and result.local:
            number, scheduled = next(iter(result.local.items()))
            value = json.loads(scheduled.command.input)[0] + 1
            done = h.ActivityCompleted(number, json.dumps(value).encode())
            result = self.execution.extend_turn([done])
        if result.fault is None and result.events:
            execution = self.execution
            record = h.encode_turn(execution.turn, execution.microseconds, result.events)
            execution.history_size += len(record)
            self.records.append(record)
            for event in result.events:
                self.effect(event)
        return result

    def effect(self, event: h.AnyEvent) -> None:
        """What a command brings about."""
        if isinstance(event, h.ActivityScheduled) and not event.local:
            number = json.loads(event.input)[0]
            self.plan(700 + 300 * number, _outcome(event.number, number))
        elif isinstance(event, h.TimerStarted):
            self.plan(event.duration, h.TimerFired(event.number))
        elif isinstance(event, h.ChildScheduled):
            number = json.loads(event.input)[0]
            self.plan(900, _child_outcome(event.number, number))
        elif isinstance(
            event, (h.TimerCancelled, h.ActivityCancelRequested, h.ChildCancelRequested)
        ):
            number = event.number
            self._due = [one for one in self._due if getattr(one[2], "number", None) != number]
            heapq.heapify(self._due)
        elif isinstance(event, h.UpdateAnswered):
            self.answers[event.update_id] = event.result or event.failure


def _outcome(number: int, value: int) -> h.Received:
    if value % 5 == 4:
        return h.ActivityFailed(number, Failure("ValueError", f"bad {value}"))
    return h.ActivityCompleted(number, str(value * 2).encode())


def _child_outcome(number: int, value: int) -> h.Received:
    if value % 5 == 4:
        message = f"activity 'work' failed: ValueError: bad {value}"
        return h.ChildFailed(number, Failure("ActivityError", message))
    return h.ChildCompleted(number, str(value * 2).encode())
