"""A run as bars in time: what its code has called, and what came in.

PYTEST_DONT_REWRITE
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from perdure_backends import history as h
from perdure_backends.records import Pending

from ._views import Data


def timeline(turns: Sequence[h.Turn], pending: Pending) -> list[Data]:
    """Rows in the order in which they began, times in microseconds since the epoch.

    Each has ``kind`` (``activity``, ``timer``, ``child``, ``signal``, ``update``, ``side effect``,
    ``cancel``, ``start``, ``end``, ``replay``), ``label``, ``from``, ``to`` (``None`` while it is
    open, the same as ``from`` for what is a moment), ``state`` and ``number``.
    """
    rows: dict[str, Data] = {}
    marks = 0

    def begin(key: str, kind: str, label: str, at: int, **more: Any) -> None:
        rows[key] = {
            "kind": kind,
            "label": label,
            "from": at,
            "to": None,
            "state": "open",
            "number": more.pop("number", None),
            "attempt": None,
            **more,
        }

    def end(key: str, at: int, state: str, attempt: int | None = None) -> None:
        row = rows.get(key)
        if row is not None and row["to"] is None:
            row["to"], row["state"] = at, state
            if attempt is not None and attempt > 1:
                row["attempt"] = attempt

    def mark(kind: str, label: str, at: int, state: str = "done") -> None:
        nonlocal marks
        marks += 1
        begin(f"mark/{marks}", kind, label, at)
        end(f"mark/{marks}", at, state)

    for turn in turns:
        if turn.replayed:
            mark("replay", f"replayed for turn {turn.number}", turn.time)
        for event in turn.events:
            at = turn.time
            match event:
                case h.WorkflowStarted():
                    mark("start", f"start of {event.workflow}", at)
                case h.ActivityScheduled():
                    local = " (local)" if event.local else ""
                    key = f"command/{event.number}"
                    begin(key, "activity", event.name + local, at, number=event.number)
                case h.TimerStarted():
                    label = event.name or "timer"
                    key = f"command/{event.number}"
                    begin(key, "timer", label, at, number=event.number, due=at + event.duration)
                case h.ChildScheduled():
                    key = f"command/{event.number}"
                    begin(
                        key,
                        "child",
                        event.workflow,
                        at,
                        number=event.number,
                        instance=event.instance_id,
                    )
                case h.SignalSent():
                    key = f"command/{event.number}"
                    label = f"{event.name} → {event.instance_id}"
                    begin(key, "signal", label, at, number=event.number)
                case h.CancelSent():
                    begin(
                        f"command/{event.number}",
                        "cancel",
                        f"cancel → {event.instance_id}",
                        at,
                        number=event.number,
                    )
                case h.ActivityCompleted():
                    end(f"command/{event.number}", at, "completed", event.attempt)
                case h.ActivityFailed():
                    state = "cancelled" if event.kind == "cancelled" else "failed"
                    end(f"command/{event.number}", at, state, event.attempt)
                case h.TimerFired():
                    end(f"command/{event.number}", at, "completed")
                case h.TimerCancelled() | h.ActivityCancelRequested() | h.ChildCancelRequested():
                    end(f"command/{event.number}", at, "cancelled")
                case h.ChildCompleted() | h.SignalAccepted():
                    end(f"command/{event.number}", at, "completed")
                case h.ChildFailed() | h.SignalRefused():
                    end(f"command/{event.number}", at, "failed")
                case h.SignalReceived():
                    mark("signal", event.name, at)
                case h.UpdateReceived():
                    begin(f"update/{event.update_id}", "update", event.name, at)
                case h.UpdateAnswered():
                    state = "completed" if event.failure is None else "failed"
                    end(f"update/{event.update_id}", at, state)
                case h.SideEffectRecorded():
                    mark("side effect", "side effect", at)
                case h.CancelRequested():
                    mark("cancel", event.reason or "asked to cancel", at, "cancelled")
                case h.WorkflowCompleted():
                    mark("end", "completed", at, "completed")
                case h.WorkflowFailed():
                    mark(
                        "end", "cancelled" if event.kind == "cancelled" else "failed", at, "failed"
                    )
                case h.WorkflowContinuedAsNew():
                    mark("end", "continued as new", at)
                case _:
                    pass
    for activity in pending.activities:
        row = rows.get(f"command/{activity.number}")
        if row is not None and row["to"] is None:
            row["state"] = activity.state
            row["attempt"] = activity.attempt if activity.attempt > 1 else None
            if activity.state == "retrying":
                row["due"] = activity.due_at
    return sorted(rows.values(), key=lambda row: row["from"])
