"""What a worker has done in each minute, kept in the store for those who look at it.

PYTEST_DONT_REWRITE
"""

from __future__ import annotations

import collections
from collections.abc import Callable, Sequence
from typing import Final

import msgspec
from perdure_backends import Documents
from perdure_backends.records import ActivityTask, Document, TurnTask

from ._telemetry import CommittedTurn, Telemetry

RATES: Final = "rates"
"""The collection. Keys are a minute since the epoch and a session."""

_MINUTE: Final = 60_000_000
_KEPT: Final = 90
"""Minutes for which they are kept."""


class Rates(msgspec.Struct, omit_defaults=True):
    """Counts of one worker in one minute."""

    starts: int = 0
    turns: int = 0
    attempts: int = 0
    retries: int = 0
    parks: int = 0
    finishes: dict[str, int] = {}

    def add(self, other: Rates) -> None:
        """Adds those of another worker."""
        self.starts += other.starts
        self.turns += other.turns
        self.attempts += other.attempts
        self.retries += other.retries
        self.parks += other.parks
        for outcome, count in other.finishes.items():
            self.finishes[outcome] = self.finishes.get(outcome, 0) + count


_encode: Final = msgspec.json.Encoder().encode
_decode: Final = msgspec.json.Decoder(Rates).decode


class Tally(Telemetry):
    """Counts.

    Args:
        clock: the store's time in microseconds.
    """

    def __init__(self, clock: Callable[[], int]) -> None:
        self._clock = clock
        self._minutes: dict[int, Rates] = {}
        self._changed: set[int] = set()

    def _now(self) -> Rates:
        minute = self._clock() // _MINUTE
        self._changed.add(minute)
        found = self._minutes.get(minute)
        if found is None:
            found = self._minutes[minute] = Rates()
        return found

    def turn_committed(self, turn: CommittedTurn) -> None:
        """See :meth:`Telemetry.turn_committed`."""
        rates = self._now()
        rates.turns += 1
        if turn.commit.turn == 1:
            rates.starts += 1
        if turn.commit.finish is not None:
            outcome = turn.commit.finish.status.value
            rates.finishes[outcome] = rates.finishes.get(outcome, 0) + 1

    def run_parked(self, task: TurnTask, reason: str) -> None:
        """See :meth:`Telemetry.run_parked`."""
        self._now().parks += 1

    def attempt_ended(self, task: ActivityTask, outcome: str, seconds: float) -> None:
        """See :meth:`Telemetry.attempt_ended`."""
        rates = self._now()
        rates.attempts += 1
        rates.retries += outcome == "retried"

    async def save(self, store: Documents, session_id: str) -> None:
        """Writes what has changed, and forgets what is old."""
        minute = self._clock() // _MINUTE
        changed, self._changed = self._changed, set()
        if not changed:
            return
        try:
            await store.put_documents(
                [
                    Document(RATES, f"{one:012d}-{session_id}", _encode(self._minutes[one]))
                    for one in sorted(changed)
                ]
            )
        except BaseException:
            self._changed |= changed
            raise
        for one in [one for one in self._minutes if one < minute - 1]:
            if one not in self._changed:
                del self._minutes[one]
        if minute % 10 == 0:
            await store.clear_documents(RATES, f"{minute - _KEPT:012d}")


async def rates_of_last_hour(store: Documents, now: int) -> list[Rates]:
    """What all workers did in each of the last sixty minutes, the oldest first."""
    first = now // _MINUTE - 59
    minutes: dict[int, Rates] = collections.defaultdict(Rates)
    after = f"{first:012d}"
    while True:
        page: Sequence[Document] = await store.list_documents(RATES, after, 1000)
        for one in page:
            try:
                minutes[int(one.key.partition("-")[0])].add(_decode(one.value))
            except (ValueError, msgspec.MsgspecError):
                continue  # of another version
        if len(page) < 1000:
            return [minutes[first + number] for number in range(60)]
        after = page[-1].key
