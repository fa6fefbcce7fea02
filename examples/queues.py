"""Workflows and activities on queues of their own, with a worker for each, and a limit.

Prints:
    page 1 by the printer, page 2 by the printer
"""

from __future__ import annotations

from perdure import activity, workflow
from perdure_runtime import Client, Worker, connect
from runner import run


@activity(queue="printing")
async def print_page(number: int) -> str:
    return f"page {number} by the printer"


@workflow
async def print_all(pages: int) -> str:
    return ", ".join([await print_page(number) for number in range(1, pages + 1)])


async def main(url: str) -> None:
    async with (
        connect(url) as backend,
        Worker(backend, workflows=[print_all], queues=["office"]),
        Worker(backend, activities=[print_page], queues=["printing"], max_activities=1),
    ):
        client = Client(backend)
        await client.limit_queue("printing", per_second=100)  # over all workers together
        print(await client.run(print_all.options(queue="office"), 2))
        await client.limit_queue("printing", None)


if __name__ == "__main__":
    run(main)
