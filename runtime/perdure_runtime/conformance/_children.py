"""Sub-workflows and other instances.

PYTEST_DONT_REWRITE
"""

from __future__ import annotations

import asyncio

from perdure import (
    ApplicationError,
    ChildWorkflowError,
    InstanceNotFoundError,
    Retry,
    Signal,
    SignalError,
    WorkflowCancelledError,
    activity,
    info,
    instance,
    sleep,
    workflow,
)
from perdure_backends import new_id

from ._harness import FAST, Runner, after_turns, case, expect, raised_by

hello = Signal("hello", str)


@workflow
async def child(value: int) -> int:
    return value * 2


@workflow
async def parent(value: int) -> int:
    return await child(value) + 1


@case
async def a_parent_gets_its_childs_result(run: Runner) -> None:
    async with run(workflows=[parent, child], activities=[]) as app:
        expect(await app.run(parent, 20), 41, "result")


@workflow
async def two_under_one_id() -> str:
    first = sleeper.options(id="taken")()
    await sleep(0.01)
    try:
        await child.options(id="taken")(1)
    except ChildWorkflowError as error:
        return error.type
    finally:
        first.cancel()
    return "both"


@workflow
async def sleeper() -> str:
    try:
        await sleep(3600)
    except asyncio.CancelledError:
        return f"{info().id} was cancelled"
    return "slept"


@case
async def a_second_child_under_a_used_id_is_an_error(run: Runner) -> None:
    async with run(workflows=[two_under_one_id, sleeper, child], activities=[]) as app:
        expect(await app.run(two_under_one_id), "InstanceExistsError", "what the parent gets")


@workflow
async def one_after_another() -> int:
    return await child.options(id="same")(1) + await child.options(id="same")(2)


@case
async def an_id_may_be_used_again_once_its_child_has_finished(run: Runner) -> None:
    async with run(workflows=[one_after_another, child], activities=[]) as app:
        expect(await app.run(one_after_another), 6, "sum")


@workflow
async def level(depth: int) -> str:
    try:
        if depth:
            await level.options(id=f"level-{depth - 1}")(depth - 1)
        await sleep(3600)
    except asyncio.CancelledError:
        return "cancelled"
    return "ended"


@case
async def cancelling_reaches_all_levels(run: Runner) -> None:
    async with run(workflows=[level], activities=[]) as app:
        top = await app.start(level.options(id="level-2"), 2)
        bottom = app.client.handle("level-0", level)
        await after_turns(bottom, 1)
        await top.cancel()
        for number in range(3):
            handle = app.client.handle(f"level-{number}", level)
            expect(await handle.result(), "cancelled", f"level {number}")


@workflow
async def cancels_before_starting() -> str:
    future = child.options(id="never")(1)
    future.cancel()
    await sleep(0.001)
    return "done"


@case
async def a_child_cancelled_in_its_own_turn_is_never_started(run: Runner) -> None:
    async with run(workflows=[cancels_before_starting, child], activities=[]) as app:
        expect(await app.run(cancels_before_starting), "done", "result")
        never = app.client.handle("never", child)
        await raised_by(never.describe(), InstanceNotFoundError)


@workflow
async def listens() -> str:
    return await hello.receive()


@workflow
async def greets_child() -> str:
    future = listens.options(id="listener")()
    await hello.send(future.id, "from above")
    return await future


@case
async def a_parent_signals_its_child(run: Runner) -> None:
    async with run(workflows=[greets_child, listens], activities=[]) as app:
        expect(await app.run(greets_child), "from above", "what the child got")


@workflow
async def greets_nobody() -> str:
    try:
        await hello.send("nobody", "x")
    except SignalError as error:
        return error.failure.type
    return "sent"


@case
async def a_signal_to_nobody_is_a_typed_error(run: Runner) -> None:
    async with run(workflows=[greets_nobody], activities=[]) as app:
        expect(await app.run(greets_nobody), "InstanceNotFoundError", "what the sender gets")


@workflow
async def elsewhere() -> str:
    return info().queue


@workflow
async def asks_elsewhere() -> list[str]:
    return [await elsewhere(), await elsewhere.options(queue="far")()]


@case
async def a_child_can_run_on_another_queue(run: Runner) -> None:
    async with (
        run(workflows=[asks_elsewhere, elsewhere], activities=[]) as app,
        run(workflows=[elsewhere], activities=[], queues=["far"]),
    ):
        expect(await app.run(asks_elsewhere), ["default", "far"], "queues")


@workflow
async def fails() -> int:
    raise ApplicationError("on purpose", type="OnPurpose")


@workflow
async def sees_failure() -> str:
    try:
        await fails()
    except ChildWorkflowError as error:
        return f"{error.type}: {error.failure.message}"
    return "nothing"


@case
async def a_childs_failure_reaches_its_parent(run: Runner) -> None:
    async with run(workflows=[sees_failure, fails], activities=[]) as app:
        expect(await app.run(sees_failure), "OnPurpose: on purpose", "failure")


tried: dict[str, int] = {}


@activity(retry=Retry.never)
async def succeeds_at_the_third(key: str) -> int:
    tried[key] = tried.get(key, 0) + 1
    if tried[key] < 3:
        raise ValueError("not yet")
    return tried[key]


@workflow
async def fragile(key: str) -> int:
    return await succeeds_at_the_third(key)


@workflow
async def retries_child(key: str) -> int:
    return await fragile.options(retry=FAST)(key)


@case
async def a_failed_child_is_started_again(run: Runner) -> None:
    async with run(workflows=[retries_child, fragile], activities=[succeeds_at_the_third]) as app:
        expect(await app.run(retries_child, new_id()), 3, "attempts")


@workflow
async def has_children() -> str:
    sleeper.options(id="stays", parent_close="abandon")()
    sleeper.options(id="cancels", parent_close="cancel")()
    sleeper.options(id="terminates", parent_close="terminate")()
    await sleep(0.001)
    return "ended"


@case
async def children_follow_their_parent_close_policy(run: Runner) -> None:
    async with run(workflows=[has_children, sleeper], activities=[]) as app:
        expect(await app.run(has_children), "ended", "result")
        cancelled = app.client.handle("cancels", sleeper)
        expect(await cancelled.result(), "cancels was cancelled", "the cancelled child")
        terminated = app.client.handle("terminates", sleeper)
        await raised_by(terminated.result(), Exception)
        detached = app.client.handle("stays", sleeper)
        await after_turns(detached, 1)
        expect((await detached.describe()).state, "running", "the detached child")
        await detached.terminate()


@workflow
async def meddles() -> str:
    other = instance("other")
    await other.signal(hello, "first")
    await other.cancel("by a stranger")
    try:
        await instance("nobody").cancel()
    except SignalError:
        return "nobody is not there"
    return "?"


@workflow
async def is_meddled_with() -> list[str]:
    seen = [await hello.receive()]
    try:
        await sleep(3600)
    except asyncio.CancelledError as error:
        seen.append(str(error.args[0]))
    return seen


@case
async def an_instance_signals_and_cancels_any_other(run: Runner) -> None:
    async with run(workflows=[meddles, is_meddled_with], activities=[]) as app:
        other = await app.start(is_meddled_with.options(id="other"))
        await after_turns(other, 1)
        expect(await app.run(meddles), "nobody is not there", "a stranger that is not there")
        expect(await other.result(), ["first", "by a stranger"], "what the other saw")


@case
async def terminating_a_parent_treats_its_children(run: Runner) -> None:
    async with run(workflows=[level], activities=[]) as app:
        top = await app.start(level.options(id="level-1"), 1)
        below = app.client.handle("level-0", level)
        await after_turns(below, 1)
        await top.terminate()
        expect(await below.result(), "cancelled", "the child may clean up")


@case
async def a_cancelled_child_tells_its_parent(run: Runner) -> None:
    async with run(workflows=[waits_for_child, let_go], activities=[]) as app:
        handle = await app.start(waits_for_child)
        below = app.client.handle("let-go", let_go)
        await after_turns(below, 1)
        await below.cancel()
        expect(await handle.result(), "CancelledError", "what the parent gets")
        await raised_by(below.result(), WorkflowCancelledError)


@workflow
async def let_go() -> None:
    await sleep(3600)


@workflow
async def waits_for_child() -> str:
    try:
        await let_go.options(id="let-go")()
    except ChildWorkflowError as error:
        return error.type
    return "nothing"


@case
async def deep_trees_come_back(run: Runner) -> None:
    async with run(workflows=[tree], activities=[]) as app:
        expect(await app.run(tree, 3), 15, "nodes")


@workflow
async def tree(depth: int) -> int:
    if not depth:
        return 1
    return 1 + sum(await asyncio.gather(tree(depth - 1), tree(depth - 1)))
