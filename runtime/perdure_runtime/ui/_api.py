"""The JSON API: what pages show and do, for machines. Described by :mod:`._openapi`.

PYTEST_DONT_REWRITE
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Final, cast

import msgspec
from perdure import PerdureError
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from .._desk import ACTIONS
from ._errors import RefusedError, status_of
from ._openapi import document
from ._requests import (
    PAGE,
    desk_of,
    filter_of,
    number,
    operator_of,
    settings_of,
    user_of,
)

_LARGEST: Final = 4 * 1024 * 1024

Answer = Callable[[Request], Awaitable[Any]]


def _answered(answer: Answer) -> Callable[[Request], Awaitable[Response]]:
    """Answers with JSON, errors too."""

    async def endpoint(request: Request) -> Response:
        try:
            found = await answer(request)
        except (PerdureError, RefusedError, TimeoutError) as error:
            return error_response(error)
        return found if isinstance(found, Response) else JSONResponse(found)

    return endpoint


def error_response(error: BaseException) -> Response:
    """An error as JSON."""
    status = status_of(error)
    name = "Refused" if isinstance(error, RefusedError) else type(error).__name__
    headers = (
        {"Retry-After": str(error.wait)} if isinstance(error, RefusedError) and error.wait else {}
    )
    if status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    body = {"error": {"type": name, "message": str(error)}}
    return JSONResponse(body, status, headers)


async def _body(request: Request) -> dict[str, Any]:
    """The JSON object that was sent; a foreign page's request is refused.

    Raises:
        RefusedError: it is none, too large, or not from us.
    """
    user = operator_of(request)
    sent = request.headers.get("x-csrf-token", "")
    if not settings_of(request).access.check_form(request, user, sent):
        raise RefusedError(403, "send the token of the page's forms as X-CSRF-Token, or a bearer's")
    raw = b""
    async for chunk in request.stream():
        raw += chunk
        if len(raw) > _LARGEST:
            raise RefusedError(413, f"more than {_LARGEST:,} bytes")
    if not raw:
        return {}
    try:
        data = json.loads(raw)
    except ValueError as error:
        raise RefusedError(400, f"the body is not JSON: {error}") from None
    if not isinstance(data, dict):
        raise RefusedError(400, "the body is a JSON object")
    return cast("dict[str, Any]", data)


def _text(data: dict[str, Any], name: str, otherwise: str | None = "") -> str:
    value = data.get(name, otherwise)
    if not isinstance(value, str):
        raise RefusedError(400, f"{name!r} is needed, as text")
    return value


def _id(request: Request) -> str:
    found = request.query_params.get("id", "")
    if not found:
        raise RefusedError(400, "?id= names the instance")
    return found


def _run(request: Request) -> str | None:
    return request.query_params.get("run") or None


# --- looking


async def _overview(request: Request) -> Any:
    return await (await desk_of(request, user_of(request))).overview()


async def _instances(request: Request) -> Any:
    query = request.query_params
    desk = await desk_of(request, user_of(request))
    chosen = filter_of(query, query.getlist("state"))
    limit = max(1, number(query.get("limit"), PAGE, 500))
    return await desk.instances(chosen, query.get("after") or None, limit)


async def _instance(request: Request) -> Any:
    return await (await desk_of(request, user_of(request))).instance(_id(request), _run(request))


async def _history(request: Request) -> Any:
    desk = await desk_of(request, user_of(request))
    after = number(request.query_params.get("after"), 0, 10**9)
    limit = max(1, number(request.query_params.get("limit"), 200, 1000))
    return await desk.history(_id(request), _run(request), after, limit)


async def _timeline(request: Request) -> Any:
    desk = await desk_of(request, user_of(request))
    return {"rows": await desk.timeline(_id(request), _run(request))}


async def _tree(request: Request) -> Any:
    return await (await desk_of(request, user_of(request))).tree(_id(request))


async def _stacks(request: Request) -> Any:
    desk = await desk_of(request, user_of(request))
    return {"stacks": await desk.stacks(_id(request))}


async def _result(request: Request) -> Any:
    desk = await desk_of(request, user_of(request))
    timeout = number(request.query_params.get("timeout"), 10, 60)
    return await desk.result(_id(request), float(max(timeout, 1)))


async def _export(request: Request) -> Any:
    desk = await desk_of(request, user_of(request))
    return await export_response(desk.export(_id(request), _run(request)))


async def export_response(lines: AsyncIterator[str]) -> Response:
    """JSON lines as they are read; what is wrong with the first is an error of the answer."""
    first = await anext(lines)

    async def stream() -> AsyncIterator[str]:
        yield first
        async for text in lines:
            yield text

    return StreamingResponse(
        stream(),
        media_type="application/jsonl",
        headers={"Content-Disposition": 'attachment; filename="history.jsonl"'},
    )


async def _workers(request: Request) -> Any:
    return {"workers": await (await desk_of(request, user_of(request))).workers()}


async def _schemas(request: Request) -> Any:
    desk = await desk_of(request, user_of(request))
    return {"workflows": [msgspec.to_builtins(one) for one in await desk.schemas()]}


async def _audit(request: Request) -> Any:
    desk = await desk_of(request, user_of(request))
    limit = max(1, number(request.query_params.get("limit"), 100, 500))
    return await desk.audit(request.query_params.get("after") or None, limit)


async def _me(request: Request) -> Any:
    user = user_of(request)
    access = settings_of(request).access
    return {
        "name": user.name,
        "role": user.role,
        "payloads": user.payloads,
        "csrf_token": access.form_token(request, user),
    }


async def _openapi(request: Request) -> Any:
    user_of(request)
    root = request.scope.get("root_path", "")
    return document(f"{root}")


# --- acting


async def _start(request: Request) -> Any:
    data = await _body(request)
    arguments = data.get("arguments", [])
    if not isinstance(arguments, list):
        raise RefusedError(400, "'arguments' is an array")
    version = data.get("version", 1)
    if not isinstance(version, int):
        raise RefusedError(400, "'version' is a number")
    desk = await desk_of(request, user_of(request))
    started = await desk.start(
        _text(data, "workflow", None),
        list(arguments),  # pyright: ignore[reportUnknownArgumentType]
        id=data.get("id"),
        version=version,
        queue=_text(data, "queue", "default"),
        reason=_text(data, "reason"),
    )
    return JSONResponse(started, 201)


async def _signal(request: Request) -> Any:
    data = await _body(request)
    desk = await desk_of(request, user_of(request))
    return await desk.signal(
        _id(request),
        _text(data, "name", None),
        data.get("payload"),
        request_id=data.get("request_id"),
        reason=_text(data, "reason"),
    )


async def _update(request: Request) -> Any:
    data = await _body(request)
    desk = await desk_of(request, user_of(request))
    timeout = data.get("timeout", 30)
    return await desk.update(
        _id(request),
        _text(data, "name", None),
        data.get("argument"),
        update_id=data.get("update_id"),
        timeout=min(float(timeout), 60.0) if isinstance(timeout, (int, float)) else 30.0,
        reason=_text(data, "reason"),
    )


async def _query(request: Request) -> Any:
    # A query changes nothing: whoever may look may ask.
    user = user_of(request)
    query = request.query_params
    argument: list[Any] = []
    if "argument" in query:
        try:
            argument = [json.loads(query["argument"])]
        except ValueError as error:
            raise RefusedError(400, f"argument is not JSON: {error}") from None
    desk = await desk_of(request, user)
    timeout = float(max(1, number(query.get("timeout"), 10, 60)))
    return await desk.query(_id(request), _text(dict(query), "name", None), argument, timeout)


def _action(name: str) -> Answer:
    async def act(request: Request) -> Any:
        data = await _body(request)
        desk = await desk_of(request, user_of(request))
        return await desk.act(name, _id(request), _text(data, "reason"))

    return act


async def _limit(request: Request) -> Any:
    data = await _body(request)
    per_second, burst = data.get("per_second"), data.get("burst")
    if not (per_second is None or isinstance(per_second, (int, float))):
        raise RefusedError(400, "'per_second' is a number, or null")
    if not (burst is None or isinstance(burst, int)):
        raise RefusedError(400, "'burst' is a whole number, or null")
    desk = await desk_of(request, user_of(request))
    return await desk.limit(_text(data, "queue", None), per_second, burst)


def routes() -> list[Route]:
    """The API's routes."""
    found: list[tuple[str, str, Answer]] = [
        ("GET", "/overview", _overview),
        ("GET", "/instances", _instances),
        ("POST", "/instances", _start),
        ("GET", "/instance", _instance),
        ("GET", "/instance/history", _history),
        ("GET", "/instance/timeline", _timeline),
        ("GET", "/instance/tree", _tree),
        ("GET", "/instance/stacks", _stacks),
        ("GET", "/instance/result", _result),
        ("GET", "/instance/export", _export),
        ("GET", "/instance/query", _query),
        ("POST", "/instance/signal", _signal),
        ("POST", "/instance/update", _update),
        ("GET", "/workers", _workers),
        ("GET", "/schemas", _schemas),
        ("GET", "/audit", _audit),
        ("POST", "/queue/limit", _limit),
        ("GET", "/me", _me),
        ("GET", "/openapi.json", _openapi),
    ]
    found += [("POST", f"/instance/{name}", _action(name)) for name in ACTIONS]
    return [Route(path, _answered(answer), methods=[method]) for method, path, answer in found]
