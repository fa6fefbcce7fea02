"""What a process knows of rows because it wrote them last.

PYTEST_DONT_REWRITE
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from ._rows import RUN

_MOST: Final = 20_000
"""Rows of each kind that are kept."""

_NONE: Final[dict[int, bytes]] = {}


class Known:
    """Rows of runs that are owned, and of their activities, by which most units need not read."""

    def __init__(self) -> None:
        self._runs: dict[int, tuple[int, list[Any]]] = {}
        self._ids: dict[str, int] = {}
        self._activities: dict[int, dict[int, bytes]] = {}
        self._activity_count = 0

    def run(self, serial: int) -> tuple[int, list[Any]] | None:
        """Revision and row of a run, if known."""
        return self._runs.get(serial)

    def serial(self, run_id: str) -> int | None:
        """The serial of a run whose row is known."""
        serial = self._ids.get(run_id)
        return serial if serial in self._runs else None

    def activity(self, key: tuple[int, int]) -> bytes | None:
        """The stored row of an activity, if known."""
        of_run = self._activities.get(key[0])
        return None if of_run is None else of_run.get(key[1])

    def remember(
        self,
        runs: Mapping[int, tuple[int, list[Any]]],
        activities: Mapping[tuple[int, int], bytes | None],
    ) -> None:
        """Keeps rows as they are stored now; those of runs that have ended are not kept."""
        if len(self._runs) > _MOST or self._activity_count > _MOST:
            self._runs.clear()
            self._ids.clear()
            self._activities.clear()
            self._activity_count = 0
        for serial, known in runs.items():
            row = known[1]
            if row[RUN["status"]] == "running" and row[RUN["owner"]] is not None:
                self._runs[serial] = known
                self._ids[row[RUN["run_id"]]] = serial
            else:
                self.forget((serial,), ())
        for key, stored in activities.items():
            if stored is not None and key[0] in self._runs:
                of_run = self._activities.setdefault(key[0], {})
                self._activity_count += key[1] not in of_run
                of_run[key[1]] = stored

    def forget(self, runs: Iterable[int], activities: Iterable[tuple[int, int]]) -> None:
        """Somebody else may have changed these."""
        for serial in runs:
            known = self._runs.pop(serial, None)
            if known is not None:
                self._ids.pop(known[1][RUN["run_id"]], None)
        for serial, number in activities:
            if self._activities.get(serial, _NONE).pop(number, None) is not None:
                self._activity_count -= 1

    def forget_activities_of(self, serial: int) -> None:
        """All activities of a run are gone."""
        self._activity_count -= len(self._activities.pop(serial, _NONE))
