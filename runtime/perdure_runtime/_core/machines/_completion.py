"""The end of a run: result, failure, cancellation or continuation.

PYTEST_DONT_REWRITE
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from perdure import ContinueAsNew, Failure, PayloadError, Serializer
from perdure_backends.history import (
    WorkflowCompleted,
    WorkflowContinuedAsNew,
    WorkflowFailed,
)

from ._base import Owner

End = WorkflowCompleted | WorkflowFailed | WorkflowContinuedAsNew


class Completion:
    """Turns the outcome of the workflow's main task into the last command."""

    def __init__(self, owner: Owner, result: Serializer, next_run_id: Callable[[], str]) -> None:
        self._owner = owner
        self._result = result
        self._next_run_id = next_run_id
        self.end: End | None = None

    def take(
        self, task: asyncio.Task[object], number: int, *, cancel_requested: bool, replaying: bool
    ) -> None:
        """The main task has ended."""
        end = self._end_of(task, number, cancel_requested, replaying)
        if end is not None:
            self.end = end
            self._owner.issue(end)

    def _end_of(
        self, task: asyncio.Task[object], number: int, cancel_requested: bool, replaying: bool
    ) -> End | None:
        if task.cancelled():
            kind = "cancelled" if cancel_requested else "failed"
            return WorkflowFailed(
                number, Failure("CancelledError", "the workflow was cancelled"), kind
            )
        error = task.exception()
        if isinstance(error, ContinueAsNew):
            definition = error.workflow.definition
            return WorkflowContinuedAsNew(
                number, self._next_run_id(), definition.name, definition.version, error.payload
            )
        if error is not None:
            return WorkflowFailed(number, Failure.of(error, with_stack=not replaying))
        try:
            value = task.result()
            encode = self._result.encode if replaying else self._result.encode_checked
            return WorkflowCompleted(number, encode(value))
        except PayloadError as problem:
            self._owner.fault(problem)
            return None
