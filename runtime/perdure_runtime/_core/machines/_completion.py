"""The end of a run: result, failure, cancellation or continuation.

PYTEST_DONT_REWRITE
"""

from __future__ import annotations

import asyncio

from perdure import (
    ContinueAsNew,
    DataConverter,
    Failure,
    NonDeterministicCall,
    PayloadError,
    Serializer,
)
from perdure.extension import CATCH_ALL, record_error
from perdure_backends.history import (
    WorkflowCompleted,
    WorkflowContinuedAsNew,
    WorkflowFailed,
)

from ._base import Owner

End = WorkflowCompleted | WorkflowFailed | WorkflowContinuedAsNew


class Completion:
    """Turns the outcome of the workflow's main task into the last command."""

    def __init__(
        self,
        owner: Owner,
        converter: DataConverter,
        result: Serializer,
    ) -> None:
        self._owner = owner
        self._converter = converter
        self._result = result
        self.end: End | None = None

    def take(
        self,
        task: asyncio.Task[object],
        number: int,
        *,
        instead: BaseException | None,
        cancel_requested: bool,
        replaying: bool,
    ) -> None:
        """The main task has ended; ``instead`` is what a handler raised to end it."""
        end = self._end_of(task, number, instead, cancel_requested, replaying)
        if end is not None:
            self.end = end
            self._owner.issue(end)

    def _end_of(
        self,
        task: asyncio.Task[object],
        number: int,
        instead: BaseException | None,
        cancel_requested: bool,
        replaying: bool,
    ) -> End | None:
        if instead is None and task.cancelled():
            kind = "cancelled" if cancel_requested else "failed"
            return WorkflowFailed(
                number, Failure("CancelledError", "the workflow was cancelled"), kind
            )
        error = instead if instead is not None else task.exception()
        if isinstance(error, ContinueAsNew):
            definition = error.workflow.definition
            name, version = definition.name, definition.version
            if name == CATCH_ALL:
                name, version = self._owner.identity()
            return WorkflowContinuedAsNew(
                number, self._owner.next_run_id(), name, version, error.payload
            )
        if isinstance(error, NonDeterministicCall):
            self._owner.fault(error)  # mended code goes on from here
            return None
        if error is not None:
            failure = record_error(error, self._converter, with_stack=not replaying)
            return WorkflowFailed(number, failure)
        try:
            value = task.result()
            encode = self._result.encode if replaying else self._result.encode_checked
            return WorkflowCompleted(number, encode(value))
        except PayloadError as problem:
            self._owner.fault(problem)
            return None
