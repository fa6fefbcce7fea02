"""What operators do: it wins over a turn in flight.

PYTEST_DONT_REWRITE
"""

from __future__ import annotations

from ..history import Parent
from ..records import Action, ChildStart, CommitResult, ControlResult, NewTimer
from ._harness import SECOND, Harness, case, expect


@case
async def steering_what_is_not_there(t: Harness) -> None:
    await t.session()
    for action in Action:
        result = await t.backend.control("nobody", action, "")
        expect(result, ControlResult.NOT_FOUND, f"{action} of nobody")
    await t.run_to_end("a")
    for action in Action:
        result = await t.backend.control("a", action, "")
        expect(result, ControlResult.FINISHED, f"{action} of a finished one")


@case
async def terminate_wins_over_a_turn_in_flight(t: Harness) -> None:
    await t.session()
    await t.start("a")
    task = await t.claim_one()
    expect(await t.backend.control("a", Action.TERMINATE, "why"), ControlResult.DONE, "done")
    expect(await t.commit(task, finish=t.finish(task)), CommitResult.GONE, "the turn in flight")
    record = await t.backend.describe("a")
    expect(record.failure.message if record and record.failure else None, "why", "reason")


@case
async def a_suspended_instance_gathers_messages(t: Harness) -> None:
    await t.session()
    await t.start("a")
    task = await t.claim_one()
    await t.applied(task, timers=(NewTimer(1, t.clock.time + SECOND),))
    expect(await t.backend.control("a", Action.SUSPEND, ""), ControlResult.DONE, "suspend")
    expect(await t.backend.control("a", Action.SUSPEND, ""), ControlResult.UNCHANGED, "again")
    expect(await t.state("a"), "suspended", "state")
    expect(await t.commit(task, turn=2, consumed=()), CommitResult.STALE, "the turn in flight")
    await t.signal("a", "x")
    t.clock.advance(5)
    await t.backend.sweep("s1", 100)
    await t.claim_none()
    expect(await t.backend.control("a", Action.RESUME, ""), ControlResult.DONE, "resume")
    again = await t.claim_one()
    expect(len(again.inbox), 2, "signal and timer gathered")


@case
async def a_suspended_run_still_times_out(t: Harness) -> None:
    await t.session()
    await t.start("a", run_timeout=10 * SECOND)
    await t.backend.control("a", Action.SUSPEND, "")
    t.clock.advance(10)
    await t.backend.sweep("s1", 100)
    expect(await t.state("a"), "timed_out", "state")


@case
async def terminating_a_child_tells_its_parent(t: Harness) -> None:
    await t.session()
    await t.start("parent", run_id="p")
    task = await t.claim_one()
    child = t.request("child", parent=Parent("parent", "p", 1), queue="other")
    await t.applied(task, outbox=(ChildStart(request=child, refused=b""),), release=True)
    await t.backend.control("child", Action.TERMINATE, "enough")
    told = await t.claim_one()
    expect(len(told.inbox), 1, "the parent hears of it")
