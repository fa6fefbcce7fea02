"""Server-sent events: pages are told when what they show has changed, and fetch it anew.

PYTEST_DONT_REWRITE
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator
from typing import Final

from perdure import PerdureError
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from .._desk import Desk
from ._api import error_response
from ._errors import RefusedError
from ._requests import PAGE, desk_of, filter_of, number, user_of

_LOOK: Final = 1.0
_SLOW_LOOK: Final = 3.0
_PING: Final = 15.0
_STREAMS: Final = 200
_LONGEST: Final = 3600.0
_TROUBLE: Final = "trouble"


class Streams:
    """How many are open."""

    open = 0


async def _events(request: Request) -> Response:
    try:
        user = user_of(request)
        if Streams.open >= _STREAMS:
            raise RefusedError(503, "too many pages are open; this one does not update by itself")
        desk = await desk_of(request, user)
    except (PerdureError, RefusedError) as error:
        return error_response(error)
    return StreamingResponse(
        _stream(request, desk),
        media_type="text/event-stream",
        headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"},
    )


async def _stream(request: Request, desk: Desk) -> AsyncIterator[str]:
    Streams.open += 1
    loop = asyncio.get_running_loop()
    pause = _LOOK if request.query_params.get("page") == "instance" else _SLOW_LOOK
    began = spoke = loop.time()
    seen: str | None = None
    try:
        yield "retry: 3000\n\n"
        while loop.time() - began < _LONGEST:
            try:
                mark = await _mark(request, desk)
            except (PerdureError, RefusedError, TimeoutError):
                mark = _TROUBLE
            if mark != seen and (seen is not None or mark == _TROUBLE):
                yield f"event: {'trouble' if mark == _TROUBLE else 'change'}\ndata: {mark}\n\n"
                spoke = loop.time()
            elif loop.time() - spoke > _PING:
                yield ": still here\n\n"
                spoke = loop.time()
            seen = mark
            await asyncio.sleep(pause)
    finally:
        Streams.open -= 1


async def _mark(request: Request, desk: Desk) -> str:
    """Changes with what the page shows."""
    query = request.query_params
    page = query.get("page", "")
    if page == "instance":
        text = await desk.mark(query.get("id", ""), query.get("run") or None)
    elif page == "instances":
        chosen = filter_of(query, query.getlist("state"))
        limit = max(1, number(query.get("limit"), PAGE, 500))
        data = await desk.instances(chosen, query.get("after") or None, limit, payloads=False)
        text = json.dumps([(one["run_id"], one["state"]) for one in data["instances"]])
    elif page == "overview":
        data = await desk.overview()
        data.pop("time")
        for queue in data["queues"]:
            queue.pop("turns_age")
            queue.pop("activities_age")
        text = json.dumps([data, [one["id"] for one in await desk.workers()]])
    else:
        text = json.dumps((await desk.audit(None, 1))["entries"])
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def routes() -> list[Route]:
    """The routes."""
    return [Route("/events", _events)]
