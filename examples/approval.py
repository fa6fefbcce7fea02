"""A human decides, or a deadline does; whoever decides may be another process altogether.

Prints:
    laptop: approved by Hedy
    yacht: nobody decided in time
    desk: approved in the ticket system
"""

from __future__ import annotations

import asyncio
import dataclasses

from perdure import Signal, activity, activity_info, case, complete_later, select, timer, workflow
from perdure_runtime import Client, local
from runner import run


@dataclasses.dataclass
class Decision:
    by: str
    approved: bool


decision = Signal("decision", Decision)
tickets: dict[str, str] = {}


@workflow
async def purchase(what: str, seconds: float) -> str:
    deadline = timer(seconds, "deadline")
    return await select(
        case(
            decision,
            lambda made: f"{what}: {'approved' if made.approved else 'refused'} by {made.by}",
        ),
        case(deadline, lambda _: f"{what}: nobody decided in time"),
    )


@activity(start_to_close=24 * 3600)
async def file_ticket(what: str) -> str:
    """Ends at once; the ticket system gives the outcome, with the token."""
    tickets[what] = activity_info().token
    complete_later()


@workflow
async def purchase_by_ticket(what: str) -> str:
    return f"{what}: {await file_ticket(what)}"


async def ticket_system(client: Client) -> None:
    while "desk" not in tickets:
        await asyncio.sleep(0.01)
    await client.activity(tickets.pop("desk"), file_ticket).complete(
        "approved in the ticket system"
    )


async def main(url: str) -> None:
    async with local(url) as app:
        laptop = await app.start(purchase, "laptop", 3600)
        yacht = await app.start(purchase, "yacht", 0.02)
        desk = await app.start(purchase_by_ticket, "desk")
        await laptop.signal(decision, Decision("Hedy", True))
        await ticket_system(app.client)
        for handle in (laptop, yacht, desk):
            print(await handle.result())


if __name__ == "__main__":
    run(main)
