"""What a workflow knows about itself.

Prints:
    info-1 runs as tells version 2 with 1 events
    later 3 events, continue as new: False
"""

from __future__ import annotations

from perdure import activity, info, workflow
from perdure_runtime import local
from runner import run


@activity
async def something() -> None: ...


@workflow(version=2)
async def tells() -> list[str]:
    about = info()
    seen = [
        f"{about.id} runs as {about.workflow} version {about.version} "
        f"with {about.history_length} events"
    ]
    await something()
    about = info()
    return [
        *seen,
        f"later {about.history_length} events, continue as new: {about.continue_as_new_suggested}",
    ]


async def main(url: str) -> None:
    async with local(url) as app:
        for line in await app.run(tells.options(id="info-1")):
            print(line)


if __name__ == "__main__":
    run(main)
