"""Health of a worker over HTTP: whether it lives, is ready, and how much waits for it.

A thread of its own answers, so that a blocked event loop shows as what it is.

PYTEST_DONT_REWRITE
"""

from __future__ import annotations

import asyncio
import json
import logging
import threading
from collections.abc import Awaitable, Callable, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final, Protocol, TypeVar

from perdure import BackendError, InvalidOptionError
from perdure_backends import Backend, Liveness, Overseeing

from ._telemetry import WorkerState

T = TypeVar("T")

_log: Final = logging.getLogger("perdure.runtime")

_PATIENCE: Final = 5.0
"""Seconds in which the worker's event loop has to react."""

_MOST: Final = 10_000


class Watched(WorkerState, Protocol):
    """What is asked of the worker."""

    @property
    def stopping(self) -> bool:
        """Whether it takes no more work."""
        ...


Answer = tuple[int, dict[str, Any]]


def parse_address(address: str | int) -> tuple[str, int]:
    """Host and port of ``8080``, ``":8080"``, ``"0.0.0.0:8080"`` or ``"[::1]:8080"``.

    Raises:
        InvalidOptionError: it is none of these.
    """
    host, _, port = str(address).rpartition(":")
    if not port.isdecimal() or int(port) > 65535:
        raise InvalidOptionError(f"an address is a port, or host:port, not {address!r}")
    return host.strip("[]") or "127.0.0.1", int(port)


class HealthServer:
    """Answers under ``/live``, ``/ready``, ``/backlog`` and ``/metrics``.

    Args:
        address: port, or host and port; on loopback unless it says otherwise. Port 0 takes a free
            one.
    """

    def __init__(self, worker: Watched, address: str | int) -> None:
        self._worker = worker
        self._address = parse_address(address)
        self._loop = asyncio.get_running_loop()
        self._server: ThreadingHTTPServer | None = None

    def start(self) -> None:
        """Begins to answer.

        Raises:
            InvalidOptionError: the address is in use, or not this machine's.
        """
        try:
            self._server = server = ThreadingHTTPServer(self._address, self._handler())
        except OSError as error:
            host, port = self._address
            raise InvalidOptionError(f"health on {host}:{port}: {error}") from error
        server.daemon_threads = True
        threading.Thread(
            target=server.serve_forever, args=(0.05,), name="perdure health", daemon=True
        ).start()
        _log.info("health of the worker at %s/ready", self.url)

    @property
    def url(self) -> str:
        """Where it answers."""
        host, port = self._address if self._server is None else self._server.server_address[:2]
        name = host if isinstance(host, str) else host.decode()
        return f"http://{f'[{name}]' if ':' in name else name}:{port}"

    def stop(self) -> None:
        """Ends it."""
        server, self._server = self._server, None
        if server is not None:
            threading.Thread(target=_end, args=(server,), daemon=True).start()

    # --- answers, in threads of their own

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        answers: dict[str, Callable[[], Answer]] = {
            "/live": self.live,
            "/ready": self.ready,
            "/backlog": self.backlog,
        }

        class Handler(BaseHTTPRequestHandler):
            server_version = "perdure"
            sys_version = ""
            timeout = 10

            def do_GET(self) -> None:
                path = self.path.partition("?")[0]
                if path == "/metrics":
                    self._send(*_exposition())
                elif path in answers:
                    status, data = answers[path]()
                    self._send(status, "application/json", json.dumps(data).encode() + b"\n")
                else:
                    known = b"/live /ready /backlog /metrics\n"
                    self._send(200 if path == "/" else 404, "text/plain", known)

            do_HEAD = do_GET  # noqa: N815

            def _send(self, status: int, kind: str, body: bytes) -> None:
                self.send_response(status)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(body)))
                self.send_header("Cache-Control", "no-store")
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(body)

            def log_message(self, format: str, *args: Any) -> None:
                _log.debug("health: " + format, *args)

        return Handler

    def _on_loop(self, ask: Callable[[], Awaitable[T]]) -> T:
        async def run() -> T:
            return await ask()

        future = asyncio.run_coroutine_threadsafe(run(), self._loop)
        try:
            return future.result(_PATIENCE)
        except BaseException:
            future.cancel()
            raise

    def live(self) -> Answer:
        """Whether the process does anything at all; if not, it is to be ended."""
        try:
            self._on_loop(_nothing)
        except (TimeoutError, RuntimeError):
            return 503, {"live": False, "reason": "the event loop is blocked, or has ended"}
        return 200, {"live": True}

    def ready(self) -> Answer:
        """Whether it takes work."""
        worker = self._worker
        if worker.stopping:
            return 503, {"ready": False, "reason": "the worker is draining"}
        if worker.session_id is None:
            return 503, {"ready": False, "reason": "the worker has no session"}
        try:
            self._on_loop(worker.backend.now)
        except BackendError as error:
            return 503, {"ready": False, "reason": f"the store does not answer: {error}"}
        except (TimeoutError, RuntimeError):
            return 503, {"ready": False, "reason": "neither loop nor store react"}
        return 200, {"ready": True, "session": worker.session_id, "build": worker.build}

    def backlog(self) -> Answer:
        """What waits on the worker's queues, for each slot of all workers that serve them."""
        try:
            return 200, self._on_loop(lambda: backlog(self._worker.backend, self._worker.queues))
        except BackendError as error:
            return 503, {"reason": f"the store does not answer: {error}"}
        except (TimeoutError, RuntimeError):
            return 503, {"reason": "neither loop nor store react"}


def _end(server: ThreadingHTTPServer) -> None:
    server.shutdown()
    server.server_close()


async def _nothing() -> None:
    pass


async def backlog(backend: Backend, queues: Sequence[str]) -> dict[str, Any]:
    """What waits on some queues, and the slots of the workers that serve them.

    ``backlog_per_slot`` is the greater one of turns and activities that wait, by the slots for
    them: above 1, more workers would have something to do at once.
    """
    # A tester's worker serves what contains every name.
    served = tuple(queues)
    waiting = {"turns": 0, "activities": 0}
    oldest = 0.0
    if isinstance(backend, Overseeing):
        overview = await backend.overview(_MOST)
        for one in overview.queues:
            if served and one.queue not in served:
                continue
            waiting["turns"] += one.turns
            waiting["activities"] += one.activities
            for since in (one.turns_since, one.activities_since):
                if since is not None:
                    oldest = max(oldest, (overview.time - since) / 1e6)
    slots = {"turns": 0, "activities": 0}
    workers = 0
    if isinstance(backend, Liveness):
        for session in await backend.list_sessions():
            start = session.start
            if not served or set(start.queues) & set(served):
                workers += 1
                slots["turns"] += start.max_turns
                slots["activities"] += start.max_activities
    loads = [waiting[kind] / slots[kind] for kind in waiting if slots[kind]]
    return {
        "queues": list(served),
        "workers": workers,
        "waiting": waiting,
        "slots": slots,
        "oldest_seconds": oldest,
        "backlog_per_slot": round(max(loads, default=float(sum(waiting.values()))), 4),
    }


def _exposition() -> tuple[int, str, bytes]:
    try:
        from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, generate_latest
    except ImportError:
        return 404, "text/plain", b"metrics need: pip install 'perdure[prometheus]'\n"
    return 200, CONTENT_TYPE_LATEST, generate_latest(REGISTRY)
