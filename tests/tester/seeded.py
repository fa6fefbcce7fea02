"""Small edits to some workflows, each with what a replay of older histories must say of it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Literal, NamedTuple, TypeVar

import perdure
from perdure import Signal, Workflow, activity, patched, side_effect, sleep, workflow

Expected = Literal["fits", "warns", "differs"]
F = TypeVar("F", bound=Callable[..., Coroutine[Any, Any, Any]])

note = Signal("note", str)


@activity
async def reserve(x: int) -> str:
    return f"r{x}"


@activity
async def charge(x: int) -> str:
    return f"c{x}"


@activity
async def ship(x: int) -> str:
    return f"s{x}"


@workflow
async def small_child(x: int) -> str:
    return await reserve(x)


@workflow
async def other_child(x: int) -> str:
    return await charge(x)


# --- as they were -----------------------------------------------------------------------------


@workflow
async def order(x: int) -> str:
    reserved = await reserve(x)
    await sleep(30)
    shipped = await ship(x)
    return f"{reserved}/{shipped}"


@workflow
async def branch(x: int) -> str:
    if x > 10:
        await charge(x)
    else:
        await reserve(x)
    await sleep(5)
    return "done"


@workflow
async def parallel(x: int) -> list[str]:
    found = await asyncio.gather(reserve(x), charge(x))
    return [*found, await ship(x)]


@workflow
async def batch(left: int) -> str:
    done = await reserve(left)
    if left:
        batch.continue_as_new(left - 1)
    return done


@workflow
async def family(x: int) -> str:
    drawn = side_effect(lambda: x * 2, type=int)
    return await small_child.options(id=f"child-{drawn}")(drawn)


@workflow
async def listens(x: int) -> str:
    try:
        async with asyncio.timeout(60):
            return await note.receive()
    except TimeoutError:
        return await charge(x)


ORIGINALS: dict[str, Workflow[..., Any]] = {
    "order": order,
    "branch": branch,
    "parallel": parallel,
    "batch": batch,
    "family": family,
    "listens": listens,
}

PATHS: dict[str, tuple[str, tuple[Any, ...], float | None]] = {
    "order-done": ("order", (1,), None),
    "order-open": ("order", (1,), 1.0),
    "branch-big": ("branch", (20,), None),
    "branch-small": ("branch", (3,), None),
    "branch-open": ("branch", (3,), 1.0),
    "parallel-done": ("parallel", (1,), None),
    "batch-continued": ("batch", (1,), None),
    "batch-last": ("batch", (0,), None),
    "family-done": ("family", (1,), None),
    "listens-late": ("listens", (1,), None),
    "listens-open": ("listens", (1,), 1.0),
}


class Edit(NamedTuple):
    """A workflow as somebody changed it, and what replays of older histories say."""

    name: str
    workflow: Workflow[..., Any]
    verdicts: dict[str, Expected]
    says: str


EDITS: list[Edit] = []


def edit(original: str, says: str = "", **verdicts: Expected) -> Callable[[F], F]:
    """An edit of a workflow; verdicts by the rest of the path's name."""

    def register(function: F) -> F:
        changed = workflow(name=original)(function)
        paths: dict[str, Expected] = {
            f"{original}-{name}": verdict for name, verdict in verdicts.items()
        }
        EDITS.append(Edit(function.__name__, changed, paths, says))
        return function

    return register


# --- of `order`: reserve, sleep 30, ship --------------------------------------------------------


@edit("order", done="fits", open="fits")
async def renamed_variables(x: int) -> str:
    first = await reserve(x)
    await sleep(30)
    return f"{first}/{await ship(x)}"


@edit("order", "activity 'charge' was added before timer of 30 s", done="differs", open="differs")
async def added_before(x: int) -> str:
    reserved = await reserve(x)
    await charge(x)
    await sleep(30)
    return f"{reserved}/{await ship(x)}"


@edit(
    "order", "activity 'charge' was added before activity 'reserve'", done="differs", open="differs"
)
async def added_first(x: int) -> str:
    await charge(x)
    reserved = await reserve(x)
    await sleep(30)
    return f"{reserved}/{await ship(x)}"


@edit("order", "activity 'charge' was added before workflow completed", done="differs", open="fits")
async def added_last(x: int) -> str:
    reserved = await reserve(x)
    await sleep(30)
    shipped = await ship(x)
    await charge(x)
    return f"{reserved}/{shipped}"


@edit("order", "activity 'charge' was added", done="differs", open="fits")
async def added_behind_the_timer(x: int) -> str:
    reserved = await reserve(x)
    await sleep(30)
    await charge(x)
    return f"{reserved}/{await ship(x)}"


@edit("order", "activity 'reserve' was removed", done="differs", open="differs")
async def removed_first(x: int) -> str:
    await sleep(30)
    return f"r{x}/{await ship(x)}"


@edit("order", "activity 'ship' was removed", done="differs", open="fits")
async def removed_last(x: int) -> str:
    reserved = await reserve(x)
    await sleep(30)
    return reserved


@edit("order", "timer of 30 s", done="differs", open="differs")
async def removed_timer(x: int) -> str:
    reserved = await reserve(x)
    return f"{reserved}/{await ship(x)}"


@edit("order", "activity 'ship'", done="differs", open="differs")
async def swapped_behind(x: int) -> str:
    reserved = await reserve(x)
    shipped = await ship(x)
    await sleep(30)
    return f"{reserved}/{shipped}"


@edit("order", "activity 'reserve'", done="differs", open="differs")
async def swapped_before(x: int) -> str:
    await sleep(30)
    reserved = await reserve(x)
    return f"{reserved}/{await ship(x)}"


@edit("order", "has moved", done="differs", open="differs")
async def swapped_activities(x: int) -> str:
    shipped = await ship(x)
    await sleep(30)
    return f"{await reserve(x)}/{shipped}"


@edit(
    "order",
    "the duration was edited: timer of 30 s is timer of 60 s",
    done="differs",
    open="differs",
)
async def other_duration(x: int) -> str:
    reserved = await reserve(x)
    await sleep(60)
    return f"{reserved}/{await ship(x)}"


@edit("order", "'ship' was renamed to 'charge'", done="differs", open="fits")
async def renamed_last(x: int) -> str:
    reserved = await reserve(x)
    await sleep(30)
    return f"{reserved}/{await charge(x)}"


@edit("order", "'reserve' was renamed to 'charge'", done="differs", open="differs")
async def renamed_first(x: int) -> str:
    reserved = await charge(x)
    await sleep(30)
    return f"{reserved}/{await ship(x)}"


@edit("order", done="warns", open="warns")
async def other_arguments(x: int) -> str:
    reserved = await reserve(x + 1)
    await sleep(30)
    return f"{reserved}/{await ship(x)}"


@edit("order", done="warns", open="fits")
async def other_arguments_last(x: int) -> str:
    reserved = await reserve(x)
    await sleep(30)
    return f"{reserved}/{await ship(x * 3)}"


@edit("order", done="fits", open="fits")
async def other_result(x: int) -> str:
    reserved = await reserve(x)
    await sleep(30)
    return f"{await ship(x)} and {reserved}"


@edit("order", done="fits", open="fits")
async def guarded(x: int) -> str:
    reserved = await reserve(x)
    if patched("charge"):
        await charge(x)
    await sleep(30)
    return f"{reserved}/{await ship(x)}"


@edit("order", done="fits", open="fits")
async def guarded_removal(x: int) -> str:
    reserved = "" if patched("no-reserve") else await reserve(x)
    await sleep(30)
    return f"{reserved}/{await ship(x)}"


@edit("order", "replaced by timer of 10 s", done="differs", open="differs")
async def another_kind(x: int) -> str:
    await sleep(10)
    await sleep(30)
    return await ship(x)


@edit("order", "activity 'reserve'", done="differs", open="differs")
async def repeated(x: int) -> str:
    await reserve(x)
    reserved = await reserve(x)
    await sleep(30)
    return f"{reserved}/{await ship(x)}"


@edit("order", "the code does more", done="differs", open="differs")
async def parallelised(x: int) -> str:
    first = reserve(x)
    second = ship(x)
    await sleep(30)
    return f"{await first}/{await second}"


@edit("order", done="differs", open="differs")
async def started_early(x: int) -> str:
    first = reserve(x)
    await sleep(30)
    return f"{await first}/{await ship(x)}"


@edit("order", "workflow failed", done="differs", open="fits")
async def fails_at_the_end(x: int) -> str:
    await reserve(x)
    await sleep(30)
    await ship(x)
    raise perdure.ApplicationError("no")


@edit("order", done="differs", open="differs")
async def fails_at_the_beginning(x: int) -> str:
    raise perdure.ApplicationError("no")


@edit("order", done="differs", open="differs")
async def returns_at_once(x: int) -> str:
    return "x"


@edit("order", done="fits", open="fits")
async def catches_more(x: int) -> str:
    try:
        reserved = await reserve(x)
    except perdure.ActivityError:
        reserved = "none"
    await sleep(30)
    return f"{reserved}/{await ship(x)}"


@edit("order", done="differs", open="differs")
async def with_a_time_out(x: int) -> str:
    async with asyncio.timeout(10):
        reserved = await reserve(x)
    await sleep(30)
    return f"{reserved}/{await ship(x)}"


@edit("order", done="differs", open="differs")
async def with_a_side_effect(x: int) -> str:
    drawn = side_effect(lambda: 1, type=int)
    reserved = await reserve(x * drawn)
    await sleep(30)
    return f"{reserved}/{await ship(x)}"


@edit("order", done="differs", open="differs")
async def with_a_child(x: int) -> str:
    reserved = await small_child(x)
    await sleep(30)
    return f"{reserved}/{await ship(x)}"


@edit("order", done="differs", open="fits")
async def a_loop_of_timers(x: int) -> str:
    reserved = await reserve(x)
    for _ in range(2):
        await sleep(30)
    return f"{reserved}/{await ship(x)}"


@edit("order", done="differs", open="differs")
async def local_now(x: int) -> str:
    reserved = await reserve.options(local=True)(x)
    await sleep(30)
    return f"{reserved}/{await ship(x)}"


# --- of `branch`: charge or reserve, sleep 5 ----------------------------------------------------


@edit("branch", "'charge' was renamed to 'reserve'", big="differs", small="fits", open="fits")
async def other_threshold(x: int) -> str:
    if x > 100:
        await charge(x)
    else:
        await reserve(x)
    await sleep(5)
    return "done"


@edit("branch", "'reserve' was renamed to 'charge'", big="fits", small="differs", open="differs")
async def lower_threshold(x: int) -> str:
    if x > 1:
        await charge(x)
    else:
        await reserve(x)
    await sleep(5)
    return "done"


@edit("branch", big="differs", small="differs", open="differs")
async def negated(x: int) -> str:
    if x <= 10:
        await charge(x)
    else:
        await reserve(x)
    await sleep(5)
    return "done"


@edit("branch", big="differs", small="fits", open="fits")
async def more_in_one_branch(x: int) -> str:
    if x > 10:
        await charge(x)
        await ship(x)
    else:
        await reserve(x)
    await sleep(5)
    return "done"


@edit("branch", big="fits", small="differs", open="differs")
async def nothing_in_the_other(x: int) -> str:
    if x > 10:
        await charge(x)
    await sleep(5)
    return "done"


@edit("branch", big="fits", small="fits", open="fits")
async def guarded_threshold(x: int) -> str:
    limit = 100 if patched("limit") else 10
    if x > limit:
        await charge(x)
    else:
        await reserve(x)
    await sleep(5)
    return "done"


@edit("branch", big="fits", small="warns", open="warns")
async def arguments_in_one_branch(x: int) -> str:
    if x > 10:
        await charge(x)
    else:
        await reserve(-x)
    await sleep(5)
    return "done"


@edit("branch", big="differs", small="differs", open="differs")
async def timer_in_front(x: int) -> str:
    await sleep(5)
    if x > 10:
        await charge(x)
    else:
        await reserve(x)
    return "done"


# --- of `parallel`: reserve beside charge, then ship --------------------------------------------


@edit("parallel", "has moved", done="differs")
async def other_order(x: int) -> list[str]:
    found = await asyncio.gather(charge(x), reserve(x))
    return [*found, await ship(x)]


@edit("parallel", "the code does less", done="differs")
async def one_after_the_other(x: int) -> list[str]:
    return [await reserve(x), await charge(x), await ship(x)]


@edit("parallel", "the code does more", done="differs")
async def all_at_once(x: int) -> list[str]:
    return list(await asyncio.gather(reserve(x), charge(x), ship(x)))


@edit("parallel", done="fits")
async def in_a_group(x: int) -> list[str]:
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(one(x)) for one in (_reserves, _charges)]
    return [*(task.result() for task in tasks), await ship(x)]


async def _reserves(x: int) -> str:
    return await reserve(x)


async def _charges(x: int) -> str:
    return await charge(x)


# --- of `batch`: reserve, continue as new -------------------------------------------------------


@edit("batch", continued="differs", last="fits")
async def ends_earlier(left: int) -> str:
    return await reserve(left)


@edit("batch", continued="fits", last="differs")
async def never_ends(left: int) -> str:
    await reserve(left)
    return batch.continue_as_new(left - 1)


@edit("batch", "activity 'charge'", continued="differs", last="differs")
async def batch_with_more(left: int) -> str:
    done = await reserve(left)
    await charge(left)
    if left:
        batch.continue_as_new(left - 1)
    return done


# --- of `family`: a side effect, a child --------------------------------------------------------


@edit("family", "another instance_id", done="differs")
async def other_child_id(x: int) -> str:
    drawn = side_effect(lambda: x * 2, type=int)
    return await small_child.options(id=f"kid-{drawn}")(drawn)


@edit("family", "'small_child'", done="differs")
async def other_child_workflow(x: int) -> str:
    drawn = side_effect(lambda: x * 2, type=int)
    return await other_child.options(id=f"child-{drawn}")(drawn)


@edit("family", done="differs")
async def no_side_effect(x: int) -> str:
    drawn = x * 2
    return await small_child.options(id=f"child-{drawn}")(drawn)


@edit("family", done="fits")
async def other_side_effect(x: int) -> str:
    drawn = side_effect(lambda: x * 7, type=int)
    return await small_child.options(id=f"child-{drawn}")(drawn)


@edit("family", done="warns")
async def other_child_input(x: int) -> str:
    drawn = side_effect(lambda: x * 2, type=int)
    return await small_child.options(id=f"child-{drawn}")(drawn + 1)


# --- of `listens`: a signal within 60 s, or charge ----------------------------------------------


@edit("listens", late="differs", open="differs")
async def longer_time_out(x: int) -> str:
    try:
        async with asyncio.timeout(90):
            return await note.receive()
    except TimeoutError:
        return await charge(x)


@edit("listens", late="differs", open="fits")
async def gives_up(x: int) -> str:
    try:
        async with asyncio.timeout(60):
            return await note.receive()
    except TimeoutError:
        return "late"


@edit("listens", late="differs", open="differs")
async def waits_for_ever(x: int) -> str:
    return await note.receive()
