"""Units of work on Redis: what they read is remembered, and compared when they write.

Nothing can be locked between two round trips, so a unit is optimistic: one script writes all of it
if nothing that it was decided on has changed, else the unit is decided anew. Rows of runs carry a
revision for that. What this process wrote last it knows, and need not read again: most units are
one round trip.

PYTEST_DONT_REWRITE
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Final

from .._relational import Asked, ConflictError, PlainLink, Write
from ._draft import LOADED, Draft
from ._rows import ACTIVITY, RUN, decode_activity, decode_run, scored, unpack

if TYPE_CHECKING:
    from ._database import RedisDatabase

_PARTS: Final = ("row", "rest", "details", "failure")
_IMAGE: Final = (
    *("number", "name", "queue", "policy", "scheduled_at", "attempt", "due_at", "deadline_at"),
    *("started_at", "owner", "cancel", "priority"),
)

_HOLD: Final = 2000
"""Milliseconds for which a claim that was begun keeps others from the same rows."""


class RedisLink(PlainLink):
    """One unit of work in one shard."""

    def __init__(self, database: RedisDatabase) -> None:
        self._database = database
        self._keys = database.keys
        self._known = database.known
        self._draft = Draft(database.keys, database.first, database.known)
        self._cached = False
        self._held: list[str] = []

    async def fetch(self, statement: str, **parameters: Any) -> list[Any]:
        """See :meth:`Link.fetch`."""
        rows: list[Any] = await getattr(self, f"_{statement}")(**parameters)
        return rows

    async def fetch_each(self, *asked: Asked) -> list[list[Any]]:
        """See :meth:`Link.fetch_each`: at the same time, on a connection each."""
        questions = (self.fetch(name, **parameters) for name, parameters in asked)
        return await asyncio.gather(*questions)

    async def abandon(self) -> None:
        """See :meth:`Link.abandon`: nothing was written, and nothing is locked."""

    # --- runs

    async def _load(self, serials: Iterable[int]) -> list[list[Any]]:
        """Rows of runs by their serials, in order, those that are there."""
        wanted = sorted(set(serials))
        found: dict[int, list[Any]] = {}
        missing: list[int] = []
        for serial in wanted:
            known = self._draft.runs.get(serial)
            cached = None if known is not None else self._known.run(serial)
            if known is not None:
                found[serial] = known[1]
            elif cached is not None:
                self._cached = True
                found[serial] = self._draft.take_run(serial, *cached)
            else:
                missing.append(serial)
        if missing:
            keys = [f"{self._keys.run}{serial}" for serial in missing]
            rows = await self._database.pipeline([("HMGET", key, "rev", "row") for key in keys])
            for serial, (revision, stored) in zip(missing, rows, strict=True):
                if stored is not None:
                    found[serial] = self._draft.take_run(serial, int(revision), decode_run(stored))
        return [found[serial] for serial in wanted if serial in found]

    async def _runs_by_id(self, ids: Sequence[str]) -> list[Any]:
        serials = [self._known.serial(one) for one in ids]
        unknown = [one for one, serial in zip(ids, serials, strict=True) if serial is None]
        rows: list[list[Any]] = []
        if unknown:
            keys = [self._keys.ids, self._keys.run]
            for one in await self._database.run_script("runs", keys, unknown):
                if one is not None:
                    rows.append(self._draft.take_run(int(one[0]), int(one[1]), decode_run(one[2])))
        rows += await self._load([serial for serial in serials if serial is not None])
        return sorted(rows)

    async def _current_runs(self, ids: Sequence[str]) -> list[Any]:
        stored = await self._database.pipeline([("HMGET", self._keys.current, *ids)])
        for instance_id, serial in zip(ids, stored[0], strict=True):
            self._draft.guards["field", self._keys.current, instance_id] = serial
        return await self._load(int(serial) for serial in stored[0] if serial is not None)

    async def _runs_by_serial(self, serials: Sequence[int]) -> list[Any]:
        return await self._load(serials)

    _free_runs_by_serial = _runs_by_serial

    async def _children(self, run_id: str) -> list[Any]:
        (members,) = await self._database.pipeline([("SMEMBERS", f"{self._keys.children}{run_id}")])
        return await self._load(int(member) for member in members)

    async def _find_request(self, lineage: int, request_id: str) -> list[Any]:
        rows = await self._load(serial for (serial,) in await self._serials_of_lineage(lineage))
        found = [row for row in rows if row[RUN["request_id"]] == request_id]
        return [(row[RUN["run_id"]],) for row in found[:1]]

    async def _serials_of_lineage(self, lineage: int) -> list[Any]:
        (members,) = await self._database.pipeline([("SMEMBERS", f"{self._keys.lineage}{lineage}")])
        rows = await self._load(int(member) for member in members)
        return [(row[RUN["serial"]],) for row in rows]

    async def _names_of_runs(self, serials: Sequence[int]) -> list[Any]:
        rows = await self._database.read_runs(serials)
        return [(r[RUN["serial"]], r[RUN["instance_id"]], r[RUN["run_id"]]) for r in rows]

    async def _serials_of_runs(self, ids: Sequence[str]) -> list[Any]:
        stored = await self._database.pipeline([("HMGET", self._keys.ids, *ids)])
        return [(one, int(s)) for one, s in zip(ids, stored[0], strict=True) if s is not None]

    async def _newest_runs(self, ids: Sequence[str]) -> list[Any]:
        stored = await self._database.pipeline([("HMGET", self._keys.current, *ids)])
        return [(one, int(s)) for one, s in zip(ids, stored[0], strict=True) if s is not None]

    async def _named_runs(self, ids: Sequence[str]) -> list[Any]:
        rows = await self._database.read_runs([s for _, s in await self._serials_of_runs(ids)])
        return [(r[RUN["instance_id"]], r[RUN["run_id"]], r[RUN["serial"]]) for r in rows]

    # --- what belongs to runs

    async def _known_messages(self, keys: Sequence[tuple[int, bytes]]) -> list[Any]:
        commands = [("SISMEMBER", f"{self._keys.messages}{run}", one) for run, one in keys]
        answers = await self._database.pipeline(commands)
        return [key for key, known in zip(keys, answers, strict=True) if known]

    async def _read_inboxes(self, runs: Sequence[int]) -> list[Any]:
        found: list[Any] = []
        commands = [("HGETALL", f"{self._keys.inbox}{run}") for run in runs]
        for run, entries in zip(runs, await self._database.pipeline(commands), strict=True):
            for seq, stored in sorted((int(seq), stored) for seq, stored in entries.items()):
                found.append((run, seq, stored[1:]))
        return found

    async def _unread_carried(self, run: int) -> list[Any]:
        (entries,) = await self._database.pipeline([("HGETALL", f"{self._keys.inbox}{run}")])
        found = sorted((int(seq), stored) for seq, stored in entries.items())
        return [(seq, stored[1:]) for seq, stored in found if stored[:1] == b"1"]

    async def _timers_by_key(self, keys: Sequence[tuple[int, int]]) -> list[Any]:
        commands = [("HEXISTS", f"{self._keys.timers}{run}", number) for run, number in keys]
        answers = await self._database.pipeline(commands)
        return [key for key, there in zip(keys, answers, strict=True) if there]

    # --- activities

    async def _activities_by_key(self, keys: Sequence[tuple[int, int]]) -> list[Any]:
        found: list[Any] = []
        missing: list[tuple[int, int]] = []
        for key in keys:
            cached = self._known.activity(key)
            if key in self._draft.activities:
                found.append(self._draft.activities[key][1][:LOADED])
            elif cached is not None:
                self._cached = True
                found.append(self._draft.take_activity(key, cached)[:LOADED])
            else:
                missing.append(key)
        if missing:
            names = [f"{self._keys.activity}{run}:{number}" for run, number in missing]
            rows = await self._database.pipeline([("HGET", name, "row") for name in names])
            for key, name, stored in zip(missing, names, rows, strict=True):
                if stored is None:
                    self._draft.guards["field", name, "row"] = None
                else:
                    found.append(self._draft.take_activity(key, stored)[:LOADED])
        return sorted(found)

    async def _owned_activities(self, session: str) -> list[Any]:
        members = await self._owned(session)
        keys = [_key(member[2:]) for member in members if member.startswith("a:")]
        return await self._activities_by_key(keys)

    async def _serials_owned(self, session: str) -> list[Any]:
        members = await self._owned(session)
        serials = {int(member[2:].partition(":")[0]) for member in members}
        return [(serial,) for serial in sorted(serials)]

    async def _owned(self, session: str) -> list[str]:
        name = f"{self._keys.owned}{session}"
        (members,) = await self._database.pipeline([("SMEMBERS", name)])
        # What each member stands for is guarded by itself; this guards against further ones.
        self._draft.guards["size", name, ""] = len(members)
        return sorted(member.decode() for member in members)

    # --- claims

    async def _ready_queues(self, queues: Sequence[str]) -> list[Any]:
        names = [f"{self._keys.ready_in}{queue}" for queue in queues]
        firsts = await self._database.pipeline(
            [("ZRANGE", name, 0, 0, "WITHSCORES") for name in names]
        )
        waiting = [(int(one[1]), queue) for queue, one in zip(queues, firsts, strict=True) if one]
        return [(queue,) for _, queue in sorted(waiting)]

    async def _claimable(
        self,
        queue: str,
        session: str,
        limit: int,
        offers: list[str],
        all_workflows: bool,
        suspect: int,
        alone: bool,
    ) -> list[Any]:
        found = await self._database.run_script(
            "claimable",
            [f"{self._keys.ready_in}{queue}", self._keys.run, self._keys.hold],
            [
                *(session, "+inf", limit, _HOLD),
                _filter("workflow", offers, all_workflows, suspect, alone, own=True),
            ],
        )
        self._held += [f"{self._keys.hold}{one[0].decode()}" for one in found]
        return [self._draft.take_run(int(one[0]), int(one[1]), decode_run(one[2])) for one in found]

    async def _claimable_parked(
        self,
        queues: list[str],
        build: str,
        limit: int,
        offers: list[str],
        all_workflows: bool,
        suspect: int,
        alone: bool,
    ) -> list[Any]:
        (members,) = await self._database.pipeline([("ZRANGE", self._keys.parked, 0, -1)])
        found: list[Any] = []
        for row in await self._database.read_runs([int(member) for member in members]):
            name = f"{row[RUN['version']]} {row[RUN['workflow']]}"
            guilty = row[RUN["lone_losses"]] > 0 or row[RUN["losses"]] >= suspect
            if (
                len(found) < limit
                and not row[RUN["suspended"]]
                and row[RUN["queue"]] in queues
                and (all_workflows or name in offers)
                and guilty == alone
                and build not in row[RUN["tried"]]
            ):
                found += await self._load([row[RUN["serial"]]])
        return [row for row in found if row[RUN["park"]] is not None]

    async def _suspects(
        self, now: int, queues: list[str], suspect: int, offers: list[str], all_workflows: bool
    ) -> list[Any]:
        members, asked = await self._database.pipeline(
            [("ZRANGEBYSCORE", self._keys.suspects, "-inf", now), ("ZCARD", self._keys.open)]
        )
        names = [member.decode() for member in members]
        for row in await self._database.read_runs([int(one) for one in names if ":" not in one]):
            name = f"{row[RUN['version']]} {row[RUN['workflow']]}"
            if row[RUN["queue"]] in queues and (all_workflows or name in offers):
                return [(True, asked > 0)]
        keys = [f"{self._keys.activity}{one}" for one in names if ":" in one]
        rows = await self._database.pipeline([("HGET", key, "row") for key in keys])
        among = (decode_activity(row)[ACTIVITY["queue"]] in queues for row in rows if row)
        return [(any(among), asked > 0)]

    async def _waiting_queues(self, now: int, queues: Sequence[str]) -> list[Any]:
        names = [f"{self._keys.priorities}{queue}" for queue in queues]
        counts = await self._database.pipeline([("ZCARD", name) for name in names])
        return [(queue,) for queue, count in zip(queues, counts, strict=True) if count]

    async def _claimable_activities(
        self,
        now: int,
        queue: str,
        names: list[str],
        all_names: bool,
        suspect: int,
        alone: bool,
        limit: int,
    ) -> list[Any]:
        place = f"{self._keys.priorities}{queue}"
        (priorities,) = await self._database.pipeline([("ZREVRANGE", place, 0, -1)])
        chosen = _filter("name", names, all_names, suspect, alone, runs=self._keys.run)
        found: list[Any] = []
        for priority in priorities:
            if len(found) >= limit:
                break
            index = f"{self._keys.offered_in}{queue}:{priority.decode()}"
            members = await self._database.run_script(
                "claimable",
                [index, self._keys.activity, self._keys.hold],
                [self._database.name, now, limit - len(found), _HOLD, chosen],
            )
            found += [one[0].decode() for one in members]
        if not found:
            return []
        self._held += [f"{self._keys.hold}{member}" for member in found]
        stored = await self._database.pipeline(
            [("HMGET", f"{self._keys.activity}{one}", "row", "rest", "details") for one in found]
        )
        rows: list[Any] = []
        for member, (row, rest, details) in zip(found, stored, strict=True):
            if row is None:
                continue
            values = self._draft.take_activity(_key(member), row)
            payload, headers = unpack(rest)
            name, priority = values[ACTIVITY["name"]], values[ACTIVITY["priority"]]
            rows.append((*values[:LOADED], name, queue, payload, details, headers, priority))
        return rows

    async def _queue_limits_of(self, queues: Sequence[str]) -> list[Any]:
        limits = self._database.first.limits
        stored = await self._database.pipeline_of_first([("HMGET", limits, *queues)])
        rows: list[Any] = []
        for queue, row in zip(queues, stored[0], strict=True):
            self._draft.limits["field", limits, queue] = row
            if row is not None:
                rows.append((queue, *unpack(row)))
        return rows

    # --- sessions, meta

    async def _share_session(self, id: str) -> list[Any]:
        (row,) = await self._database.pipeline([("HGET", self._keys.sessions, id)])
        self._draft.guards["field", self._keys.sessions, id] = row
        return [] if row is None else [(1,)]

    async def _lock_session(self, id: str) -> list[Any]:
        row, expires = await self._database.pipeline(
            [("HGET", self._keys.sessions, id), ("ZSCORE", self._keys.expiries, id)]
        )
        self._draft.guards["field", self._keys.sessions, id] = row
        if row is None or expires is None:
            return []
        self._draft.guards["score", self._keys.expiries, id] = int(expires)
        return [(int(expires),)]

    async def _lock_meta(self, key: str) -> list[Any]:
        (value,) = await self._database.pipeline([("HGET", self._keys.meta, key)])
        self._draft.guards["field", self._keys.meta, key] = value
        return [] if value is None else [(value.decode(),)]

    # --- what has come due

    async def _due(self, kind: str, now: int, limit: int) -> list[list[int]]:
        """Entries of one kind that are due, as (time, serial, number)."""
        command = (
            "ZRANGEBYSCORE",
            self._keys.due,
            "-inf",
            now,
            "WITHSCORES",
            "LIMIT",
            0,
            3 * limit,
        )
        (members,) = await self._database.pipeline([command])
        return [
            [int(at), *map(int, member.decode()[2:].split(":"))]
            for member, at in scored(members)
            if member.startswith(kind.encode())
        ]

    async def _due_timers(self, now: int, limit: int) -> list[Any]:
        return await self._due("t:", now, limit)

    async def _due_runs(self, now: int, limit: int) -> list[Any]:
        return await self._due("r:", now, limit)

    async def _due_activities(self, now: int, limit: int) -> list[Any]:
        return await self._due("a:", now, limit)

    # --- queries

    async def _claimable_queries(
        self,
        now: int,
        again: int,
        queues: list[str],
        limit: int,
        offers: list[str],
        all_workflows: bool,
    ) -> list[Any]:
        keys = [self._keys.open, self._keys.query]
        found = await self._database.run_script("queries", keys, [now, again, 1000])
        serials = sorted({int(run) for _, run, _ in found})
        runs = {row[RUN["serial"]]: row for row in await self._database.read_runs(serials)}
        rows: list[Any] = []
        for query_id, serial, entry in found:
            run = runs.get(int(serial))
            if run is None or len(rows) >= limit or run[RUN["turn"]] == 0:
                continue
            name = f"{run[RUN['version']]} {run[RUN['workflow']]}"
            if run[RUN["queue"]] in queues and (all_workflows or name in offers):
                columns = ("instance_id", "run_id", "workflow", "version", "queue", "turn")
                shown = [run[RUN[column]] for column in columns]
                rows.append((query_id.decode(), *shown, run[RUN["started_at"]], entry))
        return rows

    async def _read_answers(self, ids: Sequence[str]) -> list[Any]:
        rows = await self._database.pipeline(
            [("HMGET", f"{self._keys.query}{one}", "answered", "result", "failure") for one in ids]
        )
        return [(one, *row[1:]) for one, row in zip(ids, rows, strict=True) if row[0] is not None]

    # --- writing

    async def finish(self, writes: Sequence[Write], *, staged: bool) -> None:
        """See :meth:`Link.finish`."""
        draft = self._draft
        for write in writes:
            draft.write(write)
        if self._database.first is self._keys:
            draft.guards |= draft.limits
            draft.commands += draft.levels
        elif draft.levels:
            # They lie in another shard. Taken first: what is not used after all has only been slow.
            failed = await self._database.apply_to_first(draft.limits, draft.levels)
            if failed is not None:
                self._known.forget(draft.runs, draft.activities)
                raise ConflictError(f"{failed[1]} has changed")
        if not draft.commands and not self._cached:
            return
        revisions = {serial: revision for serial, (revision, _) in draft.runs.items()}
        if draft.commands:
            # As if all that was read had been locked: who reads it meanwhile has to look again.
            for serial in draft.runs:
                draft.commands.append(("HINCRBY", f"{self._keys.run}{serial}", "rev", 1))
                revisions[serial] += 1
        if self._held:
            draft.commands.append(("DEL", *self._held))
        try:
            failed = await self._database.apply(draft.guards, draft.commands)
        except BaseException:
            self._known.forget(draft.runs, draft.activities)
            raise
        if failed is not None:
            self._known.forget(draft.runs, draft.activities)
            raise ConflictError(f"{failed[1]} has changed")
        self._known.remember(
            {serial: (revisions[serial], row) for serial, (_, row) in draft.runs.items()},
            {key: stored for key, (stored, _) in draft.activities.items()},
        )

    # --- to other stores

    async def _image_messages(self, lineage: int) -> list[Any]:
        (members,) = await self._database.pipeline(
            [("SMEMBERS", f"{self._keys.messages}{lineage}")]
        )
        return [(member,) for member in sorted(members)]

    async def _image_updates(self, lineage: int) -> list[Any]:
        (rows,) = await self._database.pipeline([("HGETALL", f"{self._keys.updates}{lineage}")])
        return [(found, *unpack(row)) for found, row in sorted(rows.items())]

    async def _image_inbox(self, run: int) -> list[Any]:
        (entries,) = await self._database.pipeline([("HGETALL", f"{self._keys.inbox}{run}")])
        found = sorted((int(seq), stored) for seq, stored in entries.items())
        return [(seq, stored[1:], stored[:1] == b"1") for seq, stored in found]

    async def _image_activities(self, run: int) -> list[Any]:
        (numbers,) = await self._database.pipeline([("SMEMBERS", f"{self._keys.pending}{run}")])
        found: list[Any] = []
        for number in sorted(map(int, numbers)):
            command = ("HMGET", f"{self._keys.activity}{run}:{number}", *_PARTS)
            ((stored, rest, details, failure),) = await self._database.pipeline([command])
            if stored is not None:
                row = self._draft.take_activity((run, number), stored)
                payload, headers = unpack(rest)
                columns = [row[ACTIVITY[name]] for name in _IMAGE]
                image = [*columns[:3], payload, *columns[3:], headers, details, failure]
                found.append(tuple(image))
        return found

    # --- to other shards

    async def _load_posted(self, numbers: Sequence[tuple[int, int]]) -> list[Any]:
        names = [number for number, _ in numbers]
        (stored,) = await self._database.pipeline([("HMGET", self._keys.outbox, *names)])
        found: list[Any] = []
        for (number, due), item in zip(numbers, stored, strict=True):
            if item is not None:
                self._draft.guards["score", self._keys.outbox_due, number] = due
                found.append((number,))
        return found


def _key(member: str) -> tuple[int, int]:
    run, _, number = member.partition(":")
    return int(run), int(number)


def _filter(
    name: str,
    offers: Sequence[str],
    everything: bool,
    suspect: int,
    alone: bool,
    *,
    own: bool = False,
    runs: str | None = None,
) -> str:
    """What a claim wants, for the script; columns count from 1 there."""
    columns = RUN if own else ACTIVITY
    wanted: dict[str, Any] = {
        "name": columns[name] + 1,
        "owner": columns["owner"] + 1,
        "lone": columns["lone_losses"] + 1,
        "losses": columns["losses"] + 1,
        "offers": dict.fromkeys(offers, True) or {"": False},
        "all": everything,
        "suspect": suspect,
        "alone": alone,
        "own": own,
        "suspended": RUN["suspended"] + 1,
    }
    if own:
        wanted["version"] = columns["version"] + 1
    if runs is not None:
        wanted["runs"] = runs
    return json.dumps(wanted)
