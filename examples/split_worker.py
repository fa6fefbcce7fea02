"""One worker for workflows, another one for activities.

Prints:
    Ada was greeted by the activity worker
"""

from __future__ import annotations

from perdure import activity, workflow
from perdure_runtime import Client, Worker, connect
from runner import run


@activity
async def greet(name: str) -> str:
    return f"{name} was greeted by the activity worker"


@workflow
async def welcome(name: str) -> str:
    return await greet(name)


async def main(url: str) -> None:
    async with (
        connect(url) as backend,
        Worker(backend, workflows=[welcome]),
        Worker(backend, activities=[greet]),
    ):
        print(await Client(backend).run(welcome, "Ada"))


if __name__ == "__main__":
    run(main)
