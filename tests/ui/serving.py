"""A page to be asked: within the test's loop, or served to a browser by a thread of its own."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Generator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import httpx
import uvicorn
from perdure_backends import Backend
from perdure_backends.memory import MemoryBackend
from perdure_runtime import Client, Worker, connect
from perdure_runtime.ui import Access, User, create_app
from shop import ACTIVITIES, WORKFLOWS

OPERATOR = "operator-token-0123456789"
VIEWER = "viewer-token-0123456789"
BLIND = "blind-token-0123456789"

BASE = "http://127.0.0.1"


def access(**more: Any) -> Access:
    """An operator, a viewer, and a viewer who does not see payloads."""
    return Access(
        tokens={
            OPERATOR: User("olga", "operator"),
            VIEWER: User("vera", "viewer"),
            BLIND: User("bert", "viewer", payloads=False),
        },
        **more,
    )


def asking(app: Any, token: str | None = OPERATOR, **more: Any) -> httpx.AsyncClient:
    """A client of an app, as somebody."""
    headers = {"Authorization": f"Bearer {token}"} if token is not None else {}
    return httpx.AsyncClient(
        transport=httpx.ASGITransport(app, raise_app_exceptions=False, **more),
        base_url=BASE,
        headers=headers,
    )


@asynccontextmanager
async def alive(app: Any) -> AsyncGenerator[None]:
    """Begins and ends an app, as a server does."""
    asked: asyncio.Queue[dict[str, str]] = asyncio.Queue()
    said: asyncio.Queue[dict[str, str]] = asyncio.Queue()
    running = asyncio.create_task(app({"type": "lifespan"}, asked.get, said.put))
    for moment in ("startup", "shutdown"):
        await asked.put({"type": f"lifespan.{moment}"})
        answer = await said.get()
        if answer["type"] != f"lifespan.{moment}.complete":
            raise RuntimeError(answer)
        if moment == "startup":
            yield
    await running


class Shop:
    """A store with a worker, and its page."""

    def __init__(self, backend: Backend, app: Any) -> None:
        self.backend = backend
        self.app = app
        self.client = Client(backend)

    def as_(self, token: str | None) -> httpx.AsyncClient:
        """A client of the page, as somebody."""
        return asking(self.app, token)


@asynccontextmanager
async def shop(
    backend: Backend | None = None, *, worker: bool = True, **options: Any
) -> AsyncGenerator[Shop]:
    """A shop on a store; in memory by default."""
    backend = backend if backend is not None else MemoryBackend()
    app = create_app(backend, access=options.pop("access", None) or access(), **options)
    if not worker:
        yield Shop(backend, app)
        return
    async with Worker(backend, workflows=WORKFLOWS, activities=ACTIVITIES, drain_timeout=0.1):
        yield Shop(backend, app)


async def until(check: Callable[[], Awaitable[bool]]) -> None:
    """Waits until something is so, for ten seconds at most."""
    async with asyncio.timeout(10):
        while not await check():  # noqa: ASYNC110  (seen from outside, there is nothing to wait on)
            await asyncio.sleep(0.005)


class Served:
    """A page in a thread of its own, with the loop on which its store lives."""

    def __init__(self) -> None:
        self.url = ""
        self.loop: asyncio.AbstractEventLoop | None = None
        self.backend: Backend | None = None
        self._done: asyncio.Event | None = None

    def run(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        """Does something on the loop of the store."""
        loop = self.loop
        if loop is None:
            raise RuntimeError("not served")
        return asyncio.run_coroutine_threadsafe(coroutine, loop).result(30)

    async def main(self, store: str, ready: threading.Event, options: dict[str, Any]) -> None:
        """Serves until :meth:`stop`."""
        self.loop = asyncio.get_running_loop()
        self._done = asyncio.Event()
        work = options.pop("worker", True)
        given = options.pop("access", None) or access()
        async with connect(store) as backend:
            self.backend = backend
            app = create_app(backend, access=given, **options)
            with socket.create_server(("127.0.0.1", 0)) as listener:
                self.url = f"http://127.0.0.1:{listener.getsockname()[1]}"
                config = uvicorn.Config(app, log_level="error", timeout_graceful_shutdown=1)
                server = uvicorn.Server(config)
                serving = asyncio.create_task(server.serve(sockets=[listener]))
                if work:
                    async with Worker(
                        backend, workflows=WORKFLOWS, activities=ACTIVITIES, drain_timeout=0.1
                    ):
                        ready.set()
                        await self._done.wait()
                else:
                    ready.set()
                    await self._done.wait()
                server.should_exit = True
                await serving

    def stop(self) -> None:
        """Ends it."""
        if self.loop is not None and self._done is not None:
            self.loop.call_soon_threadsafe(self._done.set)


@contextmanager
def served(store: str, **options: Any) -> Generator[Served]:
    """A page for a browser."""
    page, ready = Served(), threading.Event()
    failed: list[BaseException] = []

    def run() -> None:
        try:
            asyncio.run(page.main(store, ready, options))
        except BaseException as error:
            failed.append(error)
        finally:
            ready.set()

    thread = threading.Thread(target=run)
    thread.start()
    ready.wait(30)
    if failed:
        raise failed[0]
    try:
        yield page
    finally:
        page.stop()
        thread.join(30)
        if failed:
            raise failed[0]
