"""What pages and API share about a request: who asks, the store, filters, errors.

PYTEST_DONT_REWRITE
"""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from perdure import DataConverter, Workflow
from perdure_backends import Backend, open_backend
from perdure_backends.records import ListFilter
from starlette.requests import Request

from .._desk import Desk, Redact, Sight
from ._access import Access, User
from ._errors import RefusedError

PAGE: Final = 50


@dataclasses.dataclass(slots=True)
class Settings:
    """What an app was made with."""

    access: Access
    converter: DataConverter
    redact: Redact | None
    workflows: Mapping[tuple[str, int], Workflow[..., Any]]
    read_only: bool


class Store:
    """The store, opened when it is first needed; tried again when that went wrong."""

    def __init__(self, backend: Backend | str) -> None:
        self._given = backend
        self._opened: Backend | None = backend if not isinstance(backend, str) else None
        self._lock = asyncio.Lock()

    async def get(self) -> Backend:
        """The open store.

        Raises:
            BackendError: it can't be opened.
        """
        if self._opened is None and isinstance(self._given, str):
            async with self._lock:
                if self._opened is None:
                    backend = open_backend(self._given)
                    await backend.open()
                    self._opened = backend
        if self._opened is None:
            raise RefusedError(503, "the store is closed")
        return self._opened

    async def aclose(self) -> None:
        """Closes it, if it was opened here."""
        if isinstance(self._given, str) and self._opened is not None:
            backend, self._opened = self._opened, None
            await backend.aclose()


def settings_of(request: Request) -> Settings:
    """What the app was made with."""
    found: Settings = request.scope["perdure.settings"]
    return found


def user_of(request: Request) -> User:
    """Who asks.

    Raises:
        RefusedError: nobody that we know.
    """
    user = settings_of(request).access.user(request)
    if user is None:
        raise RefusedError(401, "log in first, or send a token")
    return user


def operator_of(request: Request) -> User:
    """Who acts.

    Raises:
        RefusedError: they may not.
    """
    user = user_of(request)
    if not user.operates or settings_of(request).read_only:
        raise RefusedError(403, "this needs the role of an operator")
    return user


async def desk_of(request: Request, user: User) -> Desk:
    """The desk at which somebody sits. Raises as :meth:`Store.get`."""
    settings = settings_of(request)
    store: Store = request.scope["perdure.store"]
    sight = Sight(settings.converter, visible=user.payloads, redact=settings.redact)
    return Desk(
        await store.get(),
        by=user.name,
        sight=sight,
        converter=settings.converter,
        address=address_of(request),
    )


def address_of(request: Request) -> str:
    """Where a request comes from."""
    return request.client.host if request.client is not None else ""


def filter_of(query: Mapping[str, str], states: Sequence[str]) -> ListFilter:
    """The filter that a query string names.

    Raises:
        RefusedError: a time can't be read.
    """
    return ListFilter(
        states=tuple(state for state in states if state),
        workflow=query.get("workflow") or None,
        id_prefix=query.get("prefix") or None,
        queue=query.get("queue") or None,
        started_after=when(query.get("since", "")),
        started_before=when(query.get("before", "")),
        all_runs=query.get("all_runs") in ("1", "true", "on"),
    )


def when(text: str) -> int | None:
    """Microseconds of a time in ISO 8601, in UTC unless it says otherwise.

    Raises:
        RefusedError: it is none.
    """
    if not text:
        return None
    try:
        found = datetime.fromisoformat(text.replace("Z", "+00:00"))
    except ValueError:
        raise RefusedError(400, f"{text!r} is not a time such as 2026-01-31T12:00") from None
    if found.tzinfo is None:
        found = found.replace(tzinfo=UTC)
    return round(found.timestamp() * 1e6)


def number(text: str | None, otherwise: int, most: int) -> int:
    """A whole number from a query string.

    Raises:
        RefusedError: it is none.
    """
    if not text:
        return otherwise
    if not text.isascii() or not text.isdecimal():
        raise RefusedError(400, f"{text!r} is not a number")
    return min(int(text[:12]), most)
