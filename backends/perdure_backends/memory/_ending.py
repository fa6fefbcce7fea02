"""Ends of runs in the memory store, and whom they concern besides.

PYTEST_DONT_REWRITE
"""

from __future__ import annotations

from perdure import Failure

from .._policies import child_ended
from ..history import CancelRequested, encode_event
from ..records import Status
from ._state import Run, State


def tell_parent(state: State, run: Run, entry: bytes | None) -> None:
    """Puts the outcome of a sub-workflow into its parent's inbox."""
    if entry is None or run.parent is None:
        return
    parent = state.runs.get(run.parent.run_id)
    if parent is not None and parent.status is Status.RUNNING:
        state.accept(parent, entry, carried=False)


def close_children(state: State, run: Run) -> None:
    """Treats the children of an ended run by their parent-close policy."""
    for run_id in run.children:
        child = state.runs.get(run_id)
        if child is None or child.status is not Status.RUNNING:
            continue
        if child.parent_close == "terminate":
            terminate(state, child, "its parent has ended")
        elif child.parent_close == "cancel":
            entry = encode_event(CancelRequested("its parent has ended"))
            state.accept(child, entry, carried=True)


def terminate(state: State, run: Run, reason: str) -> None:
    """Ends a run by an operator's will."""
    failure = Failure("WorkflowTerminatedError", reason, retryable=False)
    end_from_outside(state, run, Status.TERMINATED, failure)


def end_from_outside(state: State, run: Run, status: Status, failure: Failure) -> None:
    """Ends a run without its code; parent and children are told."""
    state.finish(run, status, state.clock(), failure=failure)
    tell_parent(state, run, child_ended(run.parent, failure, status.value))
    close_children(state, run)
