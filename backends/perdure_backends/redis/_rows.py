"""Rows as they are stored, and the sets and indexes in which each of them stands.

A row is a MessagePack array that scripts can read; they know no binary type, so what is JSON is
stored as text.

PYTEST_DONT_REWRITE
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import msgspec

from .._policies import SUSPECT_AFTER
from .._relational import ACTIVITY_MUTABLE, RUN_COLUMNS
from ..records import state_word
from ._keys import Keys

RUN: Final = {name: number for number, name in enumerate(RUN_COLUMNS)}
"""Columns of a run's row by name, from 0."""

ACTIVITY_COLUMNS: Final = (
    *("run", "number", "policy", "scheduled_at", *ACTIVITY_MUTABLE),
    *("name", "queue", "priority"),
)
ACTIVITY: Final = {name: number for number, name in enumerate(ACTIVITY_COLUMNS)}
"""Columns of an activity's row by name, from 0."""

pack: Final = msgspec.msgpack.Encoder().encode
unpack: Final = msgspec.msgpack.Decoder(list[Any]).decode

Place = tuple[str, str, str]
"""A kind of collection (``Z``, ``S`` or ``H``), its key, and a member or field."""

_PARK: Final = RUN["park"]
_SERIAL: Final = RUN["serial"]
_STARTED: Final = RUN["started_at"]
_STATUS: Final = RUN["status"]
_SUSPENDED: Final = RUN["suspended"]
_POLICY: Final = ACTIVITY["policy"]


def encode_run(row: Sequence[Any]) -> bytes:
    """A run's row as it is stored."""
    values = list(row)
    if values[_PARK] is not None:
        values[_PARK] = values[_PARK].decode()
    return pack(values)


def decode_run(stored: bytes) -> list[Any]:
    """A run's row."""
    values = unpack(stored)
    if values[_PARK] is not None:
        values[_PARK] = values[_PARK].encode()
    return values


def encode_activity(row: Sequence[Any]) -> bytes:
    """An activity's row as it is stored."""
    values = list(row)
    values[_POLICY] = values[_POLICY].decode()
    return pack(values)


def decode_activity(stored: bytes) -> list[Any]:
    """An activity's row."""
    values = unpack(stored)
    values[_POLICY] = values[_POLICY].encode()
    return values


def run_places(keys: Keys, row: Sequence[Any]) -> dict[Place, Any]:
    """Where a run stands: scores of sorted sets, values of hashes, ``True`` in sets."""
    member = str(row[RUN["serial"]])
    owner, ready_at = row[RUN["owner"]], row[RUN["ready_at"]]
    found: dict[Place, Any] = {}
    state = state_of(row)
    if state != "completed":
        found["Z", f"{keys.in_state}{state}", f"{row[_SERIAL]:016d}"] = row[_STARTED]
    if row[RUN["current_of"]] is not None:
        found["H", keys.current, row[RUN["current_of"]]] = member
    if ready_at is not None:
        found["Z", keys.ready, member] = ready_at
        found["Z", f"{keys.ready_in}{row[RUN['queue']]}", member] = ready_at
        suspect = row[RUN["lone_losses"]] > 0 or row[RUN["losses"]] >= SUSPECT_AFTER
        if suspect and owner is None:
            found["Z", keys.suspects, member] = ready_at
    if row[RUN["park"]] is not None:
        found["Z", keys.parked, member] = int(member)
    if row[RUN["deadline_at"]] is not None:
        found["Z", keys.due, f"r:{member}"] = row[RUN["deadline_at"]]
    if owner:
        found["S", f"{keys.owned}{owner}", f"r:{member}"] = True
    if row[RUN["closes_with"]] is not None and row[RUN["status"]] == "running":
        found["S", f"{keys.children}{row[RUN['closes_with']]}", member] = True
    return found


def state_of(row: Sequence[Any]) -> str:
    """A run's state in a word, as :attr:`InstanceRecord.state`."""
    return state_word(row[_STATUS], suspended=row[_SUSPENDED], parked=row[_PARK] is not None)


def activity_places(keys: Keys, row: Sequence[Any]) -> dict[Place, Any]:
    """Where an activity stands, as :func:`run_places`."""
    member = f"{row[0]}:{row[1]}"
    owner, due_at = row[ACTIVITY["owner"]], row[ACTIVITY["due_at"]]
    found: dict[Place, Any] = {("S", f"{keys.pending}{row[0]}", str(row[1])): True}
    if owner is None:
        queue, priority = row[ACTIVITY["queue"]], row[ACTIVITY["priority"]]
        found["Z", keys.offered, member] = due_at
        found["Z", f"{keys.offered_in}{queue}:{priority}", member] = due_at
        if row[ACTIVITY["lone_losses"]] > 0 or row[ACTIVITY["losses"]] >= SUSPECT_AFTER:
            found["Z", keys.suspects, member] = due_at
    elif owner:
        found["S", f"{keys.owned}{owner}", f"a:{member}"] = True
    if row[ACTIVITY["deadline_at"]] is not None:
        found["Z", keys.due, f"a:{member}"] = row[ACTIVITY["deadline_at"]]
    return found


def moved(before: dict[Place, Any], after: dict[Place, Any]) -> list[tuple[Any, ...]]:
    """The commands that lead from some places to others."""
    commands: list[tuple[Any, ...]] = []
    for place in before:
        if place not in after:
            kind, key, member = place
            commands.append((_REMOVE[kind], key, member))
    for place, value in after.items():
        if before.get(place) != value:
            kind, key, member = place
            if kind == "Z":
                commands.append(("ZADD", key, value, member))
            elif kind == "S":
                commands.append(("SADD", key, member))
            else:
                commands.append(("HSET", key, member, value))
    return commands


def encode_session(build: str, start: bytes, lease: int, opened_at: int, proof: str) -> bytes:
    """A session's row as it is stored; ``proof`` says how its process can be proven dead."""
    return pack([build, start.decode(), lease, opened_at, proof])


def proof_of(session: bytes | None) -> str:
    """The proof in a session's row."""
    values = [] if session is None else unpack(session)
    return values[4] if len(values) > 4 else "{}"


def scored(answer: Sequence[bytes]) -> list[tuple[bytes, int]]:
    """Members with their scores, which are times, from a flat answer."""
    return [(answer[n], int(float(answer[n + 1]))) for n in range(0, len(answer), 2)]


_REMOVE: Final = {"Z": "ZREM", "S": "SREM", "H": "HDEL"}
