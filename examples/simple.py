"""Hello, world: two activities, one workflow.

Prints:
    35 + 12 = 47
"""

from __future__ import annotations

from perdure import activity, workflow
from perdure_runtime import local
from runner import run


@activity
async def thirty_five() -> int:
    return 35


@activity
async def add(a: int, b: int) -> int:
    return a + b


@workflow
async def sums(b: int) -> str:
    a = await thirty_five()
    return f"{a} + {b} = {await add(a, b)}"


async def main(url: str) -> None:
    async with local(url) as app:
        print(await app.run(sums, 12))


if __name__ == "__main__":
    run(main)
