"""Logging in and out.

PYTEST_DONT_REWRITE
"""

from __future__ import annotations

import asyncio

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from ._access import SESSION_COOKIE, User
from ._rendering import page, page_form, redirect, render, root_of
from ._requests import address_of, settings_of


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
    root = root_of(request)
    if target.startswith(f"{root}/") and not target.startswith("//") and "\\" not in target:
        return target
    return f"{root}/"


async def _logout(request: Request) -> Response:
    await page_form(request)
    response = redirect(request, "/login")
    response.delete_cookie(SESSION_COOKIE, path=request.scope.get("root_path", "") or "/")
    return response


def routes() -> list[Route]:
    """The routes to get in and out."""
    return [
        Route("/login", _login, methods=["GET", "POST"]),
        Route("/logout", page(_logout), methods=["POST"]),
    ]
