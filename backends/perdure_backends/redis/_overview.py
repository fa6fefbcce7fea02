"""Reading for overviews: counts of one shard, and documents.

PYTEST_DONT_REWRITE
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any, Final, Protocol

from .._stored import session_decoder
from ._keys import Keys
from ._rows import ACTIVITY, RUN, decode_activity, run_places, scored, unpack

_SOME: Final = 300
"""Of what waits, so much is looked at to see which queues there are."""

_PAGE: Final = 500


class Shard(Protocol):
    """What is needed of a shard."""

    @property
    def keys(self) -> Keys:
        """Its keys."""
        ...

    async def pipeline(self, commands: Sequence[tuple[Any, ...]]) -> list[Any]:
        """Answers to commands."""
        ...

    async def read_runs(self, serials: Sequence[int]) -> list[list[Any]]:
        """Rows of runs."""
        ...


class Overviews:
    """The statements of :mod:`.._relational._overview`, by name."""

    def __init__(self, shard: Shard) -> None:
        self._shard = shard
        self._keys = shard.keys

    async def count_state(self, status: str, most: int) -> list[Any]:
        """Runs by status; what is held is running."""
        states = ("running", "suspended", "parked") if status == "running" else (status,)
        found = await self._shard.pipeline(
            [("ZCARD", f"{self._keys.in_state}{state}") for state in states]
        )
        return [(min(most, sum(found)),)]

    async def count_completed(self, most: int) -> list[Any]:
        """Runs that are in none of the other states."""
        states = ("running", "suspended", "parked", "failed", "cancelled", "terminated")
        others = [*states, "timed_out", "continued_as_new"]
        every, *found = await self._shard.pipeline(
            [
                ("ZCARD", self._keys.started),
                *(("ZCARD", f"{self._keys.in_state}{state}") for state in others),
            ]
        )
        return [(max(0, min(most, every - sum(found))),)]

    async def count_suspended(self, most: int) -> list[Any]:
        """Suspended runs."""
        return await self.count_state("suspended", most)

    async def some_parked(self, most: int) -> list[Any]:
        """Why runs are parked."""
        members: list[bytes] = (
            await self._shard.pipeline([("ZRANGE", self._keys.parked, 0, most - 1)])
        )[0]
        rows = await self._shard.read_runs([int(member) for member in members])
        parked = [row for row in rows if not row[RUN["suspended"]]]
        return [(row[RUN["park"]],) for row in parked if row[RUN["park"]] is not None]

    async def ready_by_queue(self, most: int) -> list[Any]:
        """Instances that wait for a turn."""
        keys = self._keys
        (members,) = await self._shard.pipeline([("ZRANGE", keys.ready, 0, _SOME)])
        rows = await self._shard.read_runs([int(member) for member in members])
        queues = await self._queues({row[RUN["queue"]] for row in rows})
        found: list[Any] = []
        for queue in queues:
            key = f"{keys.ready_in}{queue}"
            count, first = await self._shard.pipeline(
                [("ZCARD", key), ("ZRANGE", key, 0, 0, "WITHSCORES")]
            )
            found += [(queue, min(most, count), at) for _, at in scored(first)]
        return found

    async def waiting_by_queue(self, now: int, most: int) -> list[Any]:
        """Activities that could start."""
        keys = self._keys
        command = ("ZRANGEBYSCORE", keys.offered, "-inf", now, "LIMIT", 0, _SOME)
        (members,) = await self._shard.pipeline([command])
        queues = await self._queues(await self._queues_of(members))
        found: list[Any] = []
        for queue in queues:
            (priorities,) = await self._shard.pipeline(
                [("ZRANGE", f"{keys.priorities}{queue}", 0, -1)]
            )
            count = 0
            times: list[int] = []
            for priority in priorities:
                key = f"{keys.offered_in}{queue}:{priority.decode()}"
                due, first = await self._shard.pipeline(
                    [("ZCOUNT", key, "-inf", now), ("ZRANGE", key, 0, 0, "WITHSCORES")]
                )
                count += due
                times += [at for _, at in scored(first)]
            if count:
                found.append((queue, min(most, count), min(times, default=None)))
        return found

    async def running_by_queue(self, most: int) -> list[Any]:
        """Attempts that have been started, of sessions that are there."""
        sessions: list[bytes] = (await self._shard.pipeline([("HKEYS", self._keys.sessions)]))[0]
        counts: Counter[str] = Counter()
        for name in sessions:
            command = ("SMEMBERS", f"{self._keys.owned}{name.decode()}")
            (members,) = await self._shard.pipeline([command])
            owned = sorted(one[2:] for one in members if one.startswith(b"a:"))[:most]
            for queue in await self._queues_of(owned, each=True):
                counts[queue] += 1
        return [(queue, count, None) for queue, count in counts.items()]

    async def _queues_of(self, members: Sequence[bytes], *, each: bool = False) -> list[str]:
        """The queues of activities: all of them, or one for each."""
        keys = [f"{self._keys.activity}{member.decode()}" for member in members]
        rows = await self._shard.pipeline([("HGET", key, "row") for key in keys]) if keys else []
        found = [decode_activity(row)[ACTIVITY["queue"]] for row in rows if row is not None]
        return found if each else sorted(set(found))

    async def _queues(self, seen: Sequence[str] | set[str]) -> list[str]:
        """Queues that were seen, or that a worker serves."""
        (sessions,) = await self._shard.pipeline([("HVALS", self._keys.sessions)])
        served = {
            queue
            for row in sessions
            for queue in session_decoder.decode(unpack(row)[1].encode()).queues
        }
        return sorted(served.union(seen))

    # --- documents

    async def list_documents(self, collection: str, after: str, limit: int) -> list[Any]:
        """Documents in the order of their keys."""
        low = f"({after}" if after else "-"
        return await self._documents(collection, ("ZRANGEBYLEX", low, "+"), limit)

    async def newest_documents(self, collection: str, after: str | None, limit: int) -> list[Any]:
        """Documents in the opposite order."""
        high = "+" if after is None else f"({after}"
        return await self._documents(collection, ("ZREVRANGEBYLEX", high, "-"), limit)

    async def _documents(
        self, collection: str, command: tuple[str, str, str], limit: int
    ) -> list[Any]:
        name, first, last = command
        index = f"{self._keys.documents}{collection}"
        (keys,) = await self._shard.pipeline([(name, index, first, last, "LIMIT", 0, limit)])
        if not keys:
            return []
        (values,) = await self._shard.pipeline(
            [("HMGET", f"{self._keys.document}{collection}", *keys)]
        )
        pairs = zip(keys, values, strict=True)
        return [(collection, key.decode(), value) for key, value in pairs if value is not None]

    async def clear_documents(self, collection: str, before: str) -> list[Any]:
        """Forgets documents; their values first, so that none is left without its key."""
        index = f"{self._keys.documents}{collection}"
        while True:
            (keys,) = await self._shard.pipeline(
                [("ZRANGEBYLEX", index, "-", f"({before}", "LIMIT", 0, _PAGE)]
            )
            if not keys:
                return []
            await self._shard.pipeline(
                [
                    ("HDEL", f"{self._keys.document}{collection}", *keys),
                    ("ZREM", index, *keys),
                ]
            )

    # --- the index by state

    async def index_states(self) -> None:
        """Puts runs of before into the index by state."""
        start = 0
        while True:
            command = ("ZRANGE", self._keys.started, start, start + _PAGE - 1)
            (members,) = await self._shard.pipeline([command])
            commands: list[tuple[Any, ...]] = []
            for row in await self._shard.read_runs([int(member) for member in members]):
                for (_, key, member), score in run_places(self._keys, row).items():
                    if key.startswith(self._keys.in_state):
                        commands.append(("ZADD", key, score, member))
            if commands:
                await self._shard.pipeline(commands)
            if len(members) < _PAGE:
                return
            start += _PAGE
