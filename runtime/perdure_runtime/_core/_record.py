"""What a turn receives and issues: what goes into the history, and is held against it at a replay.

PYTEST_DONT_REWRITE
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, cast

from perdure_backends import history as h

from ._sources import Place, brief_line

_NONE: Final[dict[int, h.Command]] = {}


class TurnRecord:
    """The record of one turn, while it is made.

    Args:
        before: events in the history before it.
        recorded: the turn as history has it, where it is replayed.

    Attributes:
        events: received and issued, in order.
        expected: the commands that history has, in order, and the places that it has of them.
    """

    __slots__ = ("_by_number", "_places", "before", "events", "expected", "expected_lines")

    def __init__(self, before: int = 0, recorded: h.Turn | None = None) -> None:
        self.before = before
        self.events: list[h.AnyEvent] = []
        self.expected: Sequence[h.Command] = ()
        self.expected_lines: Sequence[str] = ()
        self._places: dict[int, Place] = {}
        self._by_number = _NONE
        if recorded is not None:
            self.expected = [e for e in recorded.events if isinstance(e, h.Command)]
            self.expected_lines = recorded.lines
            self._by_number = {command.number: command for command in self.expected}

    def recorded(self, number: int) -> h.Command | None:
        """The command that history has under this number."""
        return self._by_number.get(number)

    def let_go(self) -> None:
        """The replay of the turn is done: what history has of it is not needed any more."""
        self.expected, self.expected_lines, self._by_number = (), (), _NONE

    def issue(self, command: h.Command, place: Place | None) -> None:
        """Takes a command with the place in the source that issued it."""
        self.events.append(cast("h.Issued", command))
        if place is not None:
            self._places[id(command)] = place

    def location(self, command: h.Command) -> str:
        """The source line of a command; empty when none is known."""
        place = self._places.get(id(command))
        return f"{place[0]}:{place[1]}" if place is not None else ""

    def lines(self, events: Sequence[h.AnyEvent]) -> list[str]:
        """Of the commands among ``events`` what a history keeps of their places."""
        places = self._places
        if not places:
            return []
        return [brief_line(places.get(id(e))) for e in events if isinstance(e, h.Command)]

    def kept(self) -> list[h.AnyEvent]:
        """The events without timers that were started and cancelled in this very turn."""
        started = {e.number for e in self.events if isinstance(e, h.TimerStarted)}
        brief = {
            e.number for e in self.events if isinstance(e, h.TimerCancelled) and e.number in started
        }
        if not brief:
            return self.events
        return [
            event
            for event in self.events
            if not (isinstance(event, (h.TimerStarted, h.TimerCancelled)) and event.number in brief)
        ]
