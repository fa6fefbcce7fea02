"""Retry policies: of an activity, of a sub-workflow, of any code; and errors that end them.

Prints:
    the call came through at attempt 3
    the sub-workflow came through at attempt 2
    both together came through at attempt 2
    given up at once: Forbidden
"""

from __future__ import annotations

from perdure import (
    ActivityError,
    ApplicationError,
    Retry,
    activity,
    activity_info,
    with_retries,
    workflow,
)
from perdure_runtime import local
from runner import run

QUICK = Retry(attempts=5, interval=0.01, backoff=2.0, jitter=0.1)
calls: dict[str, int] = {}


@activity(retry=QUICK)
async def call(works_at: int) -> int:
    attempt = activity_info().attempt
    if attempt < works_at:
        raise ConnectionError("no answer")
    return attempt


@activity(retry=Retry.never)
async def flaky(name: str) -> int:
    calls[name] = calls.get(name, 0) + 1
    if calls[name] < 2:
        raise ConnectionError("no answer")
    return calls[name]


@activity(retry=QUICK)
async def forbidden() -> None:
    raise ApplicationError("you may not", type="Forbidden", retryable=False)


@workflow
async def step(name: str) -> int:
    return await flaky(name)


@workflow
async def everything() -> list[str]:
    seen = [f"the call came through at attempt {await call(3)}"]
    attempt = await step.options(retry=QUICK)("step")
    seen.append(f"the sub-workflow came through at attempt {attempt}")

    async def both(number: int) -> int:
        await call(1)
        await flaky("both")
        return number

    seen.append(f"both together came through at attempt {await with_retries(QUICK, both)}")
    try:
        await forbidden()
    except ActivityError as error:
        seen.append(f"given up at once: {error.type}")
    return seen


async def main(url: str) -> None:
    calls.clear()
    async with local(url) as app:
        for line in await app.run(everything):
            print(line)


if __name__ == "__main__":
    run(main)
