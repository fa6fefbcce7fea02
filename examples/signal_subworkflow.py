"""A parent signals its child, and a stranger signals both.

Prints:
    the child heard: from its parent, from a stranger
"""

from __future__ import annotations

from perdure import Signal, instance, workflow
from perdure_runtime import local
from runner import run

word = Signal("word", str)


@workflow
async def child(count: int) -> str:
    return "the child heard: " + ", ".join([await word.receive() for _ in range(count)])


@workflow
async def parent() -> str:
    running = child(2)
    await word.send(running.id, "from its parent")  # done once the child has accepted it
    await stranger(running.id)
    return await running


@workflow
async def stranger(whom: str) -> None:
    await instance(whom).signal(word, "from a stranger")


async def main(url: str) -> None:
    async with local(url) as app:
        print(await app.run(parent))


if __name__ == "__main__":
    run(main)
