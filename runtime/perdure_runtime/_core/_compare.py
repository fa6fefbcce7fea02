"""What of a command must be the same at a replay, as data.

The table is also what a static checker of replay compatibility has to know.

PYTEST_DONT_REWRITE
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from perdure import NonDeterminismError
from perdure_backends import history as h

IDENTITY: Final[dict[type[h.Command], tuple[str, ...]]] = {
    h.ActivityScheduled: ("number", "name", "local"),
    h.ActivityCancelRequested: ("number",),
    h.TimerStarted: ("number", "duration"),
    h.TimerCancelled: ("number",),
    h.ChildScheduled: ("number", "workflow", "instance_id"),
    h.ChildCancelRequested: ("number",),
    h.SignalSent: ("number", "instance_id", "name"),
    h.CancelSent: ("number", "instance_id"),
    h.UpdateAnswered: ("number", "update_id"),
    h.SideEffectRecorded: ("number",),
    h.PatchRecorded: ("number", "id"),
    h.WorkflowCompleted: ("number",),
    h.WorkflowFailed: ("number", "kind"),
    h.WorkflowContinuedAsNew: ("number", "workflow"),
}
"""By command: the fields that must agree."""

PAYLOAD: Final[dict[type[h.Command], str]] = {
    h.ActivityScheduled: "input",
    h.ChildScheduled: "input",
    h.SignalSent: "payload",
}
"""By command: the field whose change is a warning, or a mismatch in strict mode."""


def describe(command: h.Command) -> str:
    """A command in a few words, such as ``activity 'charge' (number 3)``."""
    if isinstance(command, h.ActivityScheduled):
        return f"activity {command.name!r} (number {command.number})"
    if isinstance(command, h.TimerStarted):
        name = f" {command.name!r}" if command.name else ""
        return f"timer{name} of {command.duration / 1e6:.15g} s (number {command.number})"
    if isinstance(command, h.ChildScheduled):
        return (
            f"sub-workflow {command.workflow!r} with id {command.instance_id!r} "
            f"(number {command.number})"
        )
    if isinstance(command, h.SignalSent):
        return f"signal {command.name!r} to {command.instance_id!r} (number {command.number})"
    if isinstance(command, h.CancelSent):
        return f"cancellation of {command.instance_id!r} (number {command.number})"
    if isinstance(command, h.PatchRecorded):
        return f"patched({command.id!r}) (number {command.number})"
    if isinstance(command, h.WorkflowFailed):
        what = f"{command.failure.type}: {command.failure.message}".partition("\n")[0]
        return f"workflow failed with {what[:120]} (number {command.number})"
    words = h.tag_of(command).replace("_", " ")
    return f"{words} (number {command.number})"


def compare(
    expected: Sequence[h.Command],
    actual: Sequence[h.Command],
    locations: Sequence[str],
    lines: Sequence[str],
    *,
    workflow: str,
    turn: int,
    strict: bool,
    unwrap: Callable[[bytes], bytes],
) -> list[str]:
    """Holds what the code did in a turn against what its history says.

    Args:
        locations: source lines of ``actual``, by position.
        lines: those of ``expected`` when it was recorded; may be empty.
        strict: other arguments are a mismatch, not a warning.
        unwrap: takes the codecs off a payload (encryption makes other bytes each time).

    Returns:
        Warnings about arguments that changed.

    Raises:
        NonDeterminismError: the first place in which they part.
    """
    warnings: list[str] = []
    for position in range(max(len(expected), len(actual))):
        old = expected[position] if position < len(expected) else None
        new = actual[position] if position < len(actual) else None
        reason = _difference(old, new)
        location = locations[position] if position < len(locations) else ""
        if reason is None and old and new and _payload_differs(old, new, unwrap):
            text = f"{describe(new)} has other arguments than its history says"
            if strict:
                reason = text
            else:
                warnings.append(f"{text} (turn {turn}, {location})")
        if reason is not None:
            raise NonDeterminismError(
                reason,
                workflow=workflow,
                expected=describe(old) if old is not None else None,
                actual=describe(new) if new is not None else None,
                turn=turn,
                position=position,
                location=location,
                recorded=lines[position] if position < len(lines) else "",
            )
    return warnings


def _difference(old: h.Command | None, new: h.Command | None) -> str | None:
    if old is None:
        return "the code does more than the history has"
    if new is None:
        return "the code does less than the history has"
    if type(old) is not type(new):
        return "another kind of command"
    for field in IDENTITY[type(old)]:
        if getattr(old, field) != getattr(new, field):
            return f"another {field}"
    return None


def _payload_differs(old: h.Command, new: h.Command, unwrap: Callable[[bytes], bytes]) -> bool:
    field = PAYLOAD.get(type(old))
    if field is None:
        return False
    before, after = getattr(old, field), getattr(new, field)
    return bool(before != after and unwrap(before) != unwrap(after))
