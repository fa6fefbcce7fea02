"""Signals and other messages: numbered, in order, none dropped, none doubled.

PYTEST_DONT_REWRITE
"""

from __future__ import annotations

from ..history import SignalReceived, decode_event
from ..records import Delivery, Message, SendResult
from ._harness import Harness, case, expect


def _names(entries: list[bytes]) -> list[str]:
    events = [decode_event(entry) for entry in entries]
    return [event.name for event in events if isinstance(event, SignalReceived)]


@case
async def a_message_to_nobody_is_refused(t: Harness) -> None:
    expect(await t.signal("nobody", "x"), SendResult.NOT_FOUND, "unknown")
    await t.session()
    await t.run_to_end("a")
    expect(await t.signal("a", "x"), SendResult.FINISHED, "finished")


@case
async def messages_arrive_in_the_order_of_their_acceptance(t: Harness) -> None:
    await t.session()
    await t.start("a")
    wanted = [f"s{i}" for i in range(250)]
    for name in wanted:
        await t.signal("a", name)
    task = await t.claim_one()
    expect(_names([entry.entry for entry in task.inbox]), wanted, "signals")
    expect([entry.seq for entry in task.inbox], list(range(1, 252)), "numbers without gaps")


@case
async def a_repeated_message_is_accepted_once(t: Harness) -> None:
    await t.session()
    await t.start("a")
    for _ in range(3):
        expect(await t.signal("a", "x", message_id="m"), SendResult.ACCEPTED, "send")
    task = await t.claim_one()
    expect(len(task.inbox), 2, "messages")
    await t.applied(task, release=True)
    await t.signal("a", "x", message_id="m")
    await t.claim_none()
    await t.signal("a", "y")
    task = await t.claim_one()
    await t.applied(task, finish=t.finish(task))
    again = await t.signal("a", "x", message_id="m")
    expect(again, SendResult.ACCEPTED, "a repeat after the end gets the first answer")


@case
async def consumed_messages_are_gone_and_others_stay(t: Harness) -> None:
    await t.session()
    await t.start("a")
    task = await t.claim_one()
    await t.signal("a", "during")
    await t.applied(task, release=True)
    again = await t.claim_one()
    expect(_names([entry.entry for entry in again.inbox]), ["during"], "what is left")


@case
async def a_message_wakes_a_leased_instance_for_its_owner_alone(t: Harness) -> None:
    await t.session("s1")
    await t.session("s2")
    await t.start("a")
    task = await t.claim_one("s1")
    await t.applied(task)
    await t.signal("a", "x")
    await t.claim_none("s2")
    again = await t.claim_one("s1")
    expect(again.token, task.token, "the owner keeps its token")


@case
async def the_outbox_reaches_other_instances(t: Harness) -> None:
    await t.session()
    await t.start("to", queue="other")
    await t.start("from")
    task = await t.claim_one()
    message = Message(instance_id="to", message_id="m1", entry=b"hello")
    lost = Message(instance_id="nobody", message_id="m2", entry=b"hello")
    await t.applied(
        task,
        outbox=(
            Delivery(message=message, accepted=b"yes", refused=b"no"),
            Delivery(message=lost, accepted=b"yes", refused=b"no"),
        ),
        release=True,
    )
    answers = await t.claim_one()
    expect([entry.entry for entry in answers.inbox], [b"yes", b"no"], "answers to the sender")
    receiver = await t.claim_one(queues=("other",))
    expect(receiver.inbox[-1].entry, b"hello", "the receiver's message")
