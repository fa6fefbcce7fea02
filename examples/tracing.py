"""Traces: a workflow's spans, with its own ones, its activities, its timers and its sub-workflow.

Needs ``pip install 'perdure[otel]'``. Here a tree is printed; in earnest, give the provider an
exporter: ``provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))``.

Prints:
    shop
      start trip
        workflow trip
          book
            activity reserve (error)
            activity reserve
            activity pay
          timer departure
          workflow pack
            side effect
            activity reserve
      result
"""

from __future__ import annotations

from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from perdure import Retry, activity, activity_info, side_effect, span, timer, workflow
from perdure_runtime import local
from perdure_runtime.otel import DurableIds, OpenTelemetry
from runner import run


@activity(retry=Retry(attempts=3, interval=0.01))
async def reserve(what: str) -> str:
    if what == "hotel" and activity_info().attempt == 1:
        raise ConnectionError("no answer")
    return f"{what} reserved"


@activity
async def pay(amount: int) -> None:
    trace.get_current_span().set_attribute("amount", amount)


@workflow
async def pack() -> str:
    size = side_effect(lambda: 20, int)
    return await reserve(f"suitcase of {size} kg")


@workflow
async def trip() -> str:
    with span("book", {"travellers": 2}):
        await reserve("hotel")
        await pay(200)
    await timer(0.05, "departure")
    return await pack()


async def main(url: str) -> None:
    exporter = InMemorySpanExporter()
    provider = TracerProvider(id_generator=DurableIds())
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    telemetry = OpenTelemetry(tracer_provider=provider)
    async with local(url, telemetry=telemetry) as app:
        with provider.get_tracer("shop").start_as_current_span("shop"):
            await app.run(trip)
    show(list(exporter.get_finished_spans()))


def show(spans: list[ReadableSpan], parent: int | None = None, depth: int = 0) -> None:
    """Prints the spans below one, in the order in which they began."""
    below = [one for one in spans if (one.parent.span_id if one.parent else None) == parent]
    for one in sorted(below, key=lambda one: (one.start_time or 0, one.end_time or 0)):
        mark = "" if one.status.is_ok else " (error)"
        print("  " * depth + one.name + mark)
        if one.context is not None:
            show(spans, one.context.span_id, depth + 1)


if __name__ == "__main__":
    run(main)
