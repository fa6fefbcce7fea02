"""Commands of history and code side by side, and the edit that explains the difference.

PYTEST_DONT_REWRITE
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from typing import Final, Literal, NamedTuple

from perdure_backends import history as h

from .._core import Fault
from .._core._compare import describe
from ._speculate import Issued, Key, issued_in, key_of

_AROUND: Final = 3
"""Commands shown before the first difference and behind the last."""


class Change(NamedTuple):
    """A line of the comparison.

    Attributes:
        mark: ``" "`` in both, ``"-"`` only in the history, ``"+"`` only in the code.
        command: in words, without its number.
        location: ``file:line`` of the code's command, or of the code that recorded it then.
    """

    mark: Literal[" ", "-", "+"]
    command: str
    location: str
    key: Key

    def __str__(self) -> str:
        then = "then " if self.mark == "-" else ""
        place = f"   {then}{self.location}" if self.location and self.mark != " " else ""
        return f"{self.mark} {self.command}{place}"


def changes(turns: Sequence[h.Turn], code: Sequence[Issued]) -> list[Change]:
    """The commands of a history and of the code, aligned, around where they differ."""
    recorded = [issued for turn in turns for issued in issued_in(turn)]
    old, new = [key_of(one.command) for one in recorded], [key_of(one.command) for one in code]
    lines: list[Change] = []
    matcher = difflib.SequenceMatcher(a=old, b=new, autojunk=False)
    for tag, a, b, c, d in matcher.get_opcodes():
        if tag == "equal":
            lines += [
                Change(" ", _words(one.command), one.location, key_of(one.command))
                for one in code[c:d]
            ]
            continue
        lines += [
            Change("-", _words(one.command), one.location, key_of(one.command))
            for one in recorded[a:b]
        ]
        lines += [
            Change("+", _words(one.command), one.location, key_of(one.command)) for one in code[c:d]
        ]
    # An open history ends where it ends; what the code does after that is no difference.
    if recorded and not _has_ended(recorded[-1].command):
        added = removed = 0
        while added < len(lines) and lines[-1 - added].mark == "+":
            added += 1
        while added + removed < len(lines) and lines[-1 - added - removed].mark == "-":
            removed += 1
        lines = lines[: len(lines) - max(0, added - removed)]  # what replaces something stays
    different = [n for n, line in enumerate(lines) if line.mark != " "]
    if not different:
        return []
    return lines[max(0, different[0] - _AROUND) : different[-1] + 1 + _AROUND]


def likely(lines: Sequence[Change], fault: Fault) -> str:
    """The edit that explains the first difference, and what to do about it."""
    if fault.reason == "nondeterministic":
        return "a call gives another answer at each replay: see the message; wflint finds the rest"
    if fault.reason == "payload":
        return "a stored value does not fit the annotation any more: give new fields defaults"
    block = _first_block(lines)
    removed = [line for line in block if line.mark == "-"]
    added = [line for line in block if line.mark == "+"]
    elsewhere = [line for line in lines if line.mark != " " and line not in block]
    if not block:
        return ""
    for one in (*removed, *added):
        partner = next((o for o in elsewhere if o.key == one.key and o.mark != one.mark), None)
        if partner is not None:
            return (
                f"likely: {one.command} has moved. Keep the old order for old runs: "
                f"`if patched({_name(one)!r}): …  # the new order` and `else: …  # the old one`"
            )
    if len(removed) == 1 and len(added) == 1:
        return _replaced(removed[0], added[0])
    if added and not removed:
        behind = _behind(lines, block)
        where = f" before {behind.command}" if behind is not None else " at the end"
        what = ", ".join(line.command for line in added)
        return (
            f"likely: {what} was added{where}. Guard it: `if patched({_name(added[0])!r}): …`, "
            "so that runs from before go without it"
        )
    if removed and not added:
        what = ", ".join(line.command for line in removed)
        return (
            f"likely: {what} was removed. Keep it for runs from before: "
            f"`if not patched({_name(removed[0])!r}): …`"
        )
    return (
        "likely: a branch goes another way, or several steps were edited. Keep the old steps under "
        "`else` of `if patched(…):`, or start a new version of the workflow"
    )


def _replaced(old: Change, new: Change) -> str:
    if old.key[0] == new.key[0] == "timer":
        return (
            f"likely: the duration was edited: {old.command} is {new.command} now. Keep the old "
            f"one for runs from before: `patched({'new-duration'!r})`"
        )
    if old.key[0] == new.key[0] and old.key[0] in ("activity", "sub-workflow"):
        return (
            f"likely: {old.command} was renamed to {new.key[1]!r}, or replaced. Renamed: keep the "
            f"stored name, `@{_decorator(old)}(name={old.key[1]!r})`. Replaced: guard it with "
            f"`patched({_name(new)!r})`"
        )
    return (
        f"likely: {old.command} was replaced by {new.command}. Guard it: "
        f"`if patched({_name(new)!r}): …  # new` and `else: …  # old`"
    )


def _decorator(one: Change) -> str:
    return "activity" if one.key[0] == "activity" else "workflow"


def _first_block(lines: Sequence[Change]) -> list[Change]:
    block: list[Change] = []
    for line in lines:
        if line.mark != " ":
            block.append(line)
        elif block:
            break
    return block


def _behind(lines: Sequence[Change], block: Sequence[Change]) -> Change | None:
    place = next(n for n, line in enumerate(lines) if line is block[-1])
    return lines[place + 1] if place + 1 < len(lines) else None


def _name(one: Change) -> str:
    """An id for a patch."""
    words = [str(part) for part in one.key[1:]] or [str(one.key[0])]
    name = re.sub(r"[^a-z0-9]+", "-", words[-1].lower()).strip("-")
    return f"{one.key[0]}-{name}" if one.key[0] in ("timer",) else name


def _has_ended(last: h.Command) -> bool:
    return isinstance(last, (h.WorkflowCompleted, h.WorkflowFailed, h.WorkflowContinuedAsNew))


def _words(command: h.Command) -> str:
    return re.sub(r" \(number \d+\)$", "", describe(command))
