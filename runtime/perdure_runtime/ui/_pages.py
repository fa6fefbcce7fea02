"""The pages.

PYTEST_DONT_REWRITE
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlencode

import jinja2
from perdure import InternalError, PerdureError, QueryError, __version__
from starlette.datastructures import FormData
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Route

from .._desk import ACTIONS, Desk
from .._schemas import Published, Taken
from .._views import Data
from . import _plots
from ._access import SESSION_COOKIE, User
from ._api import export_response
from ._errors import RefusedError, status_of
from ._forms import Field, field_of, fields_of, read_fields
from ._local import local_stacks
from ._requests import (
    PAGE,
    Store,
    address_of,
    desk_of,
    filter_of,
    number,
    operator_of,
    settings_of,
    user_of,
)

_HERE: Final = Path(__file__).parent
_HISTORY: Final = 200
_BULK: Final = 200
_LONGEST: Final = 20_000
"""Characters of a payload that a page shows."""

STATES: Final = (
    *("running", "parked", "suspended", "completed", "failed"),
    *("cancelled", "terminated", "timed_out", "continued_as_new"),
)

Page = Callable[[Request], Awaitable[Response]]


def _pretty(value: Any) -> str:
    text = json.dumps(value, indent=2, ensure_ascii=False)
    if len(text) <= _LONGEST:
        return text
    left = len(text) - _LONGEST
    return f"{text[:_LONGEST]}\n… {left:,} more characters: the JSON lines have all of it"


def _brief(value: Any, longest: int = 120) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= longest else text[: longest - 1] + "…"


def _iso(text: str | None) -> str:
    """A time of ours as ``<time>`` wants it."""
    return "" if text is None else text.replace(" ", "T")


def _words(state: str) -> str:
    return state.replace("_", " ")


def _seconds(seconds: float) -> str:
    return _plots.duration(seconds * 1e6)


def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_HERE / "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        pretty=_pretty,
        brief=_brief,
        iso=_iso,
        words=_words,
        duration=_seconds,
    )
    return environment


_TEMPLATES: Final = _environment()


def _stamp() -> str:
    """Changes with the files that browsers keep."""
    digest = hashlib.sha256()
    for path in sorted((_HERE / "static").rglob("*.*")):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:10]


_STAMP: Final = _stamp()


def render(request: Request, name: str, status: int = 200, /, **values: Any) -> HTMLResponse:
    """A page from its template."""
    root = request.scope.get("root_path", "").rstrip("/")
    user: User | None = request.scope.get("perdure.user")
    settings = settings_of(request)

    def url(path: str, **query: Any) -> str:
        chosen = [(key, value) for key, value in query.items() if value not in (None, "", [], ())]
        text = urlencode(chosen, doseq=True)
        return f"{root}{path}{'?' if text else ''}{text}"

    def static(path: str) -> str:
        return f"{root}/static/{path}?v={_STAMP}"

    html = _TEMPLATES.get_template(name).render(
        url=url,
        static=static,
        user=user,
        operates=user is not None and user.operates and not settings.read_only,
        csrf="" if user is None else settings.access.form_token(request, user),
        path=request.url.path.removeprefix(root) or "/",
        root=root,
        version=__version__,
        **values,
    )
    return HTMLResponse(html, status)


def page(answer: Page, *, acts: bool = False) -> Page:
    """A page for those who may see it, and errors as pages that help."""

    async def endpoint(request: Request) -> Response:
        try:
            user = operator_of(request) if acts else user_of(request)
        except RefusedError as error:
            if error.status == 401 and request.method == "GET":
                root = request.scope.get("root_path", "").rstrip("/")
                target = request.url.path + (f"?{request.url.query}" if request.url.query else "")
                return RedirectResponse(f"{root}/login?{urlencode({'next': target})}", 303)
            return problem(request, error)
        request.scope["perdure.user"] = user
        try:
            return await answer(request)
        except (PerdureError, RefusedError, TimeoutError) as error:
            return problem(request, error)

    return endpoint


def problem(request: Request, error: BaseException) -> Response:
    """An error as a page."""
    status = status_of(error)
    response = render(
        request,
        "error.html",
        status,
        status=status,
        message=str(error),
        kind="" if isinstance(error, RefusedError) else type(error).__name__,
        internal=isinstance(error, InternalError),
    )
    if isinstance(error, RefusedError) and error.wait:
        response.headers["Retry-After"] = str(error.wait)
    return response


async def _desk(request: Request) -> Desk:
    user: User = request.scope["perdure.user"]
    return await desk_of(request, user)


async def _form(request: Request) -> Mapping[str, Any]:
    """What a form of ours sent.

    Raises:
        RefusedError: it was not ours.
    """
    form: FormData = await request.form(max_files=0, max_fields=2000, max_part_size=4 * 2**20)
    user: User = request.scope["perdure.user"]
    sent = str(form.get("csrf", ""))
    if not settings_of(request).access.check_form(request, user, sent):
        raise RefusedError(
            403, "this form is not of this session: load the page again and send it once more"
        )
    return form


def _to(request: Request, path: str, **query: str) -> Response:
    root = request.scope.get("root_path", "").rstrip("/")
    text = urlencode({key: value for key, value in query.items() if value})
    return RedirectResponse(f"{root}{path}{'?' if text else ''}{text}", 303)


# --- looking


async def _overview(request: Request) -> Response:
    desk = await _desk(request)
    data = await desk.overview()
    minutes = data.get("minutes", [])
    plots = [
        (title, _plots.plot(_plots.series(minutes, name), unit))
        for title, name, unit in (
            ("Starts", "starts", "started"),
            ("Ends", "finishes", "ended"),
            ("Failures", "failed", "failed"),
            ("Activity attempts", "attempts", "attempts"),
            ("Retries", "retries", "retries"),
        )
    ]
    return render(request, "overview.html", data=data, workers=await desk.workers(), plots=plots)


async def _instances(request: Request) -> Response:
    query = request.query_params
    desk = await _desk(request)
    states = query.getlist("state")
    limit = max(1, number(query.get("limit"), PAGE, 500))
    chosen = filter_of(query, states)
    data = await desk.instances(chosen, query.get("after") or None, limit, payloads=False)
    kept = {
        key: query.getlist(key) if key == "state" else query.get(key, "")
        for key in ("state", "workflow", "prefix", "queue", "since", "before", "all_runs", "limit")
    }
    return render(
        request,
        "instances.html",
        data=data,
        kept=kept,
        states=STATES,
        actions=ACTIONS,
        filtered=any(value for key, value in kept.items() if key != "limit"),
        first=not query.get("after"),
    )


async def _instance(request: Request) -> Response:
    query = request.query_params
    instance_id = query.get("id", "")
    run = query.get("run") or None
    desk = await _desk(request)
    if not instance_id:
        return _to(request, "/instances")
    after = number(query.get("after"), 0, 10**9)
    data, history, rows = await desk.page(instance_id, run, after=after, limit=_HISTORY)
    drawn = _plots.timeline(rows, await _now(request))
    schema = await desk.schema(data["workflow"], data["version"])
    tree = await desk.tree(instance_id) if _has_family(data, history) else None
    return render(
        request,
        "instance.html",
        data=data,
        history=history,
        after=after,
        timeline=drawn,
        tree=tree,
        schema=schema,
        run=run,
        open=data["state"] in ("running", "parked", "suspended"),
    )


def _has_family(data: Data, history: Data) -> bool:
    if data["parent"] is not None:
        return True
    events = (event for turn in history["turns"] for event in turn["events"])
    return any(event["type"] == "child_scheduled" for event in events)


async def _now(request: Request) -> int:
    store: Store = request.scope["perdure.store"]
    return await (await store.get()).now()


async def _code(request: Request) -> Response:
    """Where the code stands: asked for by itself, for a worker has to replay."""
    instance_id = request.query_params.get("id", "")
    desk = await _desk(request)
    data = await desk.instance(instance_id)
    problem_text, stacks = "", []
    try:
        stacks = await desk.stacks(instance_id)
        source = "said by a worker"
    except (QueryError, TimeoutError) as error:
        source, problem_text = "", str(error)
        found = await local_stacks(request, instance_id)
        if found is not None:
            stacks, source, problem_text = found, "from a replay in this process", ""
    lines = [text.partition(" at ") for text in stacks]
    return render(
        request,
        "code.html",
        data=data,
        lines=[(name, place) for name, _, place in lines],
        source=source,
        problem=problem_text,
    )


async def _export(request: Request) -> Response:
    query = request.query_params
    desk = await _desk(request)
    return await export_response(desk.export(query.get("id", ""), query.get("run") or None))


async def _audit(request: Request) -> Response:
    desk = await _desk(request)
    data = await desk.audit(request.query_params.get("after") or None)
    return render(request, "audit.html", data=data)


# --- acting


async def _start(request: Request) -> Response:
    desk = await _desk(request)
    schemas = await desk.schemas()
    sent = await _form(request) if request.method == "POST" else None
    name = str((sent or request.query_params).get("workflow", ""))
    chosen = next((one for one in schemas if f"{one.workflow}@{one.version}" == name), None)
    fields = fields_of(chosen.parameters) if chosen is not None else []
    message, status = "", 200
    values = {
        "id": str(sent.get("id", "")) if sent else "",
        "queue": str(sent.get("queue", "")) if sent else _queue_of(chosen),
        "reason": str(sent.get("reason", "")) if sent else "",
        "json": str(sent.get("json", "")) if sent else "[]",
        "other": str(sent.get("other", "")) if sent else "",
    }
    if sent is not None:
        try:
            arguments, target = _arguments(sent, chosen, fields)
            if arguments is not None and target is not None:
                started = await desk.start(
                    target[0],
                    arguments,
                    id=values["id"] or None,
                    version=target[1],
                    queue=values["queue"] or "default",
                    reason=values["reason"],
                )
                return _to(request, "/instance", id=started["id"])
            message, status = "some fields need another look", 422
        except (PerdureError, RefusedError) as error:
            message, status = str(error), status_of(error)
    return render(
        request,
        "start.html",
        status,
        schemas=schemas,
        chosen=chosen,
        name=name,
        fields=fields,
        values=values,
        message=message,
    )


def _queue_of(chosen: Published | None) -> str:
    return chosen.queues[0] if chosen is not None and chosen.queues else "default"


def _arguments(
    sent: Mapping[str, Any], chosen: Published | None, fields: list[Field]
) -> tuple[list[Any] | None, tuple[str, int] | None]:
    """Arguments and workflow of a form; ``None`` when fields say what is wrong."""
    if chosen is not None:
        return read_fields(fields, sent), (chosen.workflow, chosen.version)
    name, _, version = str(sent.get("other", "")).partition("@")
    if not name:
        raise RefusedError(422, "choose a workflow, or name one")
    if version and not version.isdecimal():
        raise RefusedError(422, "a version is a number: name@2")
    try:
        arguments = json.loads(str(sent.get("json", "")) or "[]")
    except ValueError as error:
        raise RefusedError(422, f"the arguments are not JSON: {error}") from None
    if not isinstance(arguments, list):
        raise RefusedError(422, "the arguments are a JSON array, one for each parameter")
    return list(arguments), (name, int(version or 1))  # pyright: ignore[reportUnknownArgumentType, reportUnknownVariableType]


async def _message(request: Request) -> Response:
    """Signals, updates and queries."""
    sent = await _form(request) if request.method == "POST" else None
    given: Mapping[str, Any] = sent if sent is not None else request.query_params
    kind, instance_id = str(given.get("kind", "signal")), str(given.get("id", ""))
    name = str(given.get("name", ""))
    if kind not in ("signal", "update", "query"):
        raise RefusedError(400, "a message is a signal, an update or a query")
    if kind != "query":
        operator_of(request)
    desk = await _desk(request)
    data = await desk.instance(instance_id)
    schema = await desk.schema(data["workflow"], data["version"])
    known: dict[str, Taken] = {}
    if schema is not None:
        known = {"signal": schema.signals, "update": schema.updates, "query": schema.queries}[kind]
    field = _message_field(known.get(name), kind)
    answer: Any = None
    message, done, status = "", False, 200
    reason = str(given.get("reason", ""))
    if sent is not None:
        try:
            values = read_fields([field], sent) if field is not None else []
            if not name:
                message, status = "say which one", 422
            elif values is None:
                message, status = "the value needs another look", 422
            else:
                answer = await _deliver(desk, kind, instance_id, name, values, reason)
                done = True
        except (PerdureError, TimeoutError) as error:
            message, status = str(error), status_of(error)
    return render(
        request,
        "message.html",
        status,
        data=data,
        kind=kind,
        name=name,
        known=known,
        field=field,
        message=message,
        done=done,
        answer=answer,
        reason=reason,
    )


def _message_field(taken: Taken | None, kind: str) -> Field | None:
    if taken is None:
        return field_of({}, name="p0", label="Value", required=kind != "query")
    if taken.argument is None:
        return None
    return field_of(taken.argument, name="p0", label="Value")


async def _deliver(
    desk: Desk, kind: str, instance_id: str, name: str, values: list[Any], reason: str
) -> Any:
    if kind == "query":
        return (await desk.query(instance_id, name, values))["answer"]
    value = values[0] if values else None
    if kind == "signal":
        await desk.signal(instance_id, name, value, reason=reason)
        return None
    done = await desk.update(instance_id, name, value, timeout=30.0, reason=reason)
    return done["result"]


_MEANS: Final = {
    "cancel": ("Cancel", "Its code is asked to cancel, and may clean up first."),
    "terminate": ("Terminate", "It ends at once, without its code: nothing is cleaned up."),
    "suspend": ("Suspend", "It halts; messages and results gather, timers wait."),
    "resume": ("Resume", "It goes on where it was halted."),
    "unpark": ("Un-park", "It is tried again, by every build."),
    "remove": ("Remove", "It is removed for good, with its history. Only finished ones can be."),
}


async def _act(request: Request) -> Response:
    """Asks for confirmation and the reason, then acts, on one instance or several."""
    if request.method == "GET":
        query = request.query_params
        ids, action = query.getlist("id"), query.get("action", "")
        if action not in ACTIONS or not ids:
            raise RefusedError(400, "choose instances and an action")
        return render(
            request,
            "act.html",
            action=action,
            title=_MEANS[action][0],
            text=_MEANS[action][1],
            ids=list(dict.fromkeys(ids))[:_BULK],
            failed=[],
            back=query.get("back", ""),
        )
    form: Any = await _form(request)
    action = str(form.get("action", ""))
    ids = list(dict.fromkeys(map(str, form.getlist("id"))))[:_BULK]
    if action not in ACTIONS or not ids:
        raise RefusedError(400, "choose instances and an action")
    desk, reason = await _desk(request), str(form.get("reason", "")).strip()
    if not reason:
        raise RefusedError(422, "say why: the reason is kept in the audit log")
    failed: list[tuple[str, str]] = []
    for one in ids:
        try:
            await desk.act(action, one, reason)
        except PerdureError as error:
            failed.append((one, str(error)))
    if failed:
        return render(
            request,
            "act.html",
            409,
            action=action,
            title=_MEANS[action][0],
            text=_MEANS[action][1],
            ids=[one for one, _ in failed],
            failed=failed,
            back="",
        )
    if len(ids) == 1 and action != "remove":
        return _to(request, "/instance", id=ids[0])
    return _to(request, "/instances")


# --- who is it


async def _login(request: Request) -> Response:
    access = settings_of(request).access
    target = _inside(request, request.query_params.get("next", ""))
    address = address_of(request)
    message, status = "", 200
    wait = access.must_wait(address)
    user: User | None = None
    if wait:
        message, status = f"too many wrong ones: try again in {wait} seconds", 429
    elif request.method == "POST":
        form = await request.form(max_files=0, max_fields=10)
        token = str(form.get("token", ""))
        if token:
            user = access.by_token(token, address)
        else:
            name, password = str(form.get("name", "")), str(form.get("password", ""))
            # It is slow on purpose.
            user = await asyncio.to_thread(access.by_password, name, password, address)
        if user is None:
            message, status = "that is not right", 401
    elif "token" in request.query_params:
        user = access.by_token(request.query_params["token"], address)
        if user is None:
            message, status = "the link's token is not right, or of an earlier start", 401
    if user is None:
        response: Response = render(
            request,
            "login.html",
            status,
            message=message,
            passwords=access.has_passwords,
            next=target,
        )
        if wait:
            response.headers["Retry-After"] = str(wait)
        return response
    response = RedirectResponse(target, 303)
    response.set_cookie(
        SESSION_COOKIE,
        access.session(user),
        httponly=True,
        samesite="strict",
        secure=request.url.scheme == "https",
        path=request.scope.get("root_path", "") or "/",
    )
    return response


def _inside(request: Request, target: str) -> str:
    """Where to go after the login: never to another site."""
    root = request.scope.get("root_path", "").rstrip("/")
    if target.startswith(f"{root}/") and not target.startswith("//") and "\\" not in target:
        return target
    return f"{root}/"


async def _logout(request: Request) -> Response:
    await _form(request)
    response = _to(request, "/login")
    response.delete_cookie(SESSION_COOKIE, path=request.scope.get("root_path", "") or "/")
    return response


def routes() -> list[Route]:
    """The pages' routes."""
    return [
        Route("/", page(_overview)),
        Route("/instances", page(_instances)),
        Route("/instance", page(_instance)),
        Route("/code", page(_code)),
        Route("/export", page(_export)),
        Route("/audit", page(_audit)),
        Route("/start", page(_start, acts=True), methods=["GET", "POST"]),
        Route("/message", page(_message), methods=["GET", "POST"]),
        Route("/act", page(_act, acts=True), methods=["GET", "POST"]),
        Route("/login", _login, methods=["GET", "POST"]),
        Route("/logout", page(_logout), methods=["POST"]),
    ]
