"""What a worker has done in each minute, kept in the store for those who look at it.

PYTEST_DONT_REWRITE
"""

from __future__ import annotations

import collections
from collections.abc import Callable, Sequence
from typing import Final

import msgspec
from perdure_backends import Documents
from perdure_backends.records import Document, TurnCommit

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


class Tally:
    """Counts, on every worker: no clock is read for it but when they are saved.

    Args:
        clock: the store's time in microseconds.
    """

    def __init__(self, clock: Callable[[], int]) -> None:
        self._clock = clock
        self._minutes: dict[int, Rates] = {}
        self._unsaved: dict[int, Rates] = {}
        self._now = Rates()

    def committed(self, commit: TurnCommit) -> None:
        """A turn was committed."""
        rates = self._now
        rates.turns += 1
        if commit.turn == 1:
            rates.starts += 1
        if commit.finish is not None:
            outcome = commit.finish.status.value
            rates.finishes[outcome] = rates.finishes.get(outcome, 0) + 1

    def parked(self) -> None:
        """An instance was put aside."""
        self._now.parks += 1

    def attempted(self, *, retried: bool) -> None:
        """An attempt has ended."""
        self._now.attempts += 1
        self._now.retries += retried

    async def save(self, store: Documents, session_id: str) -> None:
        """Writes what was counted since the last time as this minute's; forgets what is old."""
        minute = self._clock() // _MINUTE
        if self._now != Rates():
            self._minutes.setdefault(minute, Rates()).add(self._now)
            self._unsaved[minute] = self._minutes[minute]
            self._now = Rates()
        if not self._unsaved:
            return
        saved = dict(self._unsaved)
        await store.put_documents(
            [
                Document(RATES, f"{one:012d}-{session_id}", _encode(rates))
                for one, rates in saved.items()
            ]
        )
        for one in saved:
            del self._unsaved[one]
        self._minutes = {one: rates for one, rates in self._minutes.items() if one >= minute}
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
