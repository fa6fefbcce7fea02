"""Names: chosen ones, earlier ones, versions side by side, by name only, and a catch-all.

Prints:
    first version
    second version
    renamed, and still found
    untyped: 3
    nobody wrote "mystery", called with [1, 2]
"""

from __future__ import annotations

from typing import Any

from perdure import info, workflow
from perdure_runtime import local
from runner import run


@workflow(name="billing")
async def billing_v1() -> str:
    return "first version"


@workflow(name="billing", version=2)
async def billing_v2() -> str:
    return "second version"


@workflow(name="new-name", aliases=("old-name",))
async def renamed() -> str:
    return "renamed, and still found"


@workflow(name="sum")
async def sums(a: int, b: int) -> int:
    return a + b


@workflow.dynamic
async def anything(arguments: list[Any]) -> str:
    return f'nobody wrote "{info().workflow}", called with {arguments}'


async def main(url: str) -> None:
    async with local(url) as app:
        print(await app.run(billing_v1))
        print(await app.run(billing_v2))
        print(await app.run(workflow.named("old-name")))
        print(f"untyped: {await app.run(workflow.named('sum'), 1, 2)}")
        print(await app.run(workflow.named("mystery"), 1, 2))


if __name__ == "__main__":
    run(main)
