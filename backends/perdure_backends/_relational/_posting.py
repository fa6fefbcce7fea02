"""What one instance does to others that lie in another shard: put aside, relayed, answered.

A unit of work reaches one shard. What a turn wants from an instance elsewhere is written beside it
in the same step (*posted*), delivered to the other shard by a unit there, and taken out again by a
unit that gives the sender its answer. Each of the three may be repeated: what is delivered is known
by an id in the other shard, and taking out happens once. Items of one sender are relayed in the
order in which they were posted: the first delivery of each comes behind that of the one before.

PYTEST_DONT_REWRITE
"""

from __future__ import annotations

from typing import Final, NamedTuple

import msgspec

from ..history import Parent
from ..records import ChildStart, Delivery
from ._rows import Run
from ._unit import Unit

GRACE: Final = 2_000_000
"""Microseconds after which anybody may relay what its sender's worker has not."""


class Posted(msgspec.Struct, frozen=True, array_like=True):
    """Something for another shard, from a run; exactly one of the last five is given.

    Attributes:
        told: an outcome for the parent of the run.
        closed: the run has ended; number of the shard whose children of it are to be treated.
        moved: the run has continued; number of a shard, and the run whose children they are now.
    """

    instance_id: str
    run_id: str
    start: ChildStart | None = None
    delivery: Delivery | None = None
    told: tuple[Parent, bytes] | None = None
    closed: int | None = None
    moved: tuple[int, str] | None = None

    def receiver(self) -> str | int:
        """The id of the instance that it is for, or the number of a shard."""
        out = self.start or self.delivery
        if out is not None:
            return receiver_of(out)
        if self.told is not None:
            return self.told[0].instance_id
        if self.moved is not None:
            return self.moved[0]
        return self.closed or 0


class Waiting(NamedTuple):
    """A posted item with its number, and the time from which anybody may relay it."""

    number: int
    due: int
    item: Posted


_encode: Final = msgspec.msgpack.Encoder().encode
decode_posted: Final = msgspec.msgpack.Decoder(Posted).decode


def receiver_of(out: ChildStart | Delivery) -> str:
    """The id of the instance that something is for."""
    return out.request.instance_id if isinstance(out, ChildStart) else out.message.instance_id


def post_to_instance(unit: Unit, run: Run, out: ChildStart | Delivery) -> None:
    """A start or a message for an instance elsewhere."""
    if isinstance(out, ChildStart):
        run.has_children = 1
        _post(unit, run, Posted(run.instance_id, run.run_id, start=out))
    else:
        _post(unit, run, Posted(run.instance_id, run.run_id, delivery=out))


def post_to_parent(unit: Unit, run: Run, parent: Parent, entry: bytes) -> None:
    """The outcome of a run for its parent elsewhere."""
    _post(unit, run, Posted(run.instance_id, run.run_id, told=(parent, entry)))


def post_end(unit: Unit, run: Run) -> None:
    """The end of a run that may have children elsewhere."""
    for shard in unit.others:
        _post(unit, run, Posted(run.instance_id, run.run_id, closed=shard))


def post_continuation(unit: Unit, run: Run, following: str) -> None:
    """A run that may have children elsewhere goes on in another one."""
    for shard in unit.others:
        _post(unit, run, Posted(run.instance_id, run.run_id, moved=(shard, following)))


def _post(unit: Unit, run: Run, item: Posted) -> None:
    unit.also("post", (unit.now + GRACE, _encode(item)))
    unit.posted.add(run.instance_id)
    unit.plan(unit.now + GRACE)
