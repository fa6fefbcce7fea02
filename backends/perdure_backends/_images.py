"""Instances on their way from one store to another: what is in them, and when a copy is newer.

PYTEST_DONT_REWRITE
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any, Final

from .history import Parent
from .records import Record, RestoreResult

_DIGESTED: Final = "\x01sha256:"
"""Begins ids of which only the digest is known, in stores that keep ids as they are."""


class ActivityImage(Record, frozen=True):
    """An activity that has not ended. An attempt that was running waits again, uncounted.

    Attributes:
        policy: retry policy and time-outs, JSON.
        details, failure: of the last attempt, JSON the latter.
    """

    number: int
    name: str
    queue: str
    input: bytes
    policy: bytes
    scheduled_at: int
    attempt: int
    due_at: int
    deadline_at: int | None = None
    started_at: int = 0
    cancel: bool = False
    priority: int = 0
    headers: bytes | None = None
    details: bytes | None = None
    failure: bytes | None = None


class RunImage(Record, frozen=True):
    """A run with all that it waits for; its history is apart.

    Attributes:
        inbox: unread entries as (number, entry, whether continue-as-new carries it over).
        timers: as (number, due time).
        park: why it is kept aside, JSON.
        tried: builds that it was parked for.
        failure: JSON.
        closes_with: the run whose end closes it.
    """

    run_id: str
    request_id: str
    workflow: str
    version: int
    queue: str
    started_at: int
    status: str
    started: bytes
    turn: int
    events: int
    last_seq: int
    parent: Parent | None = None
    parent_close: str = "abandon"
    closes_with: str | None = None
    deadline_at: int | None = None
    finished_at: int | None = None
    last_commit: str | None = None
    continued_to: str | None = None
    park: bytes | None = None
    tried: str = ""
    result: bytes | None = None
    failure: bytes | None = None
    published: bytes | None = None
    inbox: tuple[tuple[int, bytes, bool], ...] = ()
    timers: tuple[tuple[int, int], ...] = ()
    activities: tuple[ActivityImage, ...] = ()


class UpdateImage(Record, frozen=True):
    """How an update stands; it is known by the SHA-256 digest of its id."""

    digest: bytes
    stage: str
    result: bytes | None = None
    failure: bytes | None = None


class InstanceImage(Record, frozen=True):
    """An instance with all of its runs, the oldest first.

    Attributes:
        suspended: it runs, and was held when the image was made.
        messages: SHA-256 digests of the ids of accepted messages.
    """

    instance_id: str
    runs: tuple[RunImage, ...]
    suspended: bool = False
    messages: tuple[bytes, ...] = ()
    updates: tuple[UpdateImage, ...] = ()

    @property
    def newest(self) -> RunImage:
        """The run that has the id."""
        return self.runs[-1]

    @property
    def mark(self) -> str:
        """Differs when anything has happened to the instance in between."""
        return mark(self.newest.run_id, self.newest.turn, self.newest.last_seq, self.newest.status)


def activity_image(row: Sequence[Any]) -> ActivityImage:
    """An activity from the columns of the statement ``image_activities``."""
    number, name, queue, payload, policy, scheduled_at, attempt, due_at, *rest = row
    deadline_at, started_at, owner, cancel, priority, headers, details, failure = rest
    return ActivityImage(
        number=number,
        name=name,
        queue=queue,
        input=bytes(payload),
        policy=bytes(policy),
        scheduled_at=scheduled_at,
        attempt=attempt - (owner is not None),
        due_at=due_at,
        deadline_at=deadline_at,
        started_at=started_at,
        cancel=bool(cancel),
        priority=priority,
        headers=as_bytes(headers),
        details=as_bytes(details),
        failure=as_bytes(failure),
    )


def as_bytes(value: Any) -> bytes | None:
    """A column of bytes, as whatever a driver gives it."""
    return None if value is None else bytes(value)


def mark(run_id: str, turn: int, last_seq: int, status: str) -> str:
    """See :attr:`InstanceImage.mark`."""
    return f"{run_id}:{turn}:{last_seq}:{status}"


def compare(
    image: InstanceImage, there: tuple[str, int, int, str], *, suspended: bool
) -> RestoreResult:
    """What is to be done where an instance of this id is there already.

    ``RESTORED``: the copy that is there is older, and held: it may be replaced.

    Args:
        there: of its newest run, what :func:`mark` takes.
        suspended: it is held.
    """
    run_id, turn, last_seq, _ = there
    if image.mark == mark(*there):
        return RestoreResult.THERE
    known = next((run for run in image.runs if run.run_id == run_id), None)
    if not suspended or known is None or turn > known.turn or last_seq > known.last_seq:
        return RestoreResult.OTHER
    return RestoreResult.RESTORED


def digest(message_id: str) -> bytes:
    """What a message is known by where ids are longer than an index takes."""
    if message_id.startswith(_DIGESTED):
        return bytes.fromhex(message_id.removeprefix(_DIGESTED))
    return hashlib.sha256(message_id.encode()).digest()


def digested(found: bytes) -> str:
    """In place of the id of a message of which only the digest is known."""
    return f"{_DIGESTED}{found.hex()}"


def both(message_id: str) -> tuple[str, str]:
    """What a message may be known by where ids are kept as they are."""
    return message_id, digested(digest(message_id))


def pages(history: Sequence[bytes], most: int) -> list[list[bytes]]:
    """A history in parts of so many bytes, or one record."""
    found: list[list[bytes]] = []
    size = most
    for record in history:
        if size + len(record) > most:
            found.append([])
            size = 0
        found[-1].append(record)
        size += len(record) + 100
    return found
