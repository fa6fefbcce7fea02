"""Other instances, seen from inside a workflow.

PYTEST_DONT_REWRITE
"""

from __future__ import annotations

from typing import TypeVar

from ._context import current
from ._futures import SignalFuture
from ._messages import Signal
from ._names import check_id

T = TypeVar("T")


class Instance:
    """Another instance by its id, wherever it came from; what :func:`instance` gives.

    The futures are done when the other side has accepted; awaiting them raises
    :class:`SignalError` when there is no such running instance.
    """

    def __init__(self, instance_id: str) -> None:
        self.id = instance_id

    def signal(self, signal: Signal[T], payload: T) -> SignalFuture:
        """Sends a signal."""
        return signal.send(self.id, payload)

    def cancel(self, reason: str = "") -> SignalFuture:
        """Asks it to cancel."""
        return current("Instance.cancel()").cancel_instance(self.id, reason)

    def __repr__(self) -> str:
        return f"<instance {self.id!r}>"


def instance(instance_id: str) -> Instance:
    """Another instance, to signal or to cancel it from a workflow. Nothing is looked up.

    Raises:
        InvalidIdError: no instance can have this id.
    """
    return Instance(check_id(instance_id))
