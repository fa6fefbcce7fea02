"""Instances that go from one store to another, here out of a store and back into it.

PYTEST_DONT_REWRITE
"""

from __future__ import annotations

from msgspec.structs import replace
from perdure import Failure, Retry

from .._images import InstanceImage
from ..contract import Moving
from ..history import Parent, SignalReceived, encode_event
from ..records import (
    Action,
    ActivityResult,
    ChildStart,
    CommitResult,
    ControlResult,
    Heartbeat,
    Message,
    NewTimer,
    RemoveResult,
    RestoreResult,
    SendResult,
    UpdateAnswer,
)
from ._harness import SECOND, ConformanceError, Harness, case, expect, expect_true


async def fill(t: Harness, name: str = "a") -> None:
    """A suspended instance with something of everything that an instance can have."""
    await t.session()
    await t.start(name, run_id="r", run_timeout=3600 * SECOND)
    task = await t.claim_one()
    await t.applied(
        task,
        activities=(
            t.activity(1, retry=Retry(attempts=5), heartbeat=60 * SECOND, priority=3),
            t.activity(2, name="other", headers={"k": b"v"}, queue="elsewhere"),
        ),
        timers=(NewTimer(3, t.clock.time + 100 * SECOND), NewTimer(4, t.clock.time + 5 * SECOND)),
        answers=(UpdateAnswer(update_id="u", stage="completed", result=b"7"),),
        published=b"published",
        release=True,
    )
    attempt = await t.claim_activity()
    beat = Heartbeat(run_id="r", number=1, token=attempt.token, details=b"details")
    await t.backend.heartbeat([beat])
    failure = Failure("ValueError", "not yet")
    await t.backend.settle(
        [
            ActivityResult(
                run_id="r", number=1, token=attempt.token, failure=failure, retry_in=SECOND
            )
        ]
    )
    expect(await t.signal(name, "hello", message_id="m1"), SendResult.ACCEPTED, "signal")
    held = await t.backend.control(name, Action.SUSPEND, "to be moved")
    expect(held, ControlResult.DONE, "held")


def moving(t: Harness) -> Moving | None:
    """The store, if it can do this."""
    return t.backend if isinstance(t.backend, Moving) else None


async def taken(
    t: Harness, store: Moving, name: str = "a"
) -> tuple[InstanceImage, list[list[bytes]]]:
    """An image with its histories."""
    image = await store.image(name)
    if image is None:
        raise ConformanceError("there is no image")
    return image, [await t.backend.read_history(run.run_id, 0, 1000) for run in image.runs]


async def check_filled(t: Harness, name: str = "a") -> None:
    """What :func:`fill` has made goes on where it stood, in whatever store it is now."""
    await t.session("s2")
    expect(await t.state(name), "suspended", "a restored instance")
    expect(await t.signal(name, "hello", message_id="m1"), SendResult.ACCEPTED, "a repeat")
    await t.claim_none("s2")
    record = await t.backend.describe(name)
    expect(record.published if record else None, b"published", "published state")
    answers = await t.backend.read_updates(name, ["u", "v"])
    expect([a and (a.update_id, a.result) for a in answers], [("u", b"7"), None], "updates")
    t.clock.advance(2)
    await t.backend.control(name, Action.RESUME, "it has arrived")
    task = await t.claim_one("s2")
    entries = [entry.entry for entry in task.inbox]
    expect(entries, [encode_event(SignalReceived("hello", b"null"))], "unread, once")
    attempt = await t.claim_activity("s2")
    expect((attempt.attempt, attempt.details), (2, b"details"), "the next attempt")
    pending = await t.backend.pending("r")
    failures = [a.last_failure.message for a in pending.activities if a.last_failure]
    expect(failures, ["not yet"], "the last failure")
    others = await t.claim_activities("s2", names=("other",), queues=("elsewhere",))
    expect([other.headers for other in others], [{"k": b"v"}], "headers")
    await t.applied(task)
    t.clock.advance(4)
    await t.backend.sweep("s2", 10)
    fired = await t.claim_one("s2")
    expect(len(fired.inbox), 1, "the timer that came due")
    await t.applied(fired)
    records = await t.backend.read_history("r", 0, 10)
    expect(len(records), 3, "turns")
    t.clock.advance(3600)
    await t.backend.sweep("s2", 10)
    expect(await t.state(name), "timed_out", "the run time-out")


@case
async def an_instance_leaves_a_store_and_comes_back(t: Harness) -> None:
    store = moving(t)
    if store is None:
        return
    await fill(t)
    image, histories = await taken(t, store)
    expect(await store.discard("a", image.mark), RemoveResult.REMOVED, "what is held")
    expect(await t.backend.describe("a"), None, "the instance")
    expect(await store.restore(image, histories), RestoreResult.RESTORED, "back")
    again, others = await taken(t, store)
    expect(again, image, "its image")
    expect(others, histories, "its history")
    await check_filled(t)


@case
async def only_what_is_held_and_unchanged_is_discarded(t: Harness) -> None:
    store = moving(t)
    if store is None:
        return
    await t.session()
    await t.start("a")
    image, _ = await taken(t, store)
    expect(await store.discard("a", image.mark), RemoveResult.RUNNING, "what runs")
    await t.backend.control("a", Action.SUSPEND, "")
    await t.signal("a", "hello")
    expect(await store.discard("a", image.mark), RemoveResult.CHANGED, "what got a message")
    image, _ = await taken(t, store)
    expect(await store.discard("a", image.mark), RemoveResult.REMOVED, "what is as in the image")
    expect(await store.discard("a", image.mark), RemoveResult.NOT_FOUND, "what is gone")
    expect(await store.image("a"), None, "the image of nothing")


@case
async def a_newer_copy_stays_and_an_older_one_is_replaced(t: Harness) -> None:
    store = moving(t)
    if store is None:
        return
    await fill(t)
    old, old_histories = await taken(t, store)
    expect(await store.restore(old, old_histories), RestoreResult.THERE, "the same")
    await t.signal("a", "more")
    new, new_histories = await taken(t, store)
    expect(await store.restore(old, old_histories), RestoreResult.OTHER, "an older image")
    await store.discard("a", new.mark)
    expect(await store.restore(old, old_histories), RestoreResult.RESTORED, "the older one")
    expect(await store.restore(new, new_histories), RestoreResult.RESTORED, "the newer one")
    expect((await taken(t, store))[0], new, "what is there now")
    await t.backend.control("a", Action.RESUME, "")
    changed = replace(new, runs=(replace(new.newest, turn=9),))
    expect(await store.restore(changed, new_histories), RestoreResult.OTHER, "while it runs")


@case
async def finished_and_continued_runs_move_with_their_instance(t: Harness) -> None:
    store = moving(t)
    if store is None:
        return
    await t.session()
    await t.run_to_end("done")
    image, histories = await taken(t, store, "done")
    before = await t.backend.describe("done")
    expect(await store.discard("done", image.mark), RemoveResult.REMOVED, "a finished one")
    expect(await store.restore(image, histories), RestoreResult.RESTORED, "back")
    after = await t.backend.describe("done")
    expect(after, before, "a finished run")
    expect(await store.image("done"), image, "its image")


@case
async def a_family_finds_itself_again(t: Harness) -> None:
    store = moving(t)
    if store is None:
        return
    await t.session()
    await t.start("parent", run_id="p")
    task = await t.claim_one()
    child = t.request(
        "child", run_id="c", parent=Parent("parent", "p", 1), parent_close="terminate"
    )
    await t.applied(task, outbox=(ChildStart(request=child, refused=b"refused"),), release=True)
    images: dict[str, tuple[InstanceImage, list[list[bytes]]]] = {}
    for name in ("parent", "child"):
        await t.backend.control(name, Action.SUSPEND, "")
        images[name] = await taken(t, store, name)
    for image, _ in images.values():
        expect(await store.discard(image.instance_id, image.mark), RemoveResult.REMOVED, "gone")
    for name in ("child", "parent"):  # the child first: its parent is not there yet
        expect(await store.restore(*images[name]), RestoreResult.RESTORED, "back")
        expect((await taken(t, store, name))[0], images[name][0], "its image")
    await t.backend.control("parent", Action.TERMINATE, "enough")
    expect(await t.state("child"), "terminated", "the child of an ended parent")


@case
async def a_message_for_an_instance_that_has_left_is_refused(t: Harness) -> None:
    store = moving(t)
    if store is None:
        return
    await fill(t)
    image, _ = await taken(t, store)
    await store.discard("a", image.mark)
    expect(await t.signal("a", "late"), SendResult.NOT_FOUND, "a message")
    request = Message(instance_id="a", run_id="r", message_id="x", entry=b"x")
    expect(await t.backend.send([request]), [SendResult.NOT_FOUND], "a message for the run")
    await t.claim_none()
    t.clock.advance(10_000)
    report = await t.backend.sweep("s1", 10)
    expect_true((report.fired, report.timed_out) == (0, 0), "nothing of it comes due")
    expect(await t.claim_activities(), [], "its activities")
    started = await t.start("a")
    expect(started.result, "created", "its id is free")
    task = await t.claim_one()
    expect(await t.commit(task), CommitResult.APPLIED, "a new instance of its id")
