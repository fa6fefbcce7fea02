"""Activities: claims, outcomes, heartbeats.

PYTEST_DONT_REWRITE
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from perdure.extension import CATCH_ALL

from .._ids import new_token
from .._policies import SUSPECT_AFTER, after_attempt, cancelled_entry
from .._stored import decode_headers, decode_policy
from ..records import ActivityClaim, ActivityResult, ActivityTask, Heartbeat, HeartbeatResult
from ._rows import ACTIVITY_MUTABLE, Activity
from ._steps import end_activity, offer_activity
from ._unit import Unit

_KEY = 4
_STATE = _KEY + len(ACTIVITY_MUTABLE)


async def claim_activities(unit: Unit, claim: ActivityClaim) -> list[ActivityTask]:
    """See :meth:`Backend.claim_activities`."""
    if not await unit.fetch("share_session", id=claim.session_id):
        return []
    limit = min(claim.limit, 1) if claim.alone else claim.limit
    queues = list(claim.queues)
    if len(queues) > 1:
        waiting = await unit.fetch("waiting_queues", now=unit.now, queues=queues)
        queues = [row[0] for row in waiting]
    rows: list[Any] = []
    if unit.limits:
        await unit.load_buckets(queues)
    for queue in queues:
        bucket = await unit.bucket(queue) if unit.limits else None
        most = limit if bucket is None else min(limit, bucket.available(unit.now))
        if most:
            rows += await unit.fetch(
                "claimable_activities",
                now=unit.now,
                queue=queue,
                names=list(claim.names),
                all_names=CATCH_ALL in claim.names,
                suspect=SUSPECT_AFTER,
                alone=claim.alone,
                limit=most,
            )
    if len(queues) > 1:
        rows.sort(key=lambda row: (-row[_STATE + 5], row[5], row[0], row[1]))
        del rows[limit:]
    if unit.limits:
        for queue in queues:
            bucket = await unit.bucket(queue)
            count = sum(row[_STATE + 1] == queue for row in rows)
            if count and bucket is not None:
                unit.take(bucket, count)
    if not rows:
        return []
    names = {
        serial: (instance_id, run_id)
        for serial, instance_id, run_id in await unit.fetch(
            "names_of_runs", serials=sorted({row[0] for row in rows})
        )
    }
    return [_lease(unit, claim, row, *names[row[0]]) for row in rows]


def _lease(
    unit: Unit, claim: ActivityClaim, row: Sequence[Any], instance_id: str, run_id: str
) -> ActivityTask:
    (activity,) = unit.take_in_activities([row[:_STATE]])
    name, queue, payload, details, headers, _ = row[_STATE:]
    policy = decode_policy(bytes(activity.policy))
    activity.owner = claim.session_id
    activity.token = token = new_token()
    activity.attempt += 1
    activity.started_at = unit.now
    activity.deadline_at = policy.deadline(
        now=unit.now, scheduled_at=activity.scheduled_at, running=True
    )
    unit.plan(activity.deadline_at)
    return ActivityTask(
        instance_id=instance_id,
        run_id=run_id,
        number=activity.number,
        name=name,
        queue=queue,
        input=bytes(payload),
        token=token,
        attempt=activity.attempt,
        scheduled_at=activity.scheduled_at,
        started_at=unit.now,
        retry=policy.retry,
        deadline=activity.deadline_at,
        heartbeat=policy.heartbeat,
        details=None if details is None else bytes(details),
        alone=claim.alone,
        headers=decode_headers(headers),
        due_at=activity.due_at,
    )


async def settle(unit: Unit, results: Sequence[ActivityResult]) -> list[bool]:
    """See :meth:`Backend.settle`."""
    await unit.load_runs(result.run_id for result in results)
    await _load_attempts(unit, results)
    return [await _settle(unit, result) for result in results]


async def _load_attempts(unit: Unit, items: Sequence[ActivityResult]) -> None:
    runs = [(await unit.run(item.run_id), item.number) for item in items]
    await unit.load_activities((run.serial, number) for run, number in runs if run is not None)


async def _settle(unit: Unit, result: ActivityResult) -> bool:
    run = await unit.run(result.run_id)
    activity = None if run is None else await unit.activity(run.serial, result.number)
    if run is None or activity is None or activity.token != result.token:
        return False
    if result.detach:
        activity.owner = ""
        return True
    if result.entry is not None or activity.cancel:
        entry = result.entry if result.entry is not None else cancelled_entry(result.number)
        end_activity(unit, run, activity, entry)
        return True
    policy = decode_policy(activity.policy)
    attempt, scheduled_at = activity.attempt, activity.scheduled_at
    due, failed = after_attempt(result, policy.retry, attempt, scheduled_at, unit.now)
    if failed is not None:
        end_activity(unit, run, activity, failed)
        return True
    offer_activity(
        unit,
        activity,
        policy,
        due_at=due,
        attempt=attempt - 1 if result.hand_back else attempt,
        last_failure=result.failure,
    )
    return True


async def heartbeat(unit: Unit, beats: Sequence[Heartbeat]) -> list[HeartbeatResult]:
    """See :meth:`Backend.heartbeat`. Locks attempts alone: their runs are not concerned."""
    rows = await unit.fetch("serials_of_runs", ids=sorted({beat.run_id for beat in beats}))
    serials: dict[str, int] = dict(rows)
    await unit.load_activities(
        (serials[beat.run_id], beat.number) for beat in beats if beat.run_id in serials
    )
    return [await _beat(unit, beat, serials.get(beat.run_id)) for beat in beats]


async def _beat(unit: Unit, beat: Heartbeat, serial: int | None) -> HeartbeatResult:
    activity: Activity | None = None if serial is None else await unit.activity(serial, beat.number)
    if serial is None or activity is None or activity.token != beat.token:
        return HeartbeatResult.GONE
    if beat.details is not None:
        activity.details = beat.details
    if beat.alive:
        deadline = decode_policy(activity.policy).deadline_after_beat(
            now=unit.now, scheduled_at=activity.scheduled_at, started_at=activity.started_at
        )
        if deadline is not None:
            activity.deadline_at = deadline
    return HeartbeatResult.CANCEL if activity.cancel else HeartbeatResult.GO_ON
