"""Takes instances out of one store and gives them to another, so that one copy at most can run.

Each is held (suspended) where it is, copied to the other store, where it is held too, and removed
where it was, if nothing has happened to it since; what has is copied once more. Only when all that
belong together have left the one store do they go on in the other. Wherever it is broken off, it
can be begun again: an older copy that is held is replaced by a newer one, and what has left is
found where it went.

PYTEST_DONT_REWRITE
"""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import AsyncIterator, Callable, Container, Iterable, Mapping, Sequence
from typing import Any, Final

from perdure import DataConverter, UsageError, Workflow
from perdure_backends import Backend, Moving
from perdure_backends import history as h
from perdure_backends.records import (
    Action,
    InstanceRecord,
    ListFilter,
    RemoveResult,
    RestoreResult,
    Status,
)

from .._client import Client
from .._registry import Registry
from .._replay import History, replay
from ._files import Packed

_OPEN: Final = ("running", "suspended", "parked")
_PAGE: Final = 1000
_LOOK: Final = 0.2
_TRIES: Final = 100
"""How often an instance may change while it is being copied."""


@dataclasses.dataclass(slots=True)
class MoveReport:
    """What has become of instances, by id.

    Attributes:
        moved: are in the other store only, and go on there if they had not ended.
        held: are in the other store only, and stay suspended there as they were before.
        copied: are in the other store too, suspended if they had not ended.
    """

    moved: list[str] = dataclasses.field(default_factory=list[str])
    held: list[str] = dataclasses.field(default_factory=list[str])
    copied: list[str] = dataclasses.field(default_factory=list[str])


class Mover:
    """Moves instances between stores.

    Args:
        source: where they are, if it is open.
        target: where they shall be, if it is open.
        workflows: code that must replay each history before it is taken in.
        wait: seconds that activities may take to end before their instance is copied; what still
            runs then runs again in the other store.
        tell: is told what happens, in words.
        done: is told the ids of instances that were copied.
    """

    def __init__(
        self,
        source: Backend | None,
        target: Backend | None,
        *,
        workflows: Sequence[Workflow[..., Any]] = (),
        wait: float = 30.0,
        tell: Callable[[str], None] = lambda _: None,
        done: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._source = source
        self._target = target
        self._registry = Registry(workflows, (), DataConverter()) if workflows else None
        self._wait = wait
        self._tell = tell
        self._done = done

    # --- taking out

    async def select(
        self, chosen: ListFilter | None, ids: Iterable[str], *, family: bool
    ) -> list[InstanceRecord]:
        """Instances by filter or id, and those that they belong to.

        Args:
            family: take running parents and sub-workflows along; else they are an error.

        Raises:
            UsageError: an instance is not there, or its family would be torn.
        """
        client = Client(_given(self._source))
        found: dict[str, InstanceRecord] = {}
        if chosen is not None:
            async for record in client.list(chosen, page_size=_PAGE):
                found[record.instance_id] = record
        for one in ids:
            known = await client.backend.describe(one)
            if known is not None:
                found[one] = known
            elif self._target is None or await self._target.describe(one) is None:
                raise UsageError(f"there is no instance {one!r} in {client.backend.url}")
        if any(record.status is Status.RUNNING for record in found.values()):
            await self._add_family(client, found, family=family)
        return list(found.values())

    async def _add_family(
        self, client: Client, found: dict[str, InstanceRecord], *, family: bool
    ) -> None:
        running: dict[str, InstanceRecord] = {}
        related: dict[str, list[str]] = {}
        async for record in client.list(ListFilter(states=_OPEN), page_size=_PAGE):
            running[record.instance_id] = record
        for record in running.values():
            if record.parent is not None and record.parent.instance_id in running:
                related.setdefault(record.instance_id, []).append(record.parent.instance_id)
                related.setdefault(record.parent.instance_id, []).append(record.instance_id)
        waiting = [name for name in found if name in running]
        while waiting:
            name = waiting.pop()
            for other in related.get(name, ()):
                if other in found:
                    continue
                if not family:
                    raise UsageError(
                        f"{name!r} and {other!r} are parent and sub-workflow, and wait for each "
                        "other: move them together (--family), or when one of them has ended"
                    )
                found[other] = running[other]
                waiting.append(other)

    async def hold(self, records: Sequence[InstanceRecord]) -> set[str]:
        """Suspends those that run and waits for their activities; gives those that it suspended."""
        source = _given(self._source)
        held: set[str] = set()
        for record in records:
            if record.status is Status.RUNNING and not record.suspended:
                await source.control(record.instance_id, Action.SUSPEND, "it is being moved")
                held.add(record.instance_id)
        loop = asyncio.get_running_loop()
        until = loop.time() + self._wait
        for record in records:
            if record.status is not Status.RUNNING:
                continue
            while busy := await self._running_activities(record.instance_id):
                if loop.time() >= until:
                    self._tell(f"{record.instance_id}: {busy} still runs, and will run again")
                    break
                await asyncio.sleep(_LOOK)
        return held

    async def _running_activities(self, instance_id: str) -> str:
        source = _given(self._source)
        record = await source.describe(instance_id)
        if record is None:
            return ""
        pending = await source.pending(record.run_id)
        return ", ".join(one.name for one in pending.activities if one.state == "running")

    async def let_go(self, ids: Iterable[str]) -> None:
        """Lets instances go on where they were."""
        for one in ids:
            await _given(self._source).control(one, Action.RESUME, "it is not moved after all")

    async def pack(self, instance_id: str) -> Packed | None:
        """An instance that has ended or is held, with its histories; ``None`` if it is not there.

        Raises:
            UsageError: it runs, or the store can't do this.
        """
        store = _moving(self._source)
        image = await store.image(instance_id)
        if image is None:
            return None
        if image.newest.status == Status.RUNNING.value and not image.suspended:
            raise UsageError(f"{instance_id!r} runs: suspend it first, or let this be done")
        histories = [await _read(_given(self._source), run.run_id, run.turn) for run in image.runs]
        return Packed(image, histories)

    async def packed(
        self, records: Sequence[InstanceRecord], held: Container[str] = ()
    ) -> AsyncIterator[Packed]:
        """All of them, one after the other; those that were ``held`` for this say so."""
        for record in records:
            one = await self.pack(record.instance_id)
            if one is not None:
                yield dataclasses.replace(one, held=record.instance_id in held)

    # --- taking in

    async def take_in(self, packed: Packed) -> None:
        """Copies an instance into the target, if its code can replay it, and reads it back.

        Raises:
            UsageError: another instance of that id is there, or a history does not fit the code.
        """
        image = packed.image
        self.verify(packed)
        store = _moving(self._target)
        result = await store.restore(image, packed.histories)
        if result is RestoreResult.OTHER:
            raise UsageError(
                f"{_given(self._target).url} has another or a newer instance "
                f"{image.instance_id!r}; it was left as it is"
            )
        for run, history in zip(image.runs, packed.histories, strict=True):
            if await _read(_given(self._target), run.run_id, run.turn) != history:
                raise UsageError(
                    f"the history of {image.instance_id!r} reads differently in "
                    f"{_given(self._target).url}; nothing was removed from where it came from"
                )

    def verify(self, packed: Packed) -> None:
        """Replays all of an instance's histories, if there is code to do it.

        Raises:
            UsageError: one does not fit.
            NewerHistoryError: one can't be read.
        """
        if self._registry is None:
            return
        image = packed.image
        for run, records in zip(image.runs, packed.histories, strict=True):
            if not self._registry.offers_workflow(run.workflow, run.version):
                raise UsageError(
                    f"{image.instance_id!r} is of {run.workflow!r} version {run.version}, which "
                    "the code does not have"
                )
            turns = [h.decode_turn(record) for record in records]
            history = History(
                image.instance_id, run.run_id, run.workflow, run.version, run.started_at, turns
            )
            found = replay(history, self._registry.workflow(run.workflow, run.version)).divergence
            if found is not None:
                raise UsageError(f"{image.instance_id!r} does not fit the code: {found}")

    # --- both

    async def move(self, records: Sequence[InstanceRecord], *, resume: bool) -> MoveReport:
        """Moves instances. What has ended goes one by one, what has not goes together.

        Args:
            resume: also those that were suspended before go on in the other store.

        Raises:
            UsageError: one of them can't be taken in; they go on where they were.
        """
        report = MoveReport()
        for record in records:
            if record.status is not Status.RUNNING:
                await self._copy_and_leave(record.instance_id)
                report.moved.append(record.instance_id)
        together = [record for record in records if record.status is Status.RUNNING]
        held: set[str] = set()
        marks: dict[str, str] = {}
        try:
            held = await self.hold(together)
            async for packed in self.packed(together):
                await self.take_in(packed)
                marks[packed.image.instance_id] = packed.image.mark
                self._done(packed.image.instance_id)
        except BaseException:
            await self.let_go(held or [one.instance_id for one in together if not one.suspended])
            raise
        arrived = await self.hand_over(marks, resume=True if resume else held)
        return MoveReport([*report.moved, *arrived.moved], arrived.held)

    async def _copy_and_leave(self, name: str) -> None:
        packed = await self.pack(name)
        if packed is not None:
            await self.take_in(packed)
            await self._leave(name, packed.image.mark)
        self._done(name)

    async def hand_over(self, marks: Mapping[str, str], *, resume: bool | set[str]) -> MoveReport:
        """Removes from the source what the target has, and lets it go on there.

        Args:
            marks: of the images that the target has, by id.
            resume: which of them go on, if they have not ended; all of them, or none.

        Raises:
            UsageError: one of them has been resumed in the source; what was removed stays held.
        """
        for name, mark in marks.items():
            await self._leave(name, mark)
        return await self.arrived(marks, resume=resume)

    async def arrived(self, names: Iterable[str], *, resume: bool | set[str]) -> MoveReport:
        """Lets what has left the source go on in the target."""
        report = MoveReport()
        for name in names:
            wanted = resume if isinstance(resume, bool) else name in resume
            record = await _given(self._target).describe(name)
            held = record is not None and record.suspended
            if held and wanted:
                await _given(self._target).control(name, Action.RESUME, "it was moved here")
            (report.held if held and not wanted else report.moved).append(name)
        return report

    async def _leave(self, name: str, mark: str) -> None:
        store = _moving(self._source)
        for _ in range(_TRIES):
            result = await store.discard(name, mark)
            if result in (RemoveResult.REMOVED, RemoveResult.NOT_FOUND):
                return
            if result is RemoveResult.RUNNING:
                raise UsageError(
                    f"{name!r} was resumed in {_given(self._source).url} while it was being moved; "
                    f"its copy in {_given(self._target).url} is suspended"
                )
            again = await self.pack(name)
            if again is None:
                return
            await self.take_in(again)
            mark = again.image.mark
        raise UsageError(f"{name!r} gets messages faster than it can be copied")


async def _read(backend: Backend, run_id: str, last: int) -> list[bytes]:
    records: list[bytes] = []
    while len(records) < last:
        page = await backend.read_history(run_id, len(records), _PAGE)
        if not page:
            break
        records += page
    return records[:last]


def _given(backend: Backend | None) -> Backend:
    if backend is None:
        raise UsageError("this needs the other store as well")
    return backend


def _moving(backend: Backend | None) -> Moving:
    given = _given(backend)
    if not isinstance(given, Moving):
        raise UsageError(f"the store {given.url} can't give or take instances")
    return given
