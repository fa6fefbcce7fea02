"""What becomes of exceptions: of your own classes, of others, wrapped, and of sub-workflows.

Prints:
    declined 51: 9.90
    ValueError: not a number, because of KeyError: 'x'
    declined 14: 1
    failed for good: CardDeclined: 77: 5
"""

from __future__ import annotations

from decimal import Decimal

from perdure import (
    ActivityError,
    Retry,
    WorkflowFailedError,
    activity,
    durable_error,
    workflow,
)
from perdure_runtime import local
from runner import run


@durable_error(retryable=False)  # importable and registered: it arrives as itself
class CardDeclined(Exception):  # noqa: N818
    def __init__(self, code: str, amount: Decimal) -> None:
        super().__init__(f"{code}: {amount}")
        self.code = code
        self.amount = amount


@activity
async def pay(code: str, amount: Decimal) -> None:
    raise CardDeclined(code, amount)


@activity(retry=Retry.never)
async def parse() -> None:
    try:
        raise KeyError("x")
    except KeyError as error:
        raise ValueError("not a number") from error


@workflow
async def pays(code: str) -> None:
    await pay(code, Decimal(1))


@workflow
async def shop() -> list[str]:
    seen: list[str] = []
    try:
        await pay("51", Decimal("9.90"))
    except CardDeclined as error:
        seen.append(f"declined {error.code}: {error.amount}")
    try:
        await parse()
    except ActivityError as error:  # any other class: its name, message, causes and stack
        cause = error.__cause__
        seen.append(f"{cause}, because of {cause.__cause__ if cause else None}")
    try:
        await pays("14")
    except CardDeclined as error:  # through a sub-workflow, too
        seen.append(f"declined {error.code}: {error.amount}")
    return seen


@workflow
async def fails() -> None:
    await pay("77", Decimal(5))


async def main(url: str) -> None:
    async with local(url) as app:
        for line in await app.run(shop):
            print(line)
        try:
            await app.run(fails)
        except WorkflowFailedError as error:
            print(f"failed for good: {error.type}: {error.failure.message}")


if __name__ == "__main__":
    run(main)
