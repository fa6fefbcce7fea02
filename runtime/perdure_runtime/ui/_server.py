"""The page on a socket, until somebody ends it.

PYTEST_DONT_REWRITE
"""

from __future__ import annotations

import contextlib
import logging
import socket
from collections.abc import Generator

import uvicorn
from starlette.types import ASGIApp

from .._signals import on_signals


class _Server(uvicorn.Server):
    """Leaves signals to us: uvicorn raises them again behind its end, in the midst of ours."""

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None]:
        """Nothing."""
        yield

    def stop(self) -> None:
        """Ends; asked twice, without waiting for requests that are open."""
        self.force_exit = self.should_exit
        self.should_exit = True


async def serve(app: ASGIApp, listener: socket.socket, *, root_path: str) -> None:
    """Serves until SIGINT or SIGTERM."""
    config = uvicorn.Config(
        app,
        log_level="warning",
        root_path=root_path,
        timeout_graceful_shutdown=1,
        proxy_headers=False,
        server_header=False,
    )
    logging.getLogger("uvicorn.error").addFilter(_quiet)
    server = _Server(config)
    with on_signals(server.stop):
        await server.serve(sockets=[listener])


def _quiet(record: logging.LogRecord) -> bool:
    """Open pages that are cut off at the end are no errors."""
    return "timeout graceful shutdown" not in record.getMessage()
