"""Exported files, and what is refused when instances are moved."""

from __future__ import annotations

import asyncio
import io
import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from perdure import Signal, UsageError, activity, sleep, workflow
from perdure_backends.conformance import Harness, TestClock
from perdure_backends.conformance._moving import fill
from perdure_backends.memory import MemoryBackend
from perdure_backends.records import NewTimer
from perdure_runtime import Client, Worker
from perdure_runtime._moving import ExportFileError, Mover, Packed, read_export, write_export

go = Signal("go", int)


@activity
async def step(value: int) -> int:
    return value + 1


@workflow
async def child() -> int:
    return await step(await go.receive())


@workflow
async def parent() -> int:
    return await child.options(id="child")()


@workflow
async def sleeper() -> str:
    await sleep(3600)
    return "awake"


@workflow(name="sleeper")
async def another_sleeper() -> str:
    await step(1)
    return "awake"


async def exported(backend: MemoryBackend, *ids: str) -> str:
    mover = Mover(backend, None)
    out = io.StringIO()
    records = await mover.select(None, ids, family=True)
    held = await mover.hold(records)
    await write_export(out, mover.packed(records, held), source=backend.url, now=1)
    return out.getvalue()


def test_a_file_comes_back_byte_for_byte() -> None:
    clock = TestClock()

    async def main() -> None:
        backend = MemoryBackend(clock=clock)
        await fill(Harness(backend, clock))
        text = await exported(backend, "a")
        (packed,) = read_export(text.splitlines(keepends=True))
        again = await Mover(backend, None).pack("a")
        assert again is not None
        assert packed == again
        assert not packed.held  # it was suspended before

    asyncio.run(main())


def test_turns_that_this_version_can_not_read_are_kept() -> None:
    clock = TestClock()

    async def main() -> None:
        backend = MemoryBackend(clock=clock)
        t = Harness(backend, clock)
        await t.session()
        await t.start("a")
        task = await t.claim_one()
        await t.applied(task, record=b"from the future", timers=(NewTimer(1, 5),))
        await t.backend.control("a", "suspend", "")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
        text = await exported(backend, "a")
        (packed,) = read_export(text.splitlines())
        assert packed.histories == [[b"from the future"]]

    asyncio.run(main())


Edit = Callable[[list[str]], list[str]]


def change(line: int, edit: Callable[[dict[str, Any]], Any]) -> Edit:
    def apply(lines: list[str]) -> list[str]:
        data = json.loads(lines[line])
        edit(data)
        return [*lines[:line], json.dumps(data), *lines[line:][1:]]

    return apply


DAMAGES: list[tuple[Edit, str]] = [
    (lambda lines: [], "not JSON"),
    (lambda lines: lines[1:], 'begins with {"format": "perdure-export"'),
    (change(0, lambda d: d.update(version=2)), "written by a newer version"),
    (lambda lines: lines[:-1], "cut off behind 1 whole instances"),
    (lambda lines: lines[:-2], "cut off within instance 'a'"),
    (lambda lines: [*lines[:2], *lines[3:]], "digest is another one"),
    (change(1, lambda d: d["instance"].pop("runs")), "an instance can't be read"),
    (change(2, lambda d: d.update(turn=7)), "turn 7 follows turn 0"),
    (change(2, lambda d: d.update(run=3)), "a turn can't be read"),
    (change(2, lambda d: d.update(time=1)), "digest is another one"),
    (change(-1, lambda d: d.update(exported=3)), "an instance or the end was expected"),
    (lambda lines: [lines[0], "[]"], "an object was expected"),
]


@pytest.mark.parametrize(("damage", "message"), DAMAGES)
def test_damaged_files(damage: Edit, message: str) -> None:
    clock = TestClock()

    async def main() -> str:
        backend = MemoryBackend(clock=clock)
        await fill(Harness(backend, clock))
        return await exported(backend, "a")

    lines = damage(asyncio.run(main()).splitlines())
    with pytest.raises(ExportFileError, match=message.replace("{", r"\{")):
        list(read_export(lines, "x.jsonl"))


def running(
    body: Callable[[Client, MemoryBackend, MemoryBackend], Any],
) -> None:
    async def main() -> None:
        one, two = MemoryBackend(), MemoryBackend()
        async with Worker(one, workflows=[parent, child, sleeper], activities=[step]):
            client = Client(one)
            await client.start(parent.options(id="parent"))
            await client.start(sleeper.options(id="sleeper"))
            async with asyncio.timeout(10):
                for name in ("child", "sleeper"):
                    while True:
                        record = await one.describe(name)
                        if record is not None and record.turn:
                            break
                        await asyncio.sleep(0.01)
            await body(client, one, two)

    asyncio.run(main())


def test_a_family_is_not_torn() -> None:
    async def body(client: Client, one: MemoryBackend, two: MemoryBackend) -> None:
        mover = Mover(one, two)
        with pytest.raises(UsageError, match=r"'child' and 'parent' are parent and sub-workflow"):
            await mover.select(None, ["child"], family=False)
        records = await mover.select(None, ["child"], family=True)
        assert {record.instance_id for record in records} == {"child", "parent"}
        report = await mover.move(records, resume=False)
        assert sorted(report.moved) == ["child", "parent"]
        there = Client(two)
        async with Worker(two, workflows=[parent, child], activities=[step]):
            await there.handle("child", child).signal(go, 6)
            assert await there.handle("parent", parent).result() == 7
        assert await one.describe("child") is None

    running(body)


def test_what_does_not_fit_goes_on_where_it_was() -> None:
    async def body(client: Client, one: MemoryBackend, two: MemoryBackend) -> None:
        mover = Mover(one, two, workflows=[another_sleeper])
        records = await mover.select(None, ["sleeper"], family=False)
        with pytest.raises(UsageError, match="'sleeper' does not fit the code"):
            await mover.move(records, resume=False)
        assert await client.handle("sleeper", sleeper).state() == "running"
        mover = Mover(one, two, workflows=[child])
        with pytest.raises(UsageError, match=r"version 1, which the code does not have"):
            await mover.move(records, resume=False)
        assert await client.handle("sleeper", sleeper).state() == "running"
        assert await two.describe("sleeper") is None

    running(body)


def test_an_id_that_is_taken_there() -> None:
    async def body(client: Client, one: MemoryBackend, two: MemoryBackend) -> None:
        await Client(two).start(sleeper.options(id="sleeper"))
        mover = Mover(one, two)
        records = await mover.select(None, ["sleeper"], family=False)
        with pytest.raises(UsageError, match=r"another or a newer instance 'sleeper'.*left as"):
            await mover.move(records, resume=False)
        assert await client.handle("sleeper", sleeper).state() == "running"

    running(body)


def test_cancelled_while_copying_it_goes_on_where_it_was() -> None:
    async def body(client: Client, one: MemoryBackend, two: MemoryBackend) -> None:
        class Slow(Mover):
            async def packed(self, *_: Any, **__: Any) -> AsyncIterator[Packed]:
                copying.set()
                await asyncio.sleep(60)
                for packed in list[Packed]():
                    yield packed

        copying = asyncio.Event()
        mover = Slow(one, two)
        records = await mover.select(None, ["sleeper"], family=False)
        moving = asyncio.create_task(mover.move(records, resume=False))
        await copying.wait()
        assert await client.handle("sleeper", sleeper).state() == "suspended"
        moving.cancel()
        with pytest.raises(asyncio.CancelledError):
            await moving
        assert await client.handle("sleeper", sleeper).state() == "running"

    running(body)


def test_resumed_while_it_is_moved_it_stays_where_it_is() -> None:
    async def body(client: Client, one: MemoryBackend, two: MemoryBackend) -> None:
        mover = Mover(one, two)
        records = await mover.select(None, ["sleeper"], family=False)
        held = await mover.hold(records)
        (packed,) = [packed async for packed in mover.packed(records, held)]
        await mover.take_in(packed)
        await client.handle("sleeper", sleeper).resume()
        with pytest.raises(UsageError, match="was resumed in memory:// while it was being moved"):
            await mover.hand_over({"sleeper": packed.image.mark}, resume=True)
        assert await Client(two).handle("sleeper", sleeper).state() == "suspended"

    running(body)


def test_nobody_of_that_name(tmp_path: Path) -> None:
    async def main() -> None:
        with pytest.raises(UsageError, match="no instance 'x' in memory://"):
            await Mover(MemoryBackend(), MemoryBackend()).select(None, ["x"], family=False)

    asyncio.run(main())
