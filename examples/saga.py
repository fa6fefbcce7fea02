"""A trip is booked completely or not at all: what was done is undone, in reverse.

Prints:
    book flight
    book hotel
    book car
    cancel hotel
    cancel flight
    no trip: no car is left
"""

from __future__ import annotations

from perdure import Retry, Saga, WorkflowFailedError, activity, workflow
from perdure_runtime import local
from runner import run


@activity(retry=Retry.never)
async def book(what: str) -> None:
    print(f"book {what}")
    if what == "car":
        raise LookupError("no car is left")


@activity
async def cancel(what: str) -> None:
    print(f"cancel {what}")


@workflow
async def trip() -> None:
    async with Saga() as saga:
        for what in ("flight", "hotel", "car"):
            await book(what)
            saga.add(cancel, what)


async def main(url: str) -> None:
    async with local(url) as app:
        try:
            await app.run(trip)
        except WorkflowFailedError as error:
            cause = error.failure.cause
            print(f"no trip: {cause.message if cause else error}")


if __name__ == "__main__":
    run(main)
