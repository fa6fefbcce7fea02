"""The store's time as a worker knows it."""

from __future__ import annotations

import asyncio

from perdure_runtime._worker._clock import StoreClock


def test_answers_that_overtake_each_other_do_not_turn_it_back() -> None:
    async def main() -> None:
        clock = StoreClock()
        clock.update(2_000_000_000)
        clock.update(1_000_000_000)  # was sent before, and has come later
        assert clock.now() >= 2_000_000_000

    asyncio.run(main())
