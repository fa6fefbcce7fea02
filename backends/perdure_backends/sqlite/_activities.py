"""Activities: claims, outcomes, heartbeats.

PYTEST_DONT_REWRITE
"""

from __future__ import annotations

import json
from typing import Any

from perdure.extension import CATCH_ALL

from .._ids import new_token
from .._policies import SUSPECT_AFTER, after_attempt, cancelled_entry
from .._stored import bucket_of, decode_headers, decode_policy, encode_failure
from ..records import ActivityClaim, ActivityResult, ActivityTask, Heartbeat, HeartbeatResult
from ._statements import SQL
from ._steps import Tx


def claim_activities(tx: Tx, claim: ActivityClaim) -> list[ActivityTask]:
    """See :meth:`Backend.claim_activities`."""
    if tx.execute(SQL["session_exists"], (claim.session_id,)).fetchone() is None:
        return []
    limit = min(claim.limit, 1) if claim.alone else claim.limit
    parameters = {
        "now": tx.now,
        "names": json.dumps(claim.names),
        "all_names": CATCH_ALL in claim.names,
        "suspect": SUSPECT_AFTER,
        "alone": claim.alone,
    }
    # Each limited queue by itself: what it may not start must not stand in the way of others.
    buckets = {row[0]: bucket_of(row) for row in tx.execute(SQL["queue_limits"])}
    rows: list[tuple[Any, ...]] = []
    free = [queue for queue in claim.queues if queue not in buckets]
    parts = [(free, limit)] + [
        ([queue], min(limit, buckets[queue].available(tx.now)))
        for queue in claim.queues
        if queue in buckets
    ]
    for queues, most in parts:
        if queues and most:
            found = {**parameters, "queues": json.dumps(queues), "limit": most}
            rows += tx.execute(SQL["claimable_activities"], found).fetchall()
    if buckets:
        rows.sort(key=lambda row: (-row[12], row[13]))
        del rows[limit:]
        for queue, bucket in buckets.items():
            count = sum(row[3] == queue for row in rows)
            if count:
                tx.take(bucket, count)
    return [_lease(tx, claim, row) for row in rows]


def _lease(tx: Tx, claim: ActivityClaim, row: tuple[Any, ...]) -> ActivityTask:
    serial, number, name, queue, payload, stored, scheduled_at, attempt, details = row[:9]
    policy = decode_policy(stored)
    token = new_token()
    deadline = policy.deadline(now=tx.now, scheduled_at=scheduled_at, running=True)
    tx.execute(SQL["lease_activity"], (claim.session_id, token, tx.now, deadline, serial, number))
    tx.plan(deadline)
    return ActivityTask(
        instance_id=row[9],
        run_id=row[10],
        number=number,
        name=name,
        queue=queue,
        input=payload,
        token=token,
        attempt=attempt + 1,
        scheduled_at=scheduled_at,
        started_at=tx.now,
        retry=policy.retry,
        deadline=deadline,
        heartbeat=policy.heartbeat,
        details=details,
        alone=claim.alone,
        headers=decode_headers(row[11]),
        due_at=row[13],
    )


def settle(tx: Tx, result: ActivityResult) -> bool:
    """See :meth:`Backend.settle`."""
    row = tx.execute(SQL["find_attempt"], (result.run_id, result.number, result.token)).fetchone()
    if row is None:
        return False
    serial, stored, scheduled_at, attempt, _, cancel = row
    if result.detach:
        tx.execute(SQL["detach_activity"], (serial, result.number))
        return True
    if result.entry is not None or cancel:
        entry = result.entry if result.entry is not None else cancelled_entry(result.number)
        tx.end_activity(serial, result.number, entry)
        return True
    policy = decode_policy(stored)
    due, failed = after_attempt(result, policy.retry, attempt, scheduled_at, tx.now)
    if failed is not None:
        tx.end_activity(serial, result.number, failed)
        return True
    tx.offer_activity(
        serial,
        result.number,
        due_at=due,
        attempt=attempt - 1 if result.hand_back else attempt,
        policy=policy,
        scheduled_at=scheduled_at,
        last_failure=encode_failure(result.failure),
    )
    return True


def heartbeat(tx: Tx, beat: Heartbeat) -> HeartbeatResult:
    """See :meth:`Backend.heartbeat`."""
    row = tx.execute(SQL["find_attempt"], (beat.run_id, beat.number, beat.token)).fetchone()
    if row is None:
        return HeartbeatResult.GONE
    serial, stored, scheduled_at, _, started_at, cancel = row
    if beat.details is not None:
        tx.execute(SQL["beat_details"], (beat.details, serial, beat.number))
    policy = decode_policy(stored)
    if beat.alive:
        deadline = policy.deadline_after_beat(
            now=tx.now, scheduled_at=scheduled_at, started_at=started_at
        )
        if deadline is not None:
            tx.execute(SQL["beat_deadline"], (deadline, serial, beat.number))
    return HeartbeatResult.CANCEL if cancel else HeartbeatResult.GO_ON
