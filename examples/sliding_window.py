"""A batch of many children, a few at a time, over several runs with short histories.

Prints:
    25 records done, never more than 4 at once
"""

from __future__ import annotations

import dataclasses

from perdure import Signal, activity, info, instance, wait_until, workflow
from perdure_runtime import local
from runner import run

finished = Signal("finished", int)

WINDOW = 4
PER_RUN = 10


@dataclasses.dataclass
class Progress:
    offset: int = 0
    running: list[int] = dataclasses.field(default_factory=list[int])
    done: int = 0
    most: int = 0


@activity
async def process(record: int) -> None: ...


@workflow
async def one_record(record: int, batch_id: str) -> None:
    await process(record)
    await instance(batch_id).signal(finished, record)


@workflow
async def batch(total: int, progress: Progress) -> Progress:
    @finished.handler
    def _(record: int) -> None:
        if record in progress.running:
            progress.running.remove(record)
            progress.done += 1

    started = 0
    while progress.offset < total and started < PER_RUN:
        await wait_until(lambda: len(progress.running) < WINDOW)
        # Abandoned, for it may outlive this run; the next one hears of its end by signal.
        child = one_record.options(parent_close="abandon", id=f"record-{progress.offset}")
        progress.running.append(progress.offset)
        progress.most = max(progress.most, len(progress.running))
        child(progress.offset, info().id)
        progress.offset += 1
        started += 1
    if progress.offset < total:
        batch.continue_as_new(total, progress)
    await wait_until(lambda: not progress.running)
    return progress


async def main(url: str) -> None:
    async with local(url) as app:
        end = await app.run(batch.options(id="batch"), 25, Progress())
        print(f"{end.done} records done, never more than {end.most} at once")


if __name__ == "__main__":
    run(main)
