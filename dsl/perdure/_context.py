"""The door between workflow code and whatever executes it.

The runtime's event loop carries a :class:`WorkflowContext`; the functions and objects of this
package find it through the running loop and go through nothing else. So a workflow module needs
this package alone, and the same code can be driven by a worker, a tester or a replayer.

PYTEST_DONT_REWRITE
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from contextvars import ContextVar
from datetime import datetime
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

import msgspec

from ._errors import OutsideWorkflowError
from ._futures import ActivityFuture, SignalFuture, TimerFuture, WorkflowFuture

if TYPE_CHECKING:
    import random
    import uuid

    from ._activity import Activity
    from ._messages import AnyQuery, Signal, Update
    from ._workflow import Workflow


Attribute: TypeAlias = str | int | float | bool
"""What a span's attributes are."""

open_span: ContextVar[str] = ContextVar("perdure_span", default="")
"""The key of the innermost span that is open where the code runs; empty for the run's own."""


class WorkflowInfo(msgspec.Struct, frozen=True):
    """What ``info()`` tells inside a workflow.

    Attributes:
        id: the instance's id.
        run_id: the id of this run (continue-as-new makes a new one).
        workflow: registered name.
        version: version of the workflow, as it was at the start.
        queue: the queue on which it runs.
        started_at: when this run was accepted (UTC).
        parent_id: id of the instance that started this one as a sub-workflow.
        history_length: events in the history up to the current turn.
        history_size: bytes of the turns before the current one.
        continue_as_new_suggested: whether the history has become so long (10,000 events or 10 MiB)
            that ``continue_as_new`` is due.
        continued_from: id of the run that continued as this one.
        turn: number of the current turn, from 1.
    """

    id: str
    run_id: str
    workflow: str
    version: int
    queue: str
    started_at: datetime
    parent_id: str | None
    history_length: int
    turn: int
    history_size: int = 0
    continue_as_new_suggested: bool = False
    continued_from: str | None = None


class WorkflowContext(Protocol):
    """What the executing side offers to workflow code."""

    @property
    def replaying(self) -> bool:
        """Whether recorded history is being applied."""
        ...

    def info(self) -> WorkflowInfo: ...

    def time(self) -> float:
        """The turn's time, seconds since the epoch."""
        ...

    def schedule_activity(
        self, activity: Activity[Any, Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> ActivityFuture[Any]: ...

    def start_child(
        self, workflow: Workflow[Any, Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> WorkflowFuture[Any]: ...

    def start_timer(self, seconds: float, name: str) -> TimerFuture: ...

    def send_signal(self, signal: Signal[Any], instance_id: str, payload: Any) -> SignalFuture: ...

    def cancel_instance(self, instance_id: str, reason: str) -> SignalFuture: ...

    async def receive(self, signal: Signal[Any]) -> Any: ...

    def signal_waits(self, signal: Signal[Any]) -> bool: ...

    def listening(self, signals: Sequence[Signal[Any]]) -> AbstractContextManager[None]: ...

    def receive_nowait(self, signal: Signal[Any]) -> Any: ...

    def on_signal(self, signal: Signal[Any], handler: Callable[[Any], Any]) -> None: ...

    def on_any_signal(self, handler: Callable[[str, Any], Any]) -> None: ...

    def on_query(self, query: AnyQuery[Any], handler: Callable[..., Any]) -> None: ...

    def on_update(self, update: Update[Any, Any], handler: Callable[[Any], Any]) -> None: ...

    def validate_update(self, update: Update[Any, Any], check: Callable[[Any], Any]) -> None: ...

    def unguarded(self) -> AbstractContextManager[None]: ...

    def publish(self, value: Any, annotation: Any) -> None: ...

    def side_effect(self, function: Callable[[], Any], annotation: Any) -> Any: ...

    def patched(self, id: str) -> bool: ...

    def deprecate_patch(self, id: str) -> None: ...

    def random(self, stream: str) -> random.Random: ...

    def uuid4(self) -> uuid.UUID: ...

    async def wait_until(self, predicate: Callable[[], bool]) -> None: ...

    def span_begins(self, name: str, attributes: dict[str, Attribute]) -> str | None: ...

    def span_attribute(self, key: str, name: str, value: Attribute) -> None: ...

    def span_ends(self, key: str, error: BaseException | None) -> None: ...

    def trace_ids(self) -> tuple[str, str] | None: ...

    def encode_input(
        self, workflow: Workflow[Any, Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> bytes: ...


def find_context() -> WorkflowContext | None:
    """The context of the workflow that runs here, if one does."""
    # The running loop is the cheapest thing that is per thread and per instance alike.
    context: WorkflowContext | None = getattr(
        asyncio._get_running_loop(),  # pyright: ignore[reportPrivateUsage]  # documented as public
        "workflow_context",
        None,
    )
    return context


def current(what: str) -> WorkflowContext:
    """The context of the workflow that runs here.

    Args:
        what: the call that needs it, for the message.

    Raises:
        OutsideWorkflowError: no workflow runs here.
    """
    context = find_context()
    if context is None:
        raise OutsideWorkflowError(f"{what} works only inside a running workflow")
    return context
