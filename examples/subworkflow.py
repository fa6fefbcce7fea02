"""A workflow calls another one: typed, with an id of its own, and one that outlives its parent.

Prints:
    parent got 42
    the detached child ended later
"""

from __future__ import annotations

from perdure import Signal, workflow
from perdure_runtime import local
from runner import run

go = Signal("go", None)


@workflow
async def double(value: int) -> int:
    return 2 * value


@workflow
async def lingers() -> str:
    await go.receive()
    return "the detached child ended later"


@workflow
async def parent(value: int) -> int:
    lingers.options(id="lingers", parent_close="abandon")()  # nobody awaits it
    return await double.options(id="double")(value)


async def main(url: str) -> None:
    async with local(url) as app:
        print(f"parent got {await app.run(parent, 21)}")
        detached = app.client.handle("lingers", lingers)
        await detached.signal(go, None)
        print(await detached.result())


if __name__ == "__main__":
    run(main)
