"""Rows that this process wrote last: most turns are committed without reading anything first.

A worker that owns an instance knows its row, for it wrote it. A commit is decided on what is known,
and written by one statement that compares first: the columns of the run that others may change, and
the tokens of the activities that it settles. Where anything differs, nothing is written, and the
unit is done once more in the ordinary way, with locks. A unit that needs more than these rows, or
writes nothing at all, goes the ordinary way too.

PYTEST_DONT_REWRITE
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from ._database import ConflictError, Database, PlainLink, Write
from ._rows import ACTIVITY_MUTABLE, RUN_COLUMNS
from ._unit import Unit

COMPARED: Final = (
    *("status", "suspended", "ready_at", "owner", "token", "executing", "losses", "lone_losses"),
    *("turn", "last_seq", "unread", "closes_with", "has_children"),
)
"""Columns of a run one of which differs when anybody else has changed it."""

_MOST: Final = 20_000

_PLACES: Final = tuple(RUN_COLUMNS.index(name) for name in COMPARED)
_RUN_ID: Final = RUN_COLUMNS.index("run_id")
_TOKEN: Final = 4 + ACTIVITY_MUTABLE.index("token")

_ALLOWED: Final = frozenset(
    (
        *("update_runs", "delete_activities", "insert_history", "insert_activities"),
        *("insert_timers", "delete_timers", "delete_inbox", "insert_inbox", "insert_outcomes"),
        *("clear_inbox", "clear_timers", "clear_activities", "put_updates", "put_published"),
    )
)
"""Writes of a unit that may be done so; a run that it has not loaded is in none of them."""


class Known:
    """The rows of runs that sessions of this process own, and of their activities."""

    def __init__(self) -> None:
        self._runs: dict[int, tuple[Any, ...]] = {}
        self._serials: dict[str, int] = {}
        self._activities: dict[int, dict[int, tuple[Any, ...]]] = {}

    def runs(self, ids: Sequence[str]) -> list[tuple[Any, ...]] | None:
        """Rows of all these runs in the order of their serials, or nothing."""
        try:
            return sorted((self._runs[self._serials[one]] for one in ids), key=lambda row: row[0])
        except KeyError:
            return None

    def activities(self, keys: Sequence[tuple[int, int]]) -> list[tuple[Any, ...]] | None:
        """Rows of all these activities, or nothing."""
        try:
            return sorted(
                (self._activities[run][number] for run, number in keys), key=lambda row: row[:2]
            )
        except KeyError:
            return None

    def learn(self, unit: Unit) -> None:
        """Remembers what a unit has left behind, once it is committed."""
        if len(self._runs) > _MOST:
            self._runs.clear()
            self._serials.clear()
            self._activities.clear()
        for run in unit.loaded:
            if run.running and run.owner is not None:
                self._runs[run.serial] = run.values()
                self._serials[run.run_id] = run.serial
            else:
                self._forget(run.serial)
        for serial, number, activity in unit.loaded_activities:
            if activity is None or activity.owner is None or serial not in self._runs:
                self._activities.get(serial, {}).pop(number, None)
            else:
                key = (activity.run, activity.number, activity.policy, activity.scheduled_at)
                row = (*key, *activity.state()[2 : 2 + len(ACTIVITY_MUTABLE)])
                self._activities.setdefault(serial, {})[number] = row

    def forget(self, unit: Unit) -> None:
        """Nobody knows whether a unit was committed."""
        for run in unit.loaded:
            self._forget(run.serial)

    def _forget(self, serial: int) -> None:
        row = self._runs.pop(serial, None)
        if row is not None:
            self._serials.pop(row[_RUN_ID], None)
        self._activities.pop(serial, None)


class KnownLink(PlainLink):
    """A unit of work that reads nothing from the store.

    Raises:
        ConflictError: it needs what is not known, or something was different.
    """

    def __init__(self, known: Known, database: Database) -> None:
        self._known = known
        self._database = database
        self._runs: dict[int, tuple[Any, ...]] = {}
        self._activities: dict[tuple[int, int], tuple[Any, ...]] = {}

    async def fetch(self, statement: str, **parameters: Any) -> list[Any]:
        """See :meth:`Link.fetch`."""
        rows: list[tuple[Any, ...]] | None = None
        if statement == "runs_by_id":
            rows = self._known.runs(parameters["ids"])
            self._runs.update((row[0], row) for row in rows or ())
        elif statement == "activities_by_key":
            rows = self._known.activities(parameters["keys"])
            self._activities.update(((row[0], row[1]), row) for row in rows or ())
        if rows is None:
            raise ConflictError(f"{statement} is not known")
        return rows

    async def finish(self, writes: Sequence[Write], *, staged: bool) -> None:
        """See :meth:`Link.finish`."""
        by_name = {write.statement: write.rows for write in writes}
        gone = set(by_name.get("delete_activities", ()))
        ended = {row[0] for row in by_name.get("clear_activities", ())}
        # An activity whose run ends goes with it; its token must be right all the same.
        gone |= {key for key in self._activities if key[0] in ended}
        states = by_name.get("update_runs", ())
        if (
            staged
            or not _ALLOWED.issuperset(by_name)
            or {state[0] for state in states} != self._runs.keys()
            or gone != self._activities.keys()
        ):
            raise ConflictError("this is not done without locks")
        checks = [Write("compare_runs", [(*s, *self._compared(s[0])) for s in states])]
        settled = [(*key, row[_TOKEN]) for key, row in self._activities.items()]
        if settled:
            checks.append(Write("settle_activities", settled))
        rest = [w for w in writes if w.statement not in ("update_runs", "delete_activities")]
        await self._database.write_compared(checks, rest)

    def _compared(self, serial: int) -> tuple[Any, ...]:
        row = self._runs[serial]
        return tuple(row[place] for place in _PLACES)

    async def abandon(self) -> None:
        """See :meth:`Link.abandon`: nothing was begun."""
