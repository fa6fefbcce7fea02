"""From data to pages, and what all pages have in common: who may see them, forms, errors.

PYTEST_DONT_REWRITE
"""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlencode

import jinja2
from perdure import InternalError, PerdureError, __version__
from starlette.datastructures import FormData
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from .._desk import Desk
from .._rows import shortened
from . import _plots
from ._access import User
from ._errors import RefusedError, status_of
from ._requests import desk_of, operator_of, settings_of, user_of

_HERE: Final = Path(__file__).parent
_LONGEST: Final = 20_000
"""Characters of a payload that a page shows."""

Page = Callable[[Request], Awaitable[Response]]


def _pretty(value: Any) -> str:
    text = json.dumps(value, indent=2, ensure_ascii=False)
    if len(text) <= _LONGEST:
        return text
    left = len(text) - _LONGEST
    return f"{text[:_LONGEST]}\n… {left:,} more characters: the JSON lines have all of it"


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
        brief=shortened,
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


def root_of(request: Request) -> str:
    """The path below which the pages are shown; empty, or without a slash at its end."""
    return str(request.scope.get("root_path", "")).rstrip("/")


def link(request: Request, path: str, **query: Any) -> str:
    """The way to a page of ours; what is empty in a query is left out."""
    chosen = [(key, value) for key, value in query.items() if value not in (None, "", [], ())]
    text = urlencode(chosen, doseq=True)
    return f"{root_of(request)}{path}{'?' if text else ''}{text}"


def render(request: Request, name: str, status: int = 200, /, **values: Any) -> HTMLResponse:
    """A page from its template."""
    root = root_of(request)
    user: User | None = request.scope.get("perdure.user")
    settings = settings_of(request)

    def static(path: str) -> str:
        return f"{root}/static/{path}?v={_STAMP}"

    html = _TEMPLATES.get_template(name).render(
        url=functools.partial(link, request),
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
                target = request.url.path + (f"?{request.url.query}" if request.url.query else "")
                return redirect(request, "/login", next=target)
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


async def page_desk(request: Request) -> Desk:
    """The desk of who looks at the page."""
    user: User = request.scope["perdure.user"]
    return await desk_of(request, user)


async def page_form(request: Request) -> Mapping[str, Any]:
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


def redirect(request: Request, path: str, **query: str) -> Response:
    """Leads to another page of ours."""
    return RedirectResponse(link(request, path, **query), 303)
