"""A sub-workflow: started, perhaps asked to cancel, completed or failed.

PYTEST_DONT_REWRITE
"""

from __future__ import annotations

from typing import Any, ClassVar

from perdure import ChildWorkflowError, PayloadError, Serializer, WorkflowFuture
from perdure_backends.history import ChildCancelRequested, ChildCompleted, ChildFailed

from ._base import Machine, Owner, State, Step


class ChildMachine(Machine):
    """Waits for the outcome of a sub-workflow. Cancelling asks the child and ends it here."""

    transitions: ClassVar = {
        (State.ISSUED, Step.RESOLVE): State.DONE,
        (State.ISSUED, Step.CANCEL): State.DONE,
    }

    def __init__(
        self, owner: Owner, number: int, workflow: str, instance_id: str, result: Serializer
    ) -> None:
        super().__init__(owner, number)
        self.workflow = workflow
        self.instance_id = instance_id
        self._result = result
        self.future: WorkflowFuture[Any] | None = None

    def cancel(self, message: str | None) -> bool:
        """The future is being cancelled: so is the child."""
        self.owner.issue(ChildCancelRequested(self.number))
        self.move(Step.CANCEL)
        return True

    def receive(self, event: Any) -> bool:
        """Completed or failed."""
        if not isinstance(event, (ChildCompleted, ChildFailed)):
            return False
        future = self.future
        if future is None or future.done():
            self.move(Step.RESOLVE)
        elif isinstance(event, ChildCompleted):
            try:
                value = self._result.decode(event.result)
            except PayloadError as error:
                self.owner.fault(error)
                return True
            self.move(Step.RESOLVE)
            future.set_result(value)
        else:
            self.move(Step.RESOLVE)
            wrapped = ChildWorkflowError(self.workflow, self.instance_id, event.failure)
            raised = self.owner.error_of(event.failure, event.delivered, wrapped)
            if raised is not None:
                future.set_exception(raised)
        return True

    def describe(self) -> str:
        """``sub-workflow 'name' ('id')``."""
        return f"sub-workflow {self.workflow!r} ({self.instance_id!r})"
