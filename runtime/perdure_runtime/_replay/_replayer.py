"""Replays a history against the code at hand, and says where and how the two part.

PYTEST_DONT_REWRITE
"""

from __future__ import annotations

import dataclasses
import linecache
import logging
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final, Literal

from perdure import DataConverter, Middleware, NonDeterminismError, Workflow
from perdure_backends import history as h

from .._core import Execution, Fault
from .._guard import Guard, install, uninstall
from ._explain import Change, changes, likely
from ._files import History
from ._speculate import speculate

Outcome = Literal["completed", "failed", "cancelled", "continued", "open"]

_CONVERTER: Final = DataConverter()
_log: Final = logging.getLogger("perdure.runtime")


@dataclasses.dataclass(frozen=True, slots=True)
class Divergence:
    """Where code and history part.

    Attributes:
        reason: ``mismatch``; ``payload`` (something does not decode), ``nondeterministic`` (a call
            that the guard refuses), ``newer_history``, ``internal``.
        message: in one line.
        turn: from 1.
        position: of the command within the turn, from 0.
        expected, actual: the commands, in words; empty when there is none.
        location: ``file:line`` where the code issued the actual command, or where it waits.
        recorded: ``folder/file.py:line`` where the code of then issued the expected command; empty
            when unknown.
        changes: the commands of history and code around it, aligned.
        likely: the edit that explains it, and what to do.
    """

    reason: str
    message: str
    turn: int
    position: int
    expected: str
    actual: str
    location: str
    recorded: str
    changes: list[Change]
    likely: str

    def __str__(self) -> str:
        """Several lines for people."""
        lines = [f"turn {self.turn}, command {self.position}: {self.message}"]
        if self.location:
            lines.append(f"  {self.location}")
            source = _source(self.location)
            if source:
                lines.append(f"    | {source}")
        if self.reason == "mismatch":
            then = f"   (then {self.recorded})" if self.expected and self.recorded else ""
            lines.append(f"  history expects: {self.expected or 'nothing more'}{then}")
            lines.append(f"  the code did:    {self.actual or 'nothing more'}")
        if self.changes:
            lines.append("")
            lines += [f"  {change}" for change in self.changes]
        if self.likely:
            lines += ["", f"  {self.likely}"]
        return "\n".join(lines)


@dataclasses.dataclass(frozen=True, slots=True)
class ReplayResult:
    """What a replay found.

    Attributes:
        outcome: how far the history goes.
        result: what the workflow returned, where it completed.
        turns, events: how many were replayed.
        warnings: arguments that are others now, where that is no mismatch.
        divergence: why code and history do not fit; ``None`` when they do.
    """

    outcome: Outcome
    result: Any
    turns: int
    events: int
    warnings: list[str]
    divergence: Divergence | None

    @property
    def ok(self) -> bool:
        """Whether the code fits the history."""
        return self.divergence is None


class Replayer:
    """Replays histories of one workflow, turn by turn as they are read.

    Use as ``with``: the guard watches meanwhile.

    Args:
        workflow: the code at hand.
        strict: changed arguments are a mismatch, not a warning.
        converter, middleware: as the worker's.
        guard: refuse calls that a worker's guard refuses.
    """

    def __init__(
        self,
        workflow: Workflow[..., Any],
        *,
        strict: bool = False,
        converter: DataConverter | None = None,
        middleware: Sequence[Middleware] = (),
        guard: bool = True,
    ) -> None:
        self.workflow = workflow
        self._strict = strict
        self._converter = converter if converter is not None else _CONVERTER
        self._middleware = middleware
        self._guard = Guard(()) if guard else None
        self._level = 0

    def __enter__(self) -> Replayer:
        if self._guard is not None:
            install([self.workflow])
        self._level = _log.level
        _log.setLevel(logging.CRITICAL)  # warnings are in the result
        return self

    def __exit__(self, *_: object) -> None:
        _log.setLevel(self._level)
        if self._guard is not None:
            uninstall()

    def execution(self, run: History) -> Execution:
        """A new execution of a run."""
        return Execution(
            self.workflow,
            instance_id=run.instance_id,
            run_id=run.run_id,
            started_at=run.started_at,
            converter=self._converter,
            strict=self._strict,
            middleware=self._middleware,
            guard=self._guard,
        )

    def replay(self, run: History) -> ReplayResult:
        """Replays a run that is in memory."""
        execution = self.execution(run)
        events = 0
        last: h.Turn | None = None
        try:
            for turn in run.turns:
                fault = execution.replay(turn)
                if fault is not None:
                    found = divergence_of(run, fault, execution, self.execution)
                    return ReplayResult(
                        "open", None, turn.number - 1, events, execution.warnings, found
                    )
                events += len(turn.events)
                last = turn
            return self.finished(execution, last, events)
        finally:
            execution.close()

    def finished(self, execution: Execution, last: h.Turn | None, events: int) -> ReplayResult:
        """The result of a replay that came to the end of what is stored."""
        outcome, result = self._outcome(last)
        return ReplayResult(outcome, result, execution.turn, events, execution.warnings, None)

    def _outcome(self, last: h.Turn | None) -> tuple[Outcome, Any]:
        for event in reversed(last.events if last is not None else []):
            if isinstance(event, h.WorkflowCompleted):
                converted = self.workflow.definition.signature.converted(self._converter)
                return "completed", converted.result.decode(event.result)
            if isinstance(event, h.WorkflowFailed):
                return ("cancelled" if event.kind == "cancelled" else "failed"), None
            if isinstance(event, h.WorkflowContinuedAsNew):
                return "continued", None
        return "open", None


def replay(
    history: History | Iterable[h.Turn],
    workflow: Workflow[..., Any],
    *,
    strict: bool = False,
    converter: DataConverter | None = None,
    middleware: Sequence[Middleware] = (),
    guard: bool = True,
) -> ReplayResult:
    """Replays a history, without a store, without side effects.

    Args:
        history: a run, or its turns.
        workflow: the code at hand.
        strict: changed arguments are a mismatch, not a warning.
        converter, middleware: as the worker's.
        guard: refuse calls that a worker's guard refuses.
    """
    run = history if isinstance(history, History) else _bare(history, workflow)
    options: dict[str, Any] = {"converter": converter, "middleware": middleware, "guard": guard}
    with Replayer(workflow, strict=strict, **options) as replayer:
        return replayer.replay(run)


def _bare(turns: Iterable[h.Turn], workflow: Workflow[..., Any]) -> History:
    found = list(turns)
    time = found[0].time if found else 0
    return History("replay", "replay", workflow.name, workflow.definition.version, time, found)


def divergence_of(
    run: History, fault: Fault, execution: Execution, fresh: Callable[[History], Execution]
) -> Divergence:
    """Explains a fault of a replay.

    Args:
        run: the run, with all turns that can be read.
        execution: that has the fault.
        fresh: makes another execution of a run.
    """
    details = fault.details
    turn = execution.turn
    position = int(details.get("position", "0"))
    location = details.get("location", "")
    if not location:
        stacks = execution.stacks()
        location = stacks[0].partition(" at ")[2] if stacks else ""
    if not location:  # it has ended, and left no frame
        code = execution.workflow.definition.function.__code__
        location = f"{code.co_filename}:{code.co_firstlineno}"
    found: list[Change] = []
    if fault.reason == "mismatch":
        found = changes(run.turns, speculate(run, turn, fresh))
    return Divergence(
        reason=fault.reason,
        message=_message(fault),
        turn=turn,
        position=position,
        expected=details.get("expected", "").replace("nothing more", ""),
        actual=details.get("actual", "").replace("nothing more", ""),
        location=location,
        recorded=details.get("recorded", ""),
        changes=found,
        likely=likely(found, fault),
    )


def _message(fault: Fault) -> str:
    error = fault.error
    if isinstance(error, NonDeterminismError):
        return error.reason
    return fault.message.partition("\n")[0]


def _source(location: str) -> str:
    path, _, line = location.rpartition(":")
    return linecache.getline(path, int(line)).strip() if line.isdigit() else ""
