"""Where what was posted in one shard arrives: in another one, and back as an answer.

PYTEST_DONT_REWRITE
"""

from __future__ import annotations

from collections.abc import Sequence

from ._posting import Posted, Waiting
from ._rows import Run
from ._steps import accept, close_child
from ._turns import relay
from ._unit import Unit


async def deliver(unit: Unit, items: Sequence[Posted]) -> list[bytes | None]:
    """Delivers; gives the entries that answer the senders."""
    return [await _deliver(unit, item) for item in items]


async def _deliver(unit: Unit, item: Posted) -> bytes | None:
    out = item.start or item.delivery
    if out is not None:
        return await relay(unit, out)
    if item.told is not None:
        parent, entry = item.told
        run = await unit.run(parent.run_id)
        if run is not None and run.running and await _first_time(unit, run, item):
            accept(unit, run, entry, carried=False)
    elif item.moved is not None:
        for child in await unit.children(item.run_id):
            child.closes_with = item.moved[1]
    else:
        for child in await unit.children(item.run_id):
            if child.parent_close == "terminate" or await _first_time(unit, child, item):
                await close_child(unit, child)
    return None


async def _first_time(unit: Unit, run: Run, item: Posted) -> bool:
    name = f"\0{item.run_id}"
    if await unit.is_known(run, name):
        return False
    unit.note_message(run, name)
    return True


async def take_out(unit: Unit, done: Sequence[tuple[Waiting, bytes | None]]) -> None:
    """Takes out what was delivered, and gives the senders their answers."""
    there = await unit.fetch("load_posted", numbers=[(one.number, one.due) for one, _ in done])
    numbers = {row[0] for row in there}
    answered = [item.run_id for (number, _, item), answer in done if answer and number in numbers]
    await unit.load_runs(answered)
    for (number, _, item), answer in done:
        if number in numbers:
            unit.also("unpost", (number,))
            sender = await unit.run(item.run_id) if answer is not None else None
            if answer is not None and sender is not None and sender.running:
                accept(unit, sender, answer, carried=False)
