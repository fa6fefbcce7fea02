"""Random workflow programs: plain data, and the workflow that carries them out."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

from hypothesis import strategies as st
from perdure import (
    ActivityError,
    Channel,
    ChildWorkflowError,
    Retry,
    Saga,
    Signal,
    Update,
    activity,
    case,
    fan_out,
    info,
    patched,
    publish,
    random,
    select,
    shielded,
    side_effect,
    sleep,
    timer,
    uuid4,
    wait_until,
    with_retries,
    workflow,
)

Program = list[Any]

word = Signal("word", str)
poke = Update("poke", int, int)


@activity(retry=Retry.never)
async def work(number: int) -> int:
    if number % 5 == 4:
        raise ValueError(f"bad {number}")
    return number * 2


@activity(retry=Retry.never, local=True)
async def quick(number: int) -> int:
    return number + 1


@workflow
async def child(number: int) -> int:
    return await work(number)


class Trace:
    """What a program did, in the structure of the program, not of time."""

    def __init__(self) -> None:
        self.pokes = 0


async def run_block(block: Program, trace: Trace) -> list[Any]:
    """Carries out steps one after the other."""
    return [await run_step(step, trace) for step in block]


async def run_step(step: Program, trace: Trace) -> Any:
    """Carries out one step; the result says all that matters of it."""
    kind, *rest = step
    try:
        return await STEPS[kind](trace, *rest)
    except ActivityError as error:
        return f"activity: {error.failure.message}"
    except ChildWorkflowError as error:
        return f"child: {error.failure.message}"
    except TimeoutError:
        return "timeout"


async def _work(trace: Trace, number: int) -> Any:
    return await work(number)


async def _quick(trace: Trace, number: int) -> Any:
    return await quick(number)


async def _child(trace: Trace, number: int) -> Any:
    return await child(number)


async def _sleep(trace: Trace, millis: int) -> Any:
    await sleep(millis / 1000)
    return "slept"


async def _gather(trace: Trace, blocks: list[Program]) -> Any:
    return await asyncio.gather(*[run_block(block, trace) for block in blocks])


async def _group(trace: Trace, blocks: list[Program]) -> Any:
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(run_block(block, trace)) for block in blocks]
    return [task.result() for task in tasks]


async def _timeout(trace: Trace, block: Program) -> Any:
    try:
        async with asyncio.timeout(0.001):
            await run_block(block, trace)
            await sleep(3600)
    finally:
        await shielded(sleep(0))
    return "never"


async def _select(trace: Trace, number: int) -> Any:
    late = timer(3600, "late")
    try:
        return await select(case(work(number), lambda value: value), case(late, lambda _: "late"))
    finally:
        late.cancel()


async def _channel(trace: Trace, numbers: list[int]) -> Any:
    channel: Channel[int] = Channel(len(numbers) % 3)

    async def produce() -> None:
        for number in numbers:
            await channel.send(number)
        channel.close()

    task = asyncio.create_task(produce())
    got = [number async for number in channel]
    await task
    return got


async def _saga(trace: Trace, block: Program) -> Any:
    undone: list[int] = []

    async def undo(number: int) -> None:
        undone.append(await quick(number))

    with contextlib.suppress(LookupError):
        async with Saga() as saga:
            for number in range(len(block)):
                saga.add(undo, number)
                await run_block([block[number]], trace)
            raise LookupError("on purpose")
    return undone


async def _retries(trace: Trace, number: int) -> Any:
    async def attempt(count: int) -> int:
        if count < 2:
            raise KeyError("first")
        return await work(number)

    return await with_retries(Retry(attempts=3, interval=0.001), attempt)


async def _fan_out(trace: Trace, numbers: list[int]) -> Any:
    found = await fan_out(work, numbers, limit=2, return_exceptions=True)
    return [value if isinstance(value, int) else str(value) for value in found]


async def _cancel(trace: Trace, block: Program) -> Any:
    task = asyncio.create_task(run_block([*block, ["sleep", 3_600_000]], trace))
    await sleep(0.001)
    task.cancel()
    await asyncio.wait([task])
    return task.cancelled()


async def _values(trace: Trace, name: str) -> Any:
    value = side_effect(lambda: 7, int)
    new = patched(f"patch-{name}")
    drawn = random(name).random()
    return [value, new, 0 <= drawn < 1, len(str(uuid4()))]


async def _publish(trace: Trace, text: str) -> Any:
    publish(text)
    return info().workflow


async def _signal(trace: Trace) -> Any:
    return await word.receive()


async def _wait(trace: Trace) -> Any:
    flag: list[int] = []

    async def later() -> None:
        await sleep(0.001)
        flag.append(1)

    task = asyncio.create_task(later())
    await wait_until(lambda: bool(flag))
    await task
    return "met"


STEPS: dict[str, Any] = {
    "work": _work,
    "quick": _quick,
    "child": _child,
    "sleep": _sleep,
    "gather": _gather,
    "group": _group,
    "timeout": _timeout,
    "select": _select,
    "channel": _channel,
    "saga": _saga,
    "retries": _retries,
    "fan_out": _fan_out,
    "cancel": _cancel,
    "values": _values,
    "publish": _publish,
    "signal": _signal,
    "wait": _wait,
}


@workflow
async def interpret(program: list[Any]) -> list[Any]:
    trace = Trace()

    @poke.handler
    async def _(number: int) -> int:
        trace.pokes += 1
        return await work(number)

    return await run_block(program, trace)


_numbers = st.integers(0, 9)
_leaves = st.one_of(
    st.tuples(st.sampled_from(["work", "quick", "child", "select", "retries"]), _numbers),
    st.tuples(st.just("sleep"), st.integers(0, 3)),
    st.tuples(st.sampled_from(["channel", "fan_out"]), st.lists(_numbers, max_size=4)),
    st.tuples(st.just("values"), st.sampled_from("ab")),
    st.tuples(st.just("publish"), st.sampled_from("xyz")),
    st.tuples(st.just("wait")),
)


def _blocks(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    block = st.lists(inner, min_size=1, max_size=3)
    return st.one_of(
        st.tuples(st.sampled_from(["gather", "group"]), st.lists(block, min_size=1, max_size=3)),
        st.tuples(st.sampled_from(["timeout", "saga", "cancel"]), block),
    )


programs: st.SearchStrategy[Program] = st.lists(
    st.recursive(_leaves, _blocks, max_leaves=8), min_size=1, max_size=4
)
"""Programs whose result does not depend on how long things take."""
