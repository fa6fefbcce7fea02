"""A traced worker and client, and the tree of the spans that they emit."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from perdure_backends import Backend
from perdure_runtime import Client, Local, Worker
from perdure_runtime.otel import DurableIds, OpenTelemetry


async def until(check: Callable[[], Awaitable[bool]]) -> None:
    """Waits until something is so, for ten seconds at most."""
    async with asyncio.timeout(10):
        while not await check():  # noqa: ASYNC110  (seen from outside, there is nothing to wait on)
            await asyncio.sleep(0.002)


class Traced:
    """A provider with ids that replays know, unless ``plain``."""

    def __init__(self, *, plain: bool = False) -> None:
        self.exporter = InMemorySpanExporter()
        self.provider = TracerProvider(id_generator=None if plain else DurableIds())
        self.provider.add_span_processor(SimpleSpanProcessor(self.exporter))
        self.telemetry = OpenTelemetry(
            tracer_provider=self.provider, measures=False, look_every=None
        )

    @property
    def spans(self) -> Sequence[ReadableSpan]:
        """All that were emitted, in the order in which they began."""
        return sorted(
            self.exporter.get_finished_spans(),
            key=lambda one: (one.start_time or 0, -(one.end_time or 0)),
        )

    def named(self, name: str) -> ReadableSpan:
        """The only span of a name."""
        (found,) = [one for one in self.spans if one.name == name]
        return found

    def tree(self) -> list[Any]:
        """Names in the order in which spans began, each with those below it, as nested lists."""
        ids = [one.context.span_id for one in self.spans if one.context]
        assert len(ids) == len(set(ids)), "a span was emitted twice"

        def below(parent: int | None) -> list[Any]:
            found: list[Any] = []
            for one in self.spans:
                above = one.parent.span_id if one.parent is not None else None
                if (above if above in ids else None) == parent and one.context is not None:
                    more = below(one.context.span_id)
                    found.append([one.name, *more] if more else one.name)
            return found

        return below(None)

    @asynccontextmanager
    async def app(self, backend: Backend, **options: Any) -> AsyncGenerator[Local]:
        """Worker and client on a store."""
        async with Worker(backend, telemetry=self.telemetry, **options) as worker:
            yield Local(backend, worker, Client(backend, telemetry=self.telemetry))
