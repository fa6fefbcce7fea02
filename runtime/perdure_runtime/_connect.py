"""Opening stores, and worker and client in one.

PYTEST_DONT_REWRITE
"""

from __future__ import annotations

import sys
from collections.abc import AsyncGenerator, Iterable, Sequence
from contextlib import asynccontextmanager
from typing import Any, ParamSpec, TypeVar

from perdure import DataConverter, Middleware, Workflow
from perdure_backends import Backend, open_backend

from ._client import Client
from ._handle import Handle
from ._registry import definitions_in
from ._telemetry import Telemetry
from ._worker import Worker

P = ParamSpec("P")
R = TypeVar("R")


@asynccontextmanager
async def connect(url: str) -> AsyncGenerator[Backend]:
    """Opens the store behind a URL for the length of the block.

    Args:
        url: ``memory://``, ``sqlite:///path.db``, ``sqlite:///:memory:`` …

    Raises:
        InvalidOptionError: the URL is malformed or has unknown options.
        BackendError: the store can't be opened.
    """
    backend = open_backend(url)
    await backend.open()
    try:
        yield backend
    finally:
        await backend.aclose()


class Local:
    """Worker and client in one process; what :func:`local` gives."""

    def __init__(self, backend: Backend, worker: Worker, client: Client) -> None:
        self.backend = backend
        self.worker = worker
        self.client = client

    async def start(self, workflow: Workflow[P, R], *args: P.args, **kwargs: P.kwargs) -> Handle[R]:
        """Starts an instance; see :meth:`Client.start`."""
        return await self.client.start(workflow, *args, **kwargs)

    async def run(self, workflow: Workflow[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Starts an instance and waits for its result; see :meth:`Client.run`."""
        return await self.client.run(workflow, *args, **kwargs)


@asynccontextmanager
async def local(
    url: str = "memory://",
    *,
    workflows: Iterable[Workflow[..., Any]] | None = None,
    activities: Iterable[object] | None = None,
    converter: DataConverter | None = None,
    middleware: Sequence[Middleware] = (),
    telemetry: Telemetry | None = None,
    **options: Any,
) -> AsyncGenerator[Local]:
    """Store, worker and client together, for scripts and tests.

    ``async with local() as app: await app.run(checkout, order)``

    Args:
        url: the store; memory by default.
        workflows, activities: what the worker runs; by default all that the calling module holds.
        converter, middleware, telemetry: for worker and client.
        options: of the :class:`Worker`.
    """
    if workflows is None or activities is None:
        # Two frames up: contextlib's __aenter__ is resumed by the caller's `async with`.
        found = definitions_in(_calling_module())
        workflows = found.workflows if workflows is None else workflows
        activities = found.activities if activities is None else activities
    async with connect(url) as backend:
        worker = Worker(
            backend,
            workflows=workflows,
            activities=activities,
            converter=converter,
            middleware=middleware,
            telemetry=telemetry,
            **options,
        )
        async with worker:
            client = Client(
                backend, converter=converter, middleware=middleware, telemetry=telemetry
            )
            yield Local(backend, worker, client)


def _calling_module() -> Any:
    frame = sys._getframe(2)  # pyright: ignore[reportPrivateUsage]
    while frame.f_code.co_filename.endswith("contextlib.py") and frame.f_back is not None:
        frame = frame.f_back
    return sys.modules[frame.f_globals["__name__"]]
