"""What a unit of work on Redis has read, and the commands that will write what it changes.

PYTEST_DONT_REWRITE
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

from .. import _liveness
from .._relational import RUN_FIXED, Write
from ._keys import Keys
from ._known import Known
from ._rows import (
    ACTIVITY,
    RUN,
    activity_places,
    decode_activity,
    encode_activity,
    encode_run,
    encode_session,
    moved,
    pack,
    run_places,
    unpack,
)

LOADED: Final = 14
"""Columns of an activity that units load."""

_LOCKS: Final = Path(tempfile.gettempdir()) / f"perdure-{getattr(os, 'getuid', int)()}"
"""Where the processes of this host and user have their lock files."""

Command = tuple[Any, ...]


class Draft:
    """One unit's, in one shard.

    Args:
        keys: the shard's.
        first: those of the shard that has the queues' limits.
        known: what is no longer known once it is written.

    Attributes:
        runs: rows of runs with their revisions, by serial; as they will be, where they change.
        activities: rows of activities as stored and decoded, likewise.
        guards: what must not have changed meanwhile: kind, key and field, with the value.
        commands: what writes it all, if that is so.
        limits: guards in the first shard.
        levels: commands for it.
    """

    def __init__(self, keys: Keys, first: Keys, known: Known) -> None:
        self._keys = keys
        self._first = first
        self._known = known
        self.runs: dict[int, tuple[int, list[Any]]] = {}
        self.activities: dict[tuple[int, int], tuple[bytes | None, list[Any]]] = {}
        self.guards: dict[tuple[str, str, Any], Any] = {}
        self.commands: list[Command] = []
        self.limits: dict[tuple[str, str, Any], Any] = {}
        self.levels: list[Command] = []

    def write(self, write: Write) -> None:
        """Takes the commands of a write in."""
        apply: Callable[[Any], None] = getattr(self, f"_do_{write.statement}")
        for row in write.rows:
            apply(row)

    # --- what was read

    def take_run(self, serial: int, revision: int, row: list[Any]) -> list[Any]:
        """Notes a run's row; the one that was read first counts."""
        known = self.runs.get(serial)
        if known is None:
            known = self.runs[serial] = (revision, row)
            self.guards["field", f"{self._keys.run}{serial}", "rev"] = revision
        return known[1]

    def take_activity(self, key: tuple[int, int], stored: bytes) -> list[Any]:
        """Notes an activity's row; the one that was read first counts."""
        known = self.activities.get(key)
        if known is None:
            known = self.activities[key] = (stored, decode_activity(stored))
            name = f"{self._keys.activity}{key[0]}:{key[1]}"
            self.guards["field", name, "row"] = stored
        return known[1]

    # --- runs and what belongs to them

    def _do_update_runs(self, state: Sequence[Any]) -> None:
        serial = state[0]
        revision, old = self.runs[serial]
        row = [*old[: len(RUN_FIXED)], *state[1:]]
        self.commands += moved(run_places(self._keys, old), run_places(self._keys, row))
        self.commands.append(("HSET", f"{self._keys.run}{serial}", "row", encode_run(row)))
        self.runs[serial] = (revision, row)

    def _do_insert_runs(self, values: Sequence[Any]) -> None:
        row = list(values)
        serial, run_id = row[RUN["serial"]], row[RUN["run_id"]]
        keys = self._keys
        self.guards["field", keys.ids, run_id] = None
        key = f"{keys.run}{serial}"
        self.commands += moved({}, run_places(keys, row))
        self.commands += [
            ("HSET", key, "row", encode_run(row), "rev", 0),
            ("HSET", keys.ids, run_id, serial),
            ("SADD", f"{keys.lineage}{row[RUN['lineage']]}", serial),
            ("ZADD", keys.started, row[RUN["started_at"]], f"{serial:016d}"),
        ]
        self.runs[serial] = (0, row)

    def _do_insert_starts(self, row: Sequence[Any]) -> None:
        self.commands.append(("SET", f"{self._keys.start}{row[0]}", row[1]))

    def _do_insert_outcomes(self, row: Sequence[Any]) -> None:
        key, (_, result, failure) = f"{self._keys.outcome}{row[0]}", row
        if result is not None:
            self.commands.append(("HSET", key, "result", result))
        if failure is not None:
            self.commands.append(("HSET", key, "failure", failure))

    def _do_put_published(self, row: Sequence[Any]) -> None:
        self.commands.append(("SET", f"{self._keys.published}{row[0]}", row[1]))

    def _do_insert_inbox(self, row: Sequence[Any]) -> None:
        run, seq, entry, carried = row
        stored = (b"1" if carried else b"0") + entry
        self.commands.append(("HSET", f"{self._keys.inbox}{run}", seq, stored))

    def _do_delete_inbox(self, row: Sequence[Any]) -> None:
        self.commands.append(("HDEL", f"{self._keys.inbox}{row[0]}", row[1]))

    def _do_clear_inbox(self, row: Sequence[Any]) -> None:
        """Done by :meth:`_do_clear_activities`."""

    def _do_insert_messages(self, row: Sequence[Any]) -> None:
        self.commands.append(("SADD", f"{self._keys.messages}{row[0]}", row[1]))

    def _do_insert_history(self, row: Sequence[Any]) -> None:
        self.commands.append(("RPUSH", f"{self._keys.history}{row[0]}", row[2]))

    def _do_insert_timers(self, row: Sequence[Any]) -> None:
        run, number, due_at = row
        self.commands += [
            ("HSET", f"{self._keys.timers}{run}", number, due_at),
            ("ZADD", self._keys.due, due_at, f"t:{run}:{number}"),
        ]

    def _do_delete_timers(self, row: Sequence[Any]) -> None:
        run, number = row
        self.commands += [
            ("HDEL", f"{self._keys.timers}{run}", number),
            ("ZREM", self._keys.due, f"t:{run}:{number}"),
        ]

    def _do_clear_timers(self, row: Sequence[Any]) -> None:
        """Done by :meth:`_do_clear_activities`."""

    def _do_insert_activities(self, values: Sequence[Any]) -> None:
        *row, payload, headers = values
        key = (row[0], row[1])
        stored = encode_activity(row)
        rest = pack([payload, headers])
        self.commands += moved({}, activity_places(self._keys, row))
        place = f"{self._keys.activity}{row[0]}:{row[1]}"
        self.commands.append(("HSET", place, "row", stored, "rest", rest))
        if row[ACTIVITY["owner"]] is None:
            self._note_priority(row)
        self.activities[key] = (stored, row)

    def _note_priority(self, row: Sequence[Any]) -> None:
        priority = row[ACTIVITY["priority"]]
        place = f"{self._keys.priorities}{row[ACTIVITY['queue']]}"
        self.commands.append(("ZADD", place, priority, priority))

    def _do_update_activities(self, state: Sequence[Any]) -> None:
        key = (state[0], state[1])
        _, old = self.activities[key]
        *mutable, failure, details = state[2:]
        row = [*old[:4], *mutable, *old[LOADED:]]
        stored = encode_activity(row)
        place = f"{self._keys.activity}{key[0]}:{key[1]}"
        self.commands += moved(activity_places(self._keys, old), activity_places(self._keys, row))
        self.commands.append(("HSET", place, "row", stored))
        if row[ACTIVITY["owner"]] is None:
            self._note_priority(row)
        if failure is not None:
            self.commands.append(("HSET", place, "failure", failure))
        if details is not None:
            self.commands.append(("HSET", place, "details", details))
        self.activities[key] = (stored, row)

    def _do_delete_activities(self, key: tuple[int, int]) -> None:
        known = self.activities.pop(key, None)
        if known is None:  # its run has ended in this very unit, and all of it is cleared
            return
        _, old = known
        self.commands += moved(activity_places(self._keys, old), {})
        self.commands.append(("DEL", f"{self._keys.activity}{key[0]}:{key[1]}"))
        self._known.forget((), (key,))

    def _do_clear_activities(self, row: Sequence[Any]) -> None:
        columns = (ACTIVITY["owner"] + 1, ACTIVITY["queue"] + 1, ACTIVITY["priority"] + 1)
        self.commands.append(("@clear", self._keys.base, row[0], *columns))
        gone = [key for key in self.activities if key[0] == row[0]]
        for key in gone:
            del self.activities[key]
        self._known.forget_activities_of(row[0])

    def _do_put_updates(self, row: Sequence[Any]) -> None:
        lineage, digest, *rest = row
        self.commands.append(("HSET", f"{self._keys.updates}{lineage}", digest, pack(rest)))

    def _do_set_levels(self, row: Sequence[Any]) -> None:
        queue, level, at = row
        limits = self._first.limits
        stored = self.limits["field", limits, queue]
        per_second, burst, *_ = unpack(stored)
        value = pack([per_second, burst, level, at])
        self.levels.append(("HSET", limits, queue, value))

    def _do_put_queue_limit(self, row: Sequence[Any]) -> None:
        self.commands.append(("HSET", self._keys.limits, row[0], pack(list(row[1:]))))

    def _do_delete_queue_limit(self, row: Sequence[Any]) -> None:
        self.commands.append(("HDEL", self._keys.limits, row[0]))

    def _do_put_documents(self, row: Sequence[Any]) -> None:
        collection, key, value = row
        self.commands += [
            ("ZADD", f"{self._keys.documents}{collection}", 0, key),
            ("HSET", f"{self._keys.document}{collection}", key, value),
        ]

    def _do_insert_session(self, row: Sequence[Any]) -> None:
        name, build, start, lease, opened_at, expires_at, _ = row
        proof = _liveness.register(name, _LOCKS)
        value = encode_session(build, start, lease, opened_at, proof)
        self.guards["field", self._keys.sessions, name] = None
        self.commands += [
            ("HSET", self._keys.sessions, name, value),
            ("ZADD", self._keys.expiries, expires_at, name),
        ]

    def _do_delete_session(self, row: Sequence[Any]) -> None:
        self.commands += [
            ("HDEL", self._keys.sessions, row[0]),
            ("ZREM", self._keys.expiries, row[0]),
        ]

    def _do_put_meta(self, row: Sequence[Any]) -> None:
        self.commands.append(("HSET", self._keys.meta, *row))

    def _do_insert_queries(self, row: Sequence[Any]) -> None:
        # A repeat changes nothing that matters.
        name, run, entry, expires_at = row
        key = f"{self._keys.query}{name}"
        self.commands += [
            ("HSETNX", key, "run", run),
            ("HSETNX", key, "entry", entry),
            ("SADD", f"{self._keys.queries_of}{run}", name),
            ("ZADD", self._keys.queries, "NX", expires_at, name),
            ("@open", key, self._keys.open, expires_at, name),
        ]

    def _do_note_query_claims(self, row: Sequence[Any]) -> None:
        self.commands.append(("HSET", f"{self._keys.query}{row[0]}", "claimed", row[1]))

    def _do_answer_queries(self, row: Sequence[Any]) -> None:
        # Only the first answer stays.
        name, result, failure = row
        key = f"{self._keys.query}{name}"
        absent = ("0", "") if result is None else ("1", result)
        missing = ("0", "") if failure is None else ("1", failure)
        self.commands.append(("@answer", key, self._keys.open, name, *absent, *missing))

    def _do_delete_queries(self, row: Sequence[Any]) -> None:
        self.commands.append(("@forget", self._keys.base, row[0]))

    # --- to other shards

    def _do_post(self, row: Sequence[Any]) -> None:
        self.commands.append(("@post", self._keys.base, *row))

    def _do_unpost(self, row: Sequence[Any]) -> None:
        self.commands += [
            ("HDEL", self._keys.outbox, row[0]),
            ("ZREM", self._keys.outbox_due, row[0]),
        ]

    # --- removing an instance

    def _do_delete_runs(self, row: Sequence[Any]) -> None:
        serial = row[0]
        _, old = self.runs.pop(serial)
        keys, lineage = self._keys, old[RUN["lineage"]]
        self.commands += moved(run_places(keys, old), {})
        self.commands += [
            ("DEL", f"{keys.run}{serial}"),
            ("HDEL", keys.ids, old[RUN["run_id"]]),
            ("SREM", f"{keys.lineage}{lineage}", serial),
            ("ZREM", keys.started, f"{serial:016d}"),
        ]
        self._known.forget((serial,), ())

    def _do_clear_history(self, row: Sequence[Any]) -> None:
        self.commands.append(("DEL", f"{self._keys.history}{row[0]}"))

    def _do_clear_queries(self, row: Sequence[Any]) -> None:
        self.commands.append(("@unask", self._keys.base, row[0]))

    def _do_delete_starts(self, row: Sequence[Any]) -> None:
        self.commands.append(("DEL", f"{self._keys.start}{row[0]}"))

    def _do_delete_outcomes(self, row: Sequence[Any]) -> None:
        self.commands.append(("DEL", f"{self._keys.outcome}{row[0]}"))

    def _do_delete_published(self, row: Sequence[Any]) -> None:
        self.commands.append(("DEL", f"{self._keys.published}{row[0]}"))

    def _do_clear_messages(self, row: Sequence[Any]) -> None:
        self.commands.append(("DEL", f"{self._keys.messages}{row[0]}"))

    def _do_clear_updates(self, row: Sequence[Any]) -> None:
        self.commands.append(("DEL", f"{self._keys.updates}{row[0]}"))
