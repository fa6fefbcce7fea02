"""An instance with something of everything goes from each store to another one."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from perdure_backends import Moving
from perdure_backends.conformance import Harness, TestClock
from perdure_backends.conformance._moving import check_filled, fill, taken
from perdure_backends.records import RemoveResult, RestoreResult
from stores import STORES, make_store

PAIRS = [
    *zip(STORES, (*STORES[2:], *STORES[:2]), strict=True),
    *zip(STORES, (*STORES[3:], *STORES[:3]), strict=True),
]


@pytest.mark.parametrize(("source", "target"), PAIRS, ids=[f"{a}-to-{b}" for a, b in PAIRS])
def test_from_one_store_to_another(source: str, target: str, tmp_path: Path) -> None:
    clock = TestClock()
    (tmp_path / "target").mkdir()

    async def main() -> None:
        one = make_store(source, tmp_path, clock)
        other = make_store(target, tmp_path / "target", clock)
        await one.open()
        await other.open()
        assert isinstance(one, Moving)
        assert isinstance(other, Moving)
        t = Harness(one, clock)
        await fill(t)
        image, histories = await taken(t, one)
        assert await other.restore(image, histories) is RestoreResult.RESTORED
        assert await other.restore(image, histories) is RestoreResult.THERE
        assert await one.discard("a", image.mark) is RemoveResult.REMOVED
        assert (await other.image("a")) == image
        t.backend = other
        await check_filled(t)
        await one.aclose()
        await other.aclose()

    asyncio.run(main())


@pytest.mark.parametrize("store", ["postgres", "mysql", "redis"])
def test_what_a_crash_left_half_made_is_replaced(store: str, tmp_path: Path) -> None:
    """Restoring takes several steps there; nothing is to be seen before the last."""
    clock = TestClock()

    async def main() -> None:
        from perdure_backends._relational import RelationalBackend, _moving

        backend = make_store(store, tmp_path, clock)
        await backend.open()
        assert isinstance(backend, RelationalBackend)
        t = Harness(backend, clock)
        await fill(t)
        image, histories = await taken(t, backend)
        await backend.discard("a", image.mark)
        change = backend._change  # pyright: ignore[reportPrivateUsage]
        serials = await change(lambda unit: _moving.begin(unit, image))
        await change(
            lambda unit: _moving.add_history(unit, serials[0], after=0, records=histories[0])
        )
        assert await backend.describe("a") is None
        assert await backend.image("a") is None
        await t.claim_none()
        assert await backend.restore(image, histories) is RestoreResult.RESTORED
        assert await backend.image("a") == image
        await check_filled(t)
        await backend.aclose()

    asyncio.run(main())


def test_a_long_history_is_restored_in_parts(tmp_path: Path) -> None:
    clock = TestClock()

    async def main() -> None:
        source, target = make_store("memory", tmp_path, clock), make_store("redis", tmp_path, clock)
        await target.open()
        assert isinstance(source, Moving)
        assert isinstance(target, Moving)
        t = Harness(source, clock)
        await t.session()
        await t.start("a")
        task = await t.claim_one()
        for number in range(1, 3001):
            consumed = (1,) if number == 1 else ()
            await t.applied(task, turn=number, record=bytes(1000), consumed=consumed)
        image, histories = await taken(t, source)
        histories = [await source_history(t, image.newest.run_id)]
        assert await target.restore(image, histories) is RestoreResult.RESTORED
        there = await target.read_history(image.newest.run_id, 2990, 100)
        assert there == [bytes(1000)] * 10
        await target.aclose()

    async def source_history(t: Harness, run_id: str) -> list[bytes]:
        return await t.backend.read_history(run_id, 0, 10_000)

    asyncio.run(main())
