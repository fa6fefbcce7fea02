"""Middleware, context propagation, catch-all workflows.

PYTEST_DONT_REWRITE
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from typing import Any

from perdure import (
    Inbound,
    Middleware,
    Outbound,
    Propagate,
    Query,
    Signal,
    Update,
    activity,
    info,
    sleep,
    workflow,
)

from ._harness import Runner, after_turns, case, expect, expect_true

tenant: ContextVar[str] = ContextVar("tenant")
speak = Signal("speak", None)
who = Query("who", str)
rename = Update("rename", str, str)


@activity
async def reads() -> str:
    return tenant.get("nobody")


@activity
def reads_in_thread() -> str:
    return tenant.get("nobody")


@activity(local=True)
async def reads_locally() -> str:
    return tenant.get("nobody")


@workflow
async def below() -> str:
    return tenant.get("nobody") + " " + await reads()


@workflow
async def carries() -> list[str]:
    heard: list[str] = []

    @speak.handler
    def _(_: None) -> None:
        heard.append(tenant.get("nobody"))

    @who.handler
    def _() -> str:
        return tenant.get("nobody")

    @rename.handler
    async def _(text: str) -> str:
        await sleep(0.001)
        return f"{text} by {tenant.get('nobody')}"

    seen = [tenant.get("nobody"), await reads(), await reads_in_thread(), await reads_locally()]
    seen.append(await below())
    while not heard:
        await sleep(0.001)
    return [*seen, *heard]


@case
async def context_travels_with_every_call(run: Runner) -> None:
    activities: list[Any] = [reads, reads_in_thread, reads_locally]
    middleware = (Propagate(tenant, str),)
    async with run(workflows=[carries, below], activities=activities, middleware=middleware) as app:
        before = tenant.set("acme")
        handle = await app.start(carries)
        tenant.set("other")
        await after_turns(handle, 1)
        expect(await handle.query(who), "other", "a query's own context")
        expect(await handle.update(rename, "x"), "x by other", "an update's own context")
        tenant.set("third")
        await handle.signal(speak, None)
        tenant.reset(before)
        wanted = ["acme", "acme", "acme", "acme", "acme acme", "third"]
        expect(await handle.result(), wanted, "what was seen")


class Traces(Middleware):
    """Notes what passes; counts what leaves the client."""

    def __init__(self, name: str, seen: list[str]) -> None:
        self.name = name
        self.seen = seen

    def outbound(self, call: Outbound) -> None:
        call.headers[f"from-{self.name}"] = call.kind.encode()

    async def workflow(self, call: Inbound, proceed: Callable[[], Awaitable[Any]]) -> Any:
        return [self.name, await proceed()]

    async def activity(self, call: Inbound, proceed: Callable[[], Awaitable[Any]]) -> Any:
        self.seen.append(f"{self.name} {call.kind} {call.headers[f'from-{self.name}'].decode()}")
        return await proceed() + 1

    def message(self, call: Inbound, proceed: Callable[[], Any]) -> Any:
        return f"{self.name}({proceed()})"


@activity
async def one() -> int:
    return 1


@workflow
async def is_traced() -> Any:
    @who.handler
    def _() -> str:
        return "me"

    return await one()


@case
async def middleware_stands_around_each_side(run: Runner) -> None:
    seen: list[str] = []
    middleware = (Traces("outer", seen), Traces("inner", seen))
    async with run(workflows=[is_traced], activities=[one], middleware=middleware) as app:
        handle = await app.start(is_traced)
        expect(await handle.result(), ["outer", ["inner", 3]], "result through both")
        expect(await handle.query(who), "outer(inner(me))", "query through both")
        expect(seen, ["outer activity activity", "inner activity activity"], "attempts")


@workflow.dynamic
async def any_workflow(arguments: list[Any]) -> Any:
    if arguments == ["again"]:
        any_workflow.continue_as_new("done")
    return [info().workflow, info().version, arguments]


@workflow
async def known() -> str:
    return "known"


@case
async def a_catch_all_runs_workflows_without_another(run: Runner) -> None:
    async with run(workflows=[any_workflow, known], activities=[]) as app:
        named = workflow.named("never-written", version=3)
        expect(await app.run(named, 1, "x"), ["never-written", 3, [1, "x"]], "by name")
        expect(await app.run(known), "known", "what has a name of its own")
        expect(await app.run(named, "again"), ["never-written", 3, ["done"]], "continued")
        handle = await app.client.start_by_name("other", b"[5]")
        expect(await handle.result(), ["other", 1, [5]], "started by name")
        expect_true(handle.id, "an id")
