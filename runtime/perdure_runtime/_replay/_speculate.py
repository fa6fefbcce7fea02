"""What changed code would have done in place of what a history says, as far as that can be told.

The code is run on from where it parts, with the outcomes that the history has for calls of the
same name. For calls that are new, something of the right type is made up.

PYTEST_DONT_REWRITE
"""

from __future__ import annotations

import collections
import itertools
from collections.abc import Callable
from typing import Any, Final, NamedTuple, TypeGuard

import msgspec
from perdure import DataConverter
from perdure_backends import history as h

from .._core import Execution, Scheduled
from ._files import History

_LONGEST: Final = 300
"""Turns after which enough is known."""

_MADE_UP: Final = (b"null", b"0", b'""', b"false", b"[]", b"{}")

Key = tuple[Any, ...]


class Issued(NamedTuple):
    """A command of the code."""

    command: h.Command
    location: str


def issued_in(turn: h.Turn) -> list[Issued]:
    """The commands of a recorded turn, with the lines of then."""
    commands = [e for e in turn.events if isinstance(e, h.Command)]
    return [Issued(command, turn.line(n)) for n, command in enumerate(commands)]


def key_of(command: h.Command) -> Key:
    """What makes commands of history and code the same, whatever their numbers."""
    match command:
        case h.ActivityScheduled():
            return ("activity", command.name)
        case h.TimerStarted():
            return ("timer", command.duration)
        case h.ChildScheduled():
            return ("sub-workflow", command.workflow)
        case h.SignalSent():
            return ("signal", command.instance_id, command.name)
        case h.CancelSent():
            return ("cancel", command.instance_id)
        case h.PatchRecorded():
            return ("patched", command.id)
        case _:
            return (h.tag_of(command),)


def speculate(run: History, turn: int, fresh: Callable[[History], Execution]) -> list[Issued]:
    """The commands that the code issues, those before the turn in which it parts included."""
    execution = fresh(run)
    issued: list[Issued] = []
    try:
        for recorded in run.turns[: turn - 1]:
            execution.replay(recorded)
            issued += [
                Issued(e, execution.location(e))
                for e in recorded.events
                if isinstance(e, h.Command)
            ]
        _go_on(run, turn, execution, issued)
    except Exception:  # what is known so far is what can be shown
        pass
    finally:
        execution.close()
    return issued


def _go_on(run: History, turn: int, execution: Execution, issued: list[Issued]) -> None:
    outcomes = _outcomes(run)
    numbers = {command.number: key_of(command) for command, _ in issued}
    counts: collections.Counter[Key] = collections.Counter(numbers.values())
    waiting: dict[int, tuple[Key, int]] = {}
    # What the history delivers from here on, apart from outcomes: signals and the like, in order.
    messages = collections.deque(
        event
        for later in run.turns[turn - 1 :]
        for event in later.events
        if isinstance(event, (h.SignalReceived, h.UpdateReceived, h.CancelRequested))
    )
    occurrence: collections.Counter[Key] = collections.Counter()
    for command, _ in issued:
        key = key_of(command)
        waiting[command.number] = (key, occurrence[key])
        occurrence[key] += 1
    known = {e.number for t in run.turns[: turn - 1] for e in t.events if _is_outcome(e)}
    waiting = {n: one for n, one in waiting.items() if n not in known}
    first = run.turns[turn - 1]
    received: list[Any] = [e for e in first.events if not isinstance(e, h.Command)]
    for message in received:
        if messages and message is messages[0]:
            messages.popleft()
    activities: dict[int, Scheduled] = {}
    for number in itertools.count(turn):
        if number > turn + _LONGEST:
            return
        result = execution.run_turn(first.time + number, received)
        for event in result.events:
            if isinstance(event, h.Command):
                key = key_of(event)
                issued.append(Issued(event, execution.location(event)))
                waiting[event.number] = (key, counts[key])
                counts[key] += 1
            elif _is_outcome(event):
                waiting.pop(event.number, None)
        if result.end is not None or result.fault is not None:
            return
        activities |= result.activities
        received = _next(waiting, outcomes, messages, activities, execution.converter)
        if not received:
            return


def _next(
    waiting: dict[int, tuple[Key, int]],
    outcomes: dict[tuple[Key, int], tuple[int, Any]],
    messages: collections.deque[Any],
    activities: dict[int, Scheduled],
    converter: DataConverter,
) -> list[Any]:
    """What to tell the code next: the earliest recorded outcome of what it waits for."""
    recorded = [
        (outcomes[one][0], number, outcomes[one][1])
        for number, one in waiting.items()
        if one in outcomes
    ]
    if recorded:
        _, number, event = min(recorded, key=lambda found: found[0])
        return [msgspec.structs.replace(event, number=number)]
    for number, (key, _) in sorted(waiting.items()):
        if key[0] == "timer":
            return [h.TimerFired(number)]
        scheduled = activities.get(number)
        if scheduled is not None:
            made_up = _made_up(scheduled, converter)
            if made_up is not None:
                return [h.ActivityCompleted(number, made_up)]
    return [messages.popleft()] if messages else []


def _made_up(scheduled: Scheduled, converter: DataConverter) -> bytes | None:
    result = scheduled.activity.definition.signature.converted(converter).result
    for plain in _MADE_UP:
        payload = converter.wrap(plain)
        try:
            result.decode(payload)
        except Exception:
            continue
        return payload
    return None


def _outcomes(run: History) -> dict[tuple[Key, int], tuple[int, Any]]:
    """Recorded outcomes by what they belong to, with their place in the history."""
    keys: dict[int, tuple[Key, int]] = {}
    seen: collections.Counter[Key] = collections.Counter()
    found: dict[tuple[Key, int], tuple[int, Any]] = {}
    place = 0
    for turn in run.turns:
        for event in turn.events:
            place += 1
            if isinstance(event, h.Command):
                key = key_of(event)
                keys.setdefault(event.number, (key, seen[key]))
                seen[key] += 1
            elif _is_outcome(event) and event.number in keys:
                found[keys[event.number]] = (place, event)
    return found


def _is_outcome(event: h.Event) -> TypeGuard[_Outcome]:
    return not isinstance(event, h.Command) and hasattr(event, "number")


_Outcome = (
    h.ActivityCompleted
    | h.ActivityFailed
    | h.TimerFired
    | h.ChildCompleted
    | h.ChildFailed
    | h.SignalAccepted
    | h.SignalRefused
)
