"""Spans: one tree for each run, whoever replays it, and nothing twice."""

from __future__ import annotations

import asyncio
import logging
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest
from opentelemetry import trace
from opentelemetry.trace import SpanKind, StatusCode
from perdure import (
    ApplicationError,
    OutsideWorkflowError,
    Retry,
    Signal,
    Update,
    activity,
    activity_info,
    complete_later,
    info,
    logger,
    side_effect,
    sleep,
    span,
    timer,
    workflow,
)
from perdure_backends.memory import MemoryBackend
from perdure_runtime import Client, Worker, connect
from traced import Traced, until

go: Signal[int] = Signal("go", int)
price: Update[int, int] = Update("price", int, int)


@activity(retry=Retry(attempts=3, interval=0.01))
async def flaky() -> int:
    if activity_info().attempt == 1:
        raise ConnectionError("no answer")
    return activity_info().attempt


@activity
async def greet(name: str) -> str:
    logger.info("greeting")
    return f"hello {name}"


@activity
def in_thread() -> str:
    context = trace.get_current_span().get_span_context()
    return f"{context.span_id:016x}"


@activity(local=True)
async def nearby() -> int:
    return 1


@workflow
async def child(name: str) -> str:
    return await greet(name)


@workflow
async def parent() -> str:
    first = await flaky()
    with span("wait", {"attempts": first}) as waiting:
        await timer(0.02, "pause")
        waiting.set("done", True)
    await go.receive()
    with span("outer"), span("inner"):
        return await child("bo")


EXPECTED = [
    [
        "start parent",
        [
            "workflow parent",
            "activity flaky",
            "activity flaky",
            ["wait", "timer pause"],
            ["outer", ["inner", ["workflow child", "activity greet"]]],
        ],
    ],
    ["signal go", "receive go"],
    "result",
]


@pytest.mark.parametrize("cache_size", [100, 0])
@pytest.mark.parametrize("crash", [False, True])
def test_the_tree_of_a_run(cache_size: int, crash: bool) -> None:
    traced = Traced()

    async def main() -> None:
        backend = MemoryBackend()
        options = {
            "workflows": [parent, child],
            "activities": [flaky, greet],
            "cache_size": cache_size,
        }
        async with traced.app(backend, **options) as app:
            handle = await app.start(parent.options(id="p"))

            async def waits() -> bool:
                return (await handle.describe()).turn >= 3 and not (await handle.pending()).timers

            await until(waits)
            if crash:
                await app.worker.kill()
                backend.lose(app.worker.session_id or "")
            else:
                await handle.signal(go, 1)
                assert await handle.result() == "hello bo"
        if crash:
            async with traced.app(backend, **options) as app:
                handle = app.client.handle("p", parent)
                await handle.signal(go, 1)
                assert await handle.result() == "hello bo"

    asyncio.run(main())
    assert traced.tree() == EXPECTED
    first, second = [one for one in traced.spans if one.name == "activity flaky"]
    assert first.status.status_code is StatusCode.ERROR
    assert second.status.status_code is StatusCode.UNSET
    attributes = dict(traced.named("wait").attributes or {})
    assert (attributes["attempts"], attributes["done"]) == (2, True)
    whole, waited = traced.named("workflow parent"), traced.named("timer pause")
    assert (waited.end_time or 0) - (waited.start_time or 0) >= 20_000_000
    assert (whole.start_time or 0) <= (waited.start_time or 0)
    assert (whole.end_time or 0) >= (waited.end_time or 0)
    assert (whole.attributes or {})["perdure.outcome"] == "completed"
    received = traced.named("receive go")
    assert [link.context.span_id for link in received.links] == [
        whole.context.span_id if whole.context else 0
    ]


def test_a_workflow_lies_below_the_call_that_started_it() -> None:
    traced = Traced()

    async def main() -> None:
        async with traced.app(MemoryBackend(), workflows=[child], activities=[greet]) as app:
            with traced.provider.get_tracer("mine").start_as_current_span("request"):
                await app.run(child, "bo")

    asyncio.run(main())
    assert traced.tree() == [
        ["request", ["start child", ["workflow child", "activity greet"]], "result"]
    ]
    assert traced.named("start child").kind is SpanKind.PRODUCER
    assert len({one.context.trace_id for one in traced.spans if one.context}) == 1


@workflow
async def timers() -> None:
    await sleep(0.01)
    with span("mine"):
        await timer(0.01, "named")
    try:
        async with asyncio.timeout(60):  # armed and taken back: nothing to show
            await sleep(0.001)
    finally:
        await sleep(0.001)


def test_timers_lie_where_they_were_started() -> None:
    traced = Traced()

    async def main() -> None:
        async with traced.app(MemoryBackend(), workflows=[timers]) as app:
            await app.run(timers)

    asyncio.run(main())
    assert traced.tree() == [
        ["start timers", ["workflow timers", "timer", ["mine", "timer named"], "timer", "timer"]],
        "result",
    ]


@workflow
async def together() -> list[str]:
    async def one(name: str) -> str:
        with span(name):
            return await greet(name)

    return list(await asyncio.gather(one("a"), one("b")))


def test_spans_of_tasks_do_not_mix() -> None:
    traced = Traced()

    async def main() -> None:
        async with traced.app(MemoryBackend(), workflows=[together], activities=[greet]) as app:
            await app.run(together)

    asyncio.run(main())
    ((_, (_, *below)), _) = traced.tree()
    assert sorted(below) == [["a", "activity greet"], ["b", "activity greet"]]


@workflow
async def counts(left: int) -> str:
    with span("step"):
        await nearby()
    if left:
        counts.continue_as_new(left - 1)
    return "done"


def test_continued_runs_are_linked_in_one_trace() -> None:
    traced = Traced()

    async def main() -> None:
        async with traced.app(MemoryBackend(), workflows=[counts], activities=[nearby]) as app:
            await app.run(counts, 2)

    asyncio.run(main())
    run = ["workflow counts", ["step", "activity nearby"]]
    assert traced.tree() == [["start counts", run, run, run], "result"]
    first, second, third = [one for one in traced.spans if one.name == "workflow counts"]
    assert first.links == ()
    for before, after in ((first, second), (second, third)):
        assert before.context is not None
        (link,) = after.links
        assert link.context.span_id == before.context.span_id
        assert link.context.trace_id == before.context.trace_id


@workflow
async def priced() -> int:
    base = side_effect(lambda: 20, int)

    @price.validator
    def _(value: int) -> None:
        if value < 0:
            raise ApplicationError("too low")

    @price.handler
    async def _(value: int) -> int:
        await greet("shop")
        if value == 13:
            raise ApplicationError("unlucky")
        return base + value

    return await go.receive()


def test_updates_and_side_effects() -> None:
    traced = Traced()

    async def main() -> None:
        async with traced.app(MemoryBackend(), workflows=[priced], activities=[greet]) as app:
            handle = await app.start(priced)
            assert await handle.update(price, 2) == 22
            for wrong in (-1, 13):
                with pytest.raises(Exception, match=r"low|unlucky"):
                    await handle.update(price, wrong)
            await handle.signal(go, 1)
            await handle.result()

    asyncio.run(main())
    tree = traced.tree()
    assert tree[0][:1] == ["start priced"]
    assert tree[0][1][1] == "side effect"
    # A refused one leaves nothing but the call.
    assert tree[1:] == [
        ["update price", "handle update price"],
        "update price",
        ["update price", "handle update price"],
        ["signal go", "receive go"],
        "result",
    ]
    good, bad = [one for one in traced.spans if one.name == "handle update price"]
    assert (good.status.status_code, bad.status.status_code) == (
        StatusCode.UNSET,
        StatusCode.ERROR,
    )
    assert "unlucky" in (bad.status.description or "")


@workflow
async def fails() -> None:
    with span("deep"):
        raise ApplicationError("broken")


@workflow
async def sleeps() -> None:
    with span("long"):
        await sleep(600)


def test_failures_and_cancellation() -> None:
    traced = Traced()

    async def main() -> None:
        async with traced.app(MemoryBackend(), workflows=[fails, sleeps]) as app:
            with pytest.raises(Exception, match="broken"):
                await app.run(fails)
            handle = await app.start(sleeps)

            async def sleeping() -> bool:
                return bool((await handle.pending()).timers)

            await until(sleeping)
            await handle.cancel("enough")
            with pytest.raises(Exception, match="cancel"):
                await handle.result()

    asyncio.run(main())
    assert traced.named("deep").status.status_code is StatusCode.ERROR
    failed = traced.named("workflow fails")
    assert failed.status.description == "ApplicationError: broken"
    assert (traced.named("long").attributes or {})["perdure.cancelled"] is True
    cancelled = traced.named("workflow sleeps")
    assert (cancelled.attributes or {})["perdure.outcome"] == "cancelled"
    assert cancelled.status.status_code is StatusCode.UNSET
    assert "cancel" in [one.name for one in traced.spans]


@workflow
async def asks_thread() -> str:
    return await in_thread()


def test_an_attempt_is_current_in_its_thread() -> None:
    traced = Traced()
    seen: list[str] = []

    async def main() -> None:
        async with traced.app(
            MemoryBackend(), workflows=[asks_thread], activities=[in_thread]
        ) as app:
            seen.append(await app.run(asks_thread))

    asyncio.run(main())
    context = traced.named("activity in_thread").context
    assert context is not None
    assert seen == [f"{context.span_id:016x}"]


@activity(start_to_close=timedelta(seconds=30))
async def by_hand() -> int:
    complete_later()


@workflow
async def waits_for_hand() -> int:
    return await by_hand()


def test_what_completes_later_is_no_error() -> None:
    traced = Traced()

    async def main() -> None:
        async with traced.app(
            MemoryBackend(), workflows=[waits_for_hand], activities=[by_hand]
        ) as app:
            await app.start(waits_for_hand)

            async def attempted() -> bool:
                return bool(len(traced.spans) > 1)

            await until(attempted)

    asyncio.run(main())
    attempt = traced.named("activity by_hand")
    assert attempt.status.status_code is StatusCode.UNSET
    assert (attempt.attributes or {})["perdure.completes_later"] is True


def test_a_refused_turn_emits_nothing() -> None:
    traced = Traced()

    async def main() -> None:
        backend = MemoryBackend()
        commit = backend.commit
        refused: list[str] = []

        async def refuse_first(commits: object) -> object:
            (first, *_) = commits  # type: ignore[misc]
            if first.turn == 2 and not refused:  # type: ignore[has-type]
                refused.append(first.run_id)  # type: ignore[has-type]
                backend.revoke(first.run_id)  # type: ignore[has-type]
            return await commit(commits)  # type: ignore[arg-type]

        backend.commit = refuse_first  # type: ignore[method-assign, assignment]
        async with traced.app(backend, workflows=[timers]) as app:
            await app.run(timers)
        assert refused

    asyncio.run(main())
    assert [one.name for one in traced.spans].count("timer") == 3
    assert traced.tree()


def test_without_our_ids_all_lies_below_what_started_it() -> None:
    traced = Traced(plain=True)

    async def main() -> None:
        options = {"workflows": [parent, child], "activities": [flaky, greet]}
        async with traced.app(MemoryBackend(), **options) as app:
            handle = await app.start(parent)
            await handle.signal(go, 1)
            await handle.result()

    asyncio.run(main())
    ids = {one.context.span_id for one in traced.spans if one.context}
    assert [one.name for one in traced.spans if one.parent and one.parent.span_id not in ids] == []
    ((name, *below), *_) = traced.tree()
    assert name == "start parent"
    every = "workflow parent, activity flaky, activity flaky, wait, timer pause, outer, inner"
    assert sorted(below) == sorted([*every.split(", "), "workflow child", "activity greet"])


def test_started_by_somebody_who_does_not_trace(tmp_path: Path) -> None:
    traced = Traced()

    async def main() -> None:
        async with connect(f"sqlite:///{tmp_path}/x.db") as backend:
            options = {"workflows": [child], "activities": [greet]}
            async with Worker(backend, telemetry=traced.telemetry, **options):  # type: ignore[arg-type]
                client = Client(backend)
                assert await client.run(child, "bo") == "hello bo"
                assert await client.run(child, "bo") == "hello bo"

    asyncio.run(main())
    run = ["workflow child", "activity greet"]
    assert traced.tree() == [run, run]
    assert len({one.context.trace_id for one in traced.spans if one.context}) == 2


@workflow
async def speaks() -> None:
    logger.info("outside")
    with span("said"):
        logger.info("inside %s", info().id)
        await greet("bo")


def test_log_records_name_their_span(caplog: pytest.LogCaptureFixture) -> None:
    traced = Traced()
    caplog.set_level(logging.INFO)

    async def main() -> None:
        async with traced.app(MemoryBackend(), workflows=[speaks], activities=[greet]) as app:
            await app.run(speaks)

    asyncio.run(main())
    found = {
        record.getMessage().split()[0]: (
            getattr(record, "trace_id", None),
            getattr(record, "span_id", None),
        )
        for record in caplog.records
    }
    for text, name in (
        ("outside", "workflow speaks"),
        ("inside", "said"),
        ("greeting", "activity greet"),
    ):
        context = traced.named(name).context
        assert context is not None
        assert found[text] == (f"{context.trace_id:032x}", f"{context.span_id:016x}"), text


def test_spans_are_for_workflows() -> None:
    with pytest.raises(OutsideWorkflowError, match=r"span\(\)"), span("x"):
        pass


@workflow
async def untraced() -> str:
    with span("nobody looks", {"x": 1}) as one:
        one.set("y", 2)
        return await greet("bo")


def test_spans_cost_nothing_where_nobody_traces() -> None:
    async def main() -> None:
        backend = MemoryBackend()
        async with Worker(backend, workflows=[untraced], activities=[greet]):
            handle = await Client(backend).start(untraced)
            assert await handle.result() == "hello bo"
            async for turn in handle.history():
                for event in turn.events:
                    assert not getattr(event, "headers", None)

    asyncio.run(main())


WITHOUT_SDK = """
import asyncio, sys

class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.startswith("opentelemetry.sdk"):
            raise ModuleNotFoundError(name)

sys.meta_path.insert(0, Refuse())
from opentelemetry import trace
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags
from perdure import activity, span, workflow
from perdure_runtime import local
from perdure_runtime.otel import OpenTelemetry

@activity
async def where() -> str:
    return f"{trace.get_current_span().get_span_context().span_id:x}"

@workflow
async def flow() -> str:
    with span("x"):
        return await where()

async def main() -> None:
    here = NonRecordingSpan(SpanContext(1, 0xabc, False, TraceFlags(1)))
    async with local(telemetry=OpenTelemetry()) as app:
        with trace.use_span(here):
            print(await app.run(flow))

asyncio.run(main())
"""


def test_the_api_alone_is_enough() -> None:
    """Nothing is recorded then; the activity sees the caller's span all the same."""
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_SDK], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stdout) == (0, "abc\n"), done.stderr
