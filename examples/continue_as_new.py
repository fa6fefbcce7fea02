"""A loop that runs for years keeps its history short: each run continues as a new one.

Prints:
    counted to 5 in 3 runs; the last history has 6 events
"""

from __future__ import annotations

from perdure import activity, workflow
from perdure_runtime import ListFilter, local
from runner import run


@activity
async def count(number: int) -> int:
    return number + 1


@workflow
async def counter(number: int, until: int) -> int:
    for _ in range(2):  # in earnest: `while not info().continue_as_new_suggested`
        number = await count(number)
        if number == until:
            return number
    counter.continue_as_new(number, until)


@workflow
async def parent(until: int) -> int:
    return await counter.options(id="counter")(0, until)  # gets the last run's result


async def main(url: str) -> None:
    async with local(url) as app:
        reached = await app.run(parent, 5)
        filter = ListFilter(id_prefix="counter", all_runs=True)
        runs = [record async for record in app.client.list(filter)]
        longest = max(record.events for record in runs)
        print(f"counted to {reached} in {len(runs)} runs; the last history has {longest} events")


if __name__ == "__main__":
    run(main)
