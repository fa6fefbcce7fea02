"""A signal to another instance: sent, accepted or refused.

PYTEST_DONT_REWRITE
"""

from __future__ import annotations

from typing import Any, ClassVar

from perdure import SignalError, SignalFuture
from perdure_backends.history import SignalAccepted, SignalRefused

from ._base import Machine, Owner, State, Step


class SignalMachine(Machine):
    """Waits for the receiver's acceptance. Cancelling the future does not call the signal back."""

    transitions: ClassVar = {
        (State.ISSUED, Step.RESOLVE): State.DONE,
        (State.ISSUED, Step.CANCEL): State.DONE,
    }

    def __init__(self, owner: Owner, number: int, name: str, instance_id: str) -> None:
        super().__init__(owner, number)
        self.name = name
        self.instance_id = instance_id
        self.future: SignalFuture | None = None

    def cancel(self, message: str | None) -> bool:
        """Nobody waits for the acceptance any more."""
        self.move(Step.CANCEL)
        return True

    def receive(self, event: Any) -> bool:
        """Accepted or refused."""
        if not isinstance(event, (SignalAccepted, SignalRefused)):
            return False
        future = self.future
        self.move(Step.RESOLVE)
        if future is None or future.done():
            return True
        if isinstance(event, SignalAccepted):
            future.set_result(None)
        else:
            future.set_exception(SignalError(self.instance_id, event.failure))
        return True

    def describe(self) -> str:
        """``acceptance of signal 'name' by 'id'``."""
        return f"acceptance of signal {self.name!r} by {self.instance_id!r}"
