"""A driver for the core alone: runs a workflow turn by turn, with scripted outcomes."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from perdure import DataConverter, Failure, Workflow
from perdure_backends import history as h
from perdure_runtime._core import Execution, Fault, TurnResult

START = 1_700_000_000_000_000

made: list[Execution] = []
"""Executions of the current test, to be closed after it."""


class CoreDriver:
    """One run in the core, with the turns that it made.

    Args:
        workflow: what to run.
        args: its arguments, as JSON-like values.
    """

    def __init__(self, workflow: Workflow[..., Any], *args: Any, seed: int = 42) -> None:
        self.workflow = workflow
        self.converter = DataConverter()
        self.time = START
        self.turns: list[bytes] = []
        self.execution = self.fresh()
        self.last: TurnResult | None = None
        self._start = h.WorkflowStarted(
            workflow.name, 1, "default", json.dumps(args).encode(), seed
        )

    def fresh(self, workflow: Workflow[..., Any] | None = None) -> Execution:
        """A new execution of the same run, perhaps with other code."""
        execution = Execution(
            workflow or self.workflow,
            instance_id="instance",
            run_id="run",
            started_at=START,
            converter=self.converter,
        )
        made.append(execution)
        return execution

    def start(self) -> TurnResult:
        """The first turn."""
        return self.turn(self._start)

    def turn(self, *events: h.Received, advance: float = 0.0) -> TurnResult:
        """One live turn."""
        self.time += round(advance * 1e6)
        result = self.execution.run_turn(self.time, list(events))
        self.last = result
        if result.fault is None:
            execution = self.execution
            self.turns.append(h.encode_turn(execution.turn, execution.microseconds, result.events))
        return result

    def commands(self) -> list[h.Command]:
        """The commands of the last turn."""
        result = self.last
        return [e for e in result.events if isinstance(e, h.Command)] if result else []

    def run(self, outcome: Callable[[h.ActivityScheduled], Any], *, limit: int = 1000) -> Any:
        """Runs to the end: each activity gets ``outcome(command)``, timers fire in due order.

        An exception as outcome fails the activity. Returns the result, or the last command.
        """
        pending: list[tuple[int, h.Received]] = []
        result = self.start()
        for _ in range(limit):
            if result.fault is not None:
                return result.fault
            if result.end is not None:
                end = result.end
                return json.loads(end.result) if isinstance(end, h.WorkflowCompleted) else end
            for command in self.commands():
                if isinstance(command, h.ActivityScheduled):
                    pending.append((self.time, _outcome(command, outcome(command))))
                elif isinstance(command, h.TimerStarted):
                    pending.append((self.time + command.duration, h.TimerFired(command.number)))
            pending.sort(key=lambda item: item[0])
            due, event = pending.pop(0)
            result = self.turn(event, advance=max(0, due - self.time) / 1e6)
        raise AssertionError("the workflow does not end")

    def replay(self, workflow: Workflow[..., Any] | None = None) -> Fault | None:
        """Replays all turns, perhaps against other code; the fault, if there is one."""
        execution = self.fresh(workflow)
        for record in self.turns:
            fault = execution.replay(h.decode_turn(record))
            if fault is not None:
                return fault
        return None


def _outcome(command: h.ActivityScheduled, value: Any) -> h.Received:
    if isinstance(value, BaseException):
        return h.ActivityFailed(command.number, Failure.of(value))
    return h.ActivityCompleted(command.number, json.dumps(value).encode())


def kinds(commands: list[h.Command]) -> list[str]:
    """Commands in short form: ``activity_scheduled:1``."""
    return [f"{h.tag_of(command)}:{command.number}" for command in commands]
