"""How parts of the records are stored in rows; the same in every store with tables.

PYTEST_DONT_REWRITE
"""

from __future__ import annotations

from typing import Any, Final

import msgspec
from perdure import Failure, Retry

from ._policies import Bucket, first_deadline, timeout_failure
from .history import Parent
from .records import (
    InstanceRecord,
    NewActivity,
    Park,
    PendingActivity,
    QueueLimit,
    RunEnd,
    SessionStart,
    Status,
)


class Policy(msgspec.Struct, frozen=True, omit_defaults=True):
    """Retry policy and time-outs of an activity, as they are stored in its row."""

    retry: Retry
    start_to_close: int | None = None
    schedule_to_close: int | None = None
    schedule_to_start: int | None = None
    heartbeat: int | None = None

    def deadline(self, *, now: int, scheduled_at: int, running: bool) -> int | None:
        """When the first of the time-outs passes of an activity that has had a worker."""
        return first_deadline(
            now=now,
            scheduled_at=scheduled_at,
            running=running,
            start_to_close=self.start_to_close,
            schedule_to_close=self.schedule_to_close,
            schedule_to_start=None,
            heartbeat=self.heartbeat,
        )

    def deadline_after_beat(self, *, now: int, scheduled_at: int, started_at: int) -> int | None:
        """When the first of the time-outs passes of a running attempt that showed life now."""
        if self.heartbeat is None:
            return None
        limits = [now + self.heartbeat]
        if self.start_to_close is not None:
            limits.append(started_at + self.start_to_close)
        if self.schedule_to_close is not None:
            limits.append(scheduled_at + self.schedule_to_close)
        return min(limits)


_encoder: Final = msgspec.json.Encoder()
_policy_decoder: Final = msgspec.json.Decoder(Policy)
_failure_decoder: Final = msgspec.json.Decoder(Failure)
_headers_decoder: Final = msgspec.json.Decoder(dict[str, bytes])
_policies: dict[Any, bytes] = {}


def encode_policy(new: NewActivity) -> bytes:
    """The stored form of an activity's policy; most activities share a few."""
    key = (
        new.retry,
        new.start_to_close,
        new.schedule_to_close,
        new.schedule_to_start,
        new.heartbeat,
    )
    found = _policies.get(key)
    if found is None:
        if len(_policies) > 1000:
            _policies.clear()
        found = _policies[key] = _encoder.encode(Policy(*key))
    return found


def decode_policy(stored: bytes) -> Policy:
    """A policy from a row."""
    return _policy_decoder.decode(stored)


def new_deadline(new: NewActivity, now: int, *, running: bool) -> int | None:
    """When the first time-out of a new activity passes; most have none."""
    if (
        new.start_to_close or new.schedule_to_close or new.schedule_to_start or new.heartbeat
    ) is None:
        return None
    return first_deadline(
        now=now,
        scheduled_at=new.scheduled_at,
        running=running,
        start_to_close=new.start_to_close,
        schedule_to_close=new.schedule_to_close,
        schedule_to_start=new.schedule_to_start,
        heartbeat=new.heartbeat,
    )


def which_timeout(
    now: int, policy: Policy, scheduled_at: int, started_at: int, *, waiting: bool
) -> Failure:
    """The failure of an activity one of whose time-outs has passed."""
    total = policy.schedule_to_close
    if total is not None and now >= scheduled_at + total:
        return timeout_failure("schedule_to_close", total)
    if waiting:
        return timeout_failure("schedule_to_start", policy.schedule_to_start or 0)
    if policy.start_to_close is not None and now >= started_at + policy.start_to_close:
        return timeout_failure("start_to_close", policy.start_to_close)
    return timeout_failure("heartbeat", policy.heartbeat or 0)


def encode_headers(headers: dict[str, bytes]) -> bytes | None:
    """The stored form of headers; most activities have none."""
    return _encoder.encode(headers) if headers else None


def decode_headers(stored: bytes | None) -> dict[str, bytes]:
    """Headers from a row."""
    return _headers_decoder.decode(stored) if stored else {}


def encode_failure(failure: Failure | None) -> bytes | None:
    """The stored form of a failure."""
    return None if failure is None else _encoder.encode(failure)


def decode_failure(stored: bytes | None) -> Failure | None:
    """A failure from a row."""
    return None if stored is None else _failure_decoder.decode(stored)


def bucket_of(row: tuple[str, float, int, float, int]) -> Bucket:
    """A queue's limit from its row."""
    queue, per_second, burst, level, at = row
    return Bucket(QueueLimit(queue=queue, per_second=per_second, burst=burst), level, at)


def parent_of(instance_id: str | None, run_id: str | None, number: int | None) -> Parent | None:
    """The parent from its three columns."""
    if instance_id is None or run_id is None or number is None:
        return None
    return Parent(instance_id, run_id, number)


_park_decoder: Final = msgspec.json.Decoder(Park)
session_decoder: Final = msgspec.json.Decoder(SessionStart)


def decode_park(stored: bytes) -> Park:
    """Why a run is kept aside, from a row."""
    return _park_decoder.decode(stored)


def pending_activity(row: tuple[Any, ...]) -> PendingActivity:
    """A pending activity from the columns of the statement ``pending_activities``."""
    number, name, queue, attempt, scheduled_at, due_at, owner, last_failure = row
    return PendingActivity(
        number=number,
        name=name,
        queue=queue,
        attempt=attempt,
        state="running" if owner else "retrying" if attempt else "waiting",
        scheduled_at=scheduled_at,
        due_at=due_at,
        owner=owner,
        last_failure=decode_failure(last_failure),
    )


def instance_record(row: tuple[Any, ...]) -> InstanceRecord:
    """A run from the columns of the statement ``describe``."""
    return InstanceRecord(
        instance_id=row[0],
        run_id=row[1],
        workflow=row[2],
        version=row[3],
        queue=row[4],
        status=Status(row[5]),
        started_at=row[6],
        turn=row[7],
        events=row[8],
        finished_at=row[9],
        suspended=bool(row[10]),
        park=None if row[11] is None else decode_park(row[11]),
        parent=parent_of(row[12], row[13], row[14]),
        continued_to=row[15],
        result=row[16],
        failure=decode_failure(row[17]),
        owner=row[18],
        started=row[20],
        published=row[21],
    )


def run_end(row: tuple[Any, ...]) -> RunEnd:
    """An end from the columns of the statement ``ends``."""
    run_id, instance_id, status, continued_to, result, failure = row
    return RunEnd(
        run_id, instance_id, Status(status), continued_to, result, decode_failure(failure)
    )


def park_reason(stored: bytes) -> str:
    """Why a run is parked, from the column of its row."""
    return decode_park(stored).reason
