"""Whether the code at hand fits what is stored: replays of a store's instances, read-only.

PYTEST_DONT_REWRITE
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from contextlib import aclosing
from typing import Any, Literal

from perdure import DataConverter, Middleware, Workflow
from perdure_backends import Backend
from perdure_backends import history as h
from perdure_backends.records import InstanceRecord

from .._core import Fault
from .._handle import stored_turns
from .._registry import Registry
from ._files import History
from ._replayer import Divergence, Replayer, ReplayResult, divergence_of

Verdict = Literal["fits", "differs", "unknown"]


@dataclasses.dataclass(frozen=True, slots=True)
class Verified:
    """What was found out about one instance.

    Attributes:
        verdict: ``fits``; ``differs``; ``unknown`` when the code has no such workflow.
        turns, events: how many were replayed.
        warnings: arguments that are others now.
        divergence: the facts by name, where they differ (see :class:`Divergence`), and ``text``.
    """

    instance_id: str
    run_id: str
    workflow: str
    version: int
    state: str
    verdict: Verdict
    turns: int
    events: int
    warnings: list[str]
    divergence: dict[str, Any] | None

    @classmethod
    def of(cls, run: History, state: str, result: ReplayResult | None) -> Verified:
        """What a replay found; ``None`` when there was no code to replay it with."""
        divergence = None if result is None else result.divergence
        return cls(
            instance_id=run.instance_id,
            run_id=run.run_id,
            workflow=run.workflow,
            version=run.version,
            state=state,
            verdict="unknown" if result is None else "fits" if result.ok else "differs",
            turns=0 if result is None else result.turns,
            events=0 if result is None else result.events,
            warnings=[] if result is None else result.warnings,
            divergence=None if divergence is None else divergence_data(divergence),
        )

    @property
    def key(self) -> tuple[str, ...]:
        """Instances that differ in the same way have the same."""
        facts = self.divergence or {}
        names = ("reason", "message", "expected", "actual", "location")
        return (self.workflow, *(str(facts.get(name, "")) for name in names))


class Verifier:
    """Replays instances of a store against the code at hand.

    Args:
        backend: an open store; only read from.
        workflows: the code.
        strict: changed arguments are a mismatch, not a warning.
        converter, middleware: as the worker's.
        guard: refuse calls that a worker's guard refuses.
    """

    def __init__(
        self,
        backend: Backend,
        workflows: Iterable[Workflow[..., Any]],
        *,
        strict: bool = False,
        converter: DataConverter | None = None,
        middleware: tuple[Middleware, ...] = (),
        guard: bool = True,
    ) -> None:
        self._backend = backend
        self._registry = Registry(workflows, (), converter or DataConverter())
        self._options: dict[str, Any] = {
            "strict": strict,
            "converter": converter,
            "middleware": middleware,
            "guard": guard,
        }

    async def verify(self, record: InstanceRecord) -> Verified:
        """Replays one run, page by page.

        Raises:
            BackendError: the store could not be read.
        """
        run = History.of(record, [])
        if not self._registry.offers_workflow(record.workflow, record.version):
            return Verified.of(run, record.state, None)
        workflow = self._registry.workflow(record.workflow, record.version)
        with Replayer(workflow, **self._options) as replayer:
            result = await self._replay(replayer, run)
        return Verified.of(run, record.state, result)

    async def _replay(self, replayer: Replayer, run: History) -> ReplayResult:
        execution = replayer.execution(run)
        last: h.Turn | None = None
        fault: Fault | None = None
        events = 0
        try:
            try:
                async with aclosing(stored_turns(self._backend, run.run_id)) as turns:
                    async for turn in turns:
                        last = turn
                        fault = execution.replay(turn)
                        if fault is not None:
                            break
                        events += len(turn.events)
            except h.NewerHistoryError as error:
                fault = Fault("newer_history", str(error), {}, error)
            if fault is None:
                return replayer.finished(execution, last, events)
            whole = dataclasses.replace(run, turns=await self._turns(run.run_id))
            found = divergence_of(whole, fault, execution, replayer.execution)
            before = execution.turn - 1
            return ReplayResult("open", None, before, events, execution.warnings, found)
        finally:
            execution.close()

    async def _turns(self, run_id: str) -> list[h.Turn]:
        """All that can be read of a run, for the comparison."""
        turns: list[h.Turn] = []
        try:
            async for turn in stored_turns(self._backend, run_id):
                turns.append(turn)
        except h.NewerHistoryError:
            pass
        return turns


def divergence_data(divergence: Divergence) -> dict[str, Any]:
    """A divergence as plain data."""
    return {
        "reason": divergence.reason,
        "message": divergence.message,
        "turn": divergence.turn,
        "position": divergence.position,
        "expected": divergence.expected,
        "actual": divergence.actual,
        "location": divergence.location,
        "recorded": divergence.recorded,
        "likely": divergence.likely,
        "changes": [
            {"mark": change.mark.strip(), "command": change.command, "location": change.location}
            for change in divergence.changes
        ],
        "text": str(divergence),
    }
