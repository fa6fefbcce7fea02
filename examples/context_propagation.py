"""A context variable that travels from the client through workflows into activities.

Prints:
    acme: stored by acme
"""

from __future__ import annotations

from contextvars import ContextVar

from perdure import Propagate, activity, workflow
from perdure_runtime import local
from runner import run

tenant: ContextVar[str] = ContextVar("tenant")


@activity
async def store(text: str) -> str:
    return f"{text} by {tenant.get()}"


@workflow
async def save(text: str) -> str:
    return f"{tenant.get()}: {await store(text)}"


async def main(url: str) -> None:
    async with local(url, middleware=[Propagate(tenant, str)]) as app:
        tenant.set("acme")
        print(await app.run(save, "stored"))


if __name__ == "__main__":
    run(main)
