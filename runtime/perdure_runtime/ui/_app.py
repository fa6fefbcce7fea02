"""The ASGI app: pages, API and static files under one roof.

PYTEST_DONT_REWRITE
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator, Iterable, Sequence
from pathlib import Path
from typing import Any, Final

from perdure import DataConverter, Workflow
from perdure_backends import Backend
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Receive, Scope, Send

from .._desk import Redact
from . import _acting, _api, _live, _login, _pages
from ._access import Access
from ._errors import RefusedError
from ._rendering import page, problem
from ._requests import Settings, Store
from ._security import Guarded

_STATIC: Final = Path(__file__).parent / "static"


class _Known:
    """Hands settings and store to every request."""

    def __init__(self, app: ASGIApp, settings: Settings, store: Store) -> None:
        self._app = app
        self._settings = settings
        self._store = store

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            scope["perdure.settings"] = self._settings
            scope["perdure.store"] = self._store
        await self._app(scope, receive, send)


def create_app(
    backend: Backend | str,
    *,
    access: Access,
    workflows: Iterable[Workflow[..., Any]] = (),
    converter: DataConverter | None = None,
    redact: Redact | None = None,
    read_only: bool = False,
    hosts: Sequence[str] = (),
) -> ASGIApp:
    """The page of a store, to be served, or mounted under any path of another ASGI app.

    Args:
        backend: an open store, or the URL of one, which is opened with the first request.
        access: who may use it.
        workflows: code by which it can say where an instance stands, when no worker does.
        converter: as the workers': its codecs decode payloads for those who may see them.
        redact: replaces the value of each payload before it is shown: ``redact(value, what)``,
            where ``what`` is ``input``, ``result``, ``signal_received.payload`` and the like.
        read_only: nobody may act.
        hosts: names under which it is reached, others are refused; any by default, for an app that
            mounts it.
    """
    settings = Settings(
        access=access,
        converter=converter if converter is not None else DataConverter(),
        redact=redact,
        workflows={(one.name, one.definition.version): one for one in workflows},
        read_only=read_only,
    )
    store = Store(backend)

    @contextlib.asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncGenerator[None]:
        yield
        await store.aclose()

    app = Starlette(
        routes=[
            *_pages.routes(),
            *_acting.routes(),
            *_login.routes(),
            *_live.routes(),
            Mount("/api", routes=_api.routes()),
            Mount("/static", StaticFiles(directory=_STATIC)),
            Route("/{path:path}", page(_nowhere)),
        ],
        exception_handlers={404: _not_found, 405: _not_found},
        lifespan=lifespan,
    )
    return Guarded(_Known(app, settings, store), hosts)


async def _nowhere(request: Request) -> Response:
    raise RefusedError(404, "there is no such page")


async def _not_found(request: Request, error: Exception) -> Response:
    status: int = getattr(error, "status_code", 404)
    message = "there is no such thing" if status == 404 else "not in this way (another method)"
    if "/api" in request.url.path:
        return JSONResponse({"error": {"type": "Refused", "message": message}}, status)
    return problem(request, RefusedError(status, message))
