"""An activity: scheduled, perhaps asked to cancel, completed or failed.

PYTEST_DONT_REWRITE
"""

from __future__ import annotations

from typing import Any, ClassVar

from perdure import (
    ActivityCancelledError,
    ActivityError,
    ActivityFuture,
    ActivityTimeoutError,
    PayloadError,
    Serializer,
)
from perdure_backends.history import ActivityCancelRequested, ActivityCompleted, ActivityFailed

from ._base import Machine, Owner, State, Step


class ActivityMachine(Machine):
    """Waits for the outcome of an activity.

    Cancelling its future follows the cancellation type: *try* ends it here at once, *wait* keeps
    it until the end is confirmed, *abandon* ends it here and sends nothing.
    """

    transitions: ClassVar = {
        (State.ISSUED, Step.RESOLVE): State.DONE,
        (State.ISSUED, Step.CANCEL): State.CANCELLING,
        (State.CANCELLING, Step.RESOLVE): State.DONE,
    }

    def __init__(
        self, owner: Owner, number: int, name: str, result: Serializer, cancellation: str
    ) -> None:
        super().__init__(owner, number)
        self.name = name
        self.cancellation = cancellation
        self._result = result
        self.future: ActivityFuture[Any] | None = None

    def cancel(self, message: str | None) -> bool:
        """The future is being cancelled; ``True`` when it may be, at once."""
        if self.state is State.CANCELLING:
            return False
        if self.cancellation != "abandon":
            self.owner.issue(ActivityCancelRequested(self.number))
        self.move(Step.CANCEL)
        if self.cancellation == "wait":
            return False
        self.move(Step.RESOLVE)
        return True

    def receive(self, event: Any) -> bool:
        """Completed or failed."""
        future = self.future
        if not isinstance(event, (ActivityCompleted, ActivityFailed)):
            return False
        confirmed = self.state is State.CANCELLING
        if future is None or future.done():
            self.move(Step.RESOLVE)
            return True
        if isinstance(event, ActivityCompleted):
            try:
                value = self._result.decode(event.result)
            except PayloadError as error:
                self.owner.fault(error)
                return True
            self.move(Step.RESOLVE)
            future.set_result(value)
            return True
        self.move(Step.RESOLVE)
        if event.kind == "cancelled" and confirmed:
            future.confirm_cancelled()
        elif event.kind == "cancelled":
            future.set_exception(ActivityCancelledError(self.name, event.failure))
        elif event.kind == "timeout":
            future.set_exception(ActivityTimeoutError(self.name, event.failure))
        else:
            wrapped = ActivityError(self.name, event.failure)
            raised = self.owner.error_of(event.failure, event.delivered, wrapped)
            if raised is not None:
                future.set_exception(raised)
        return True

    def describe(self) -> str:
        """``activity 'name'``."""
        return f"activity {self.name!r}"
