"""Store, worker and client in one object, for scripts and small services.

Prints:
    signalled
    done with 3
"""

from __future__ import annotations

from perdure import Signal, workflow
from perdure_runtime import local
from runner import run

number = Signal("number", int)


@workflow
async def waits() -> int:
    return await number.receive()


async def main(url: str) -> None:
    async with local(url) as app:  # finds the workflows and activities of this module by itself
        handle = await app.start(waits.options(id="waits"))
        await app.client.handle("waits", waits).signal(number, 3)
        print("signalled")
        print(f"done with {await handle.result()}")
        await handle.remove()


if __name__ == "__main__":
    run(main)
