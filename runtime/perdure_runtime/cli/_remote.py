"""Where commands look and act: at a store, or through the API of a page that is served.

PYTEST_DONT_REWRITE
"""

from __future__ import annotations

import asyncio
import getpass
import json
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final, NoReturn, TypeAlias, TypeVar, cast

import click
from perdure import (
    BackendUnavailableError,
    InstanceExistsError,
    InstanceFinishedError,
    InstanceNotFinishedError,
    InstanceNotFoundError,
    PerdureError,
    UsageError,
)
from perdure.extension import DEFAULT_QUEUE
from perdure_backends.records import ListFilter

from .._connect import connect
from .._desk import Desk
from .._views import Data, moment

T = TypeVar("T")

_ERRORS: Final[dict[str, Callable[[str], PerdureError]]] = {
    "InstanceNotFoundError": lambda text: InstanceNotFoundError(text, instance_id=""),
    "InstanceExistsError": lambda text: InstanceExistsError(text, instance_id=""),
    "InstanceFinishedError": lambda text: InstanceFinishedError(text, instance_id=""),
    "InstanceNotFinishedError": lambda text: InstanceNotFinishedError(text, instance_id=""),
}

_WAIT: Final = 30


class Place:
    """What was said on the command line: a store's URL, or a server's."""

    def __init__(self, url: str | None, server: str | None, token: str | None) -> None:
        self._url = url
        self._server = server
        self._token = token

    @asynccontextmanager
    async def desk(self) -> AsyncGenerator[AnyDesk]:
        """The desk there."""
        if self._server is not None:
            yield RemoteDesk(self._server, self._token)
            return
        async with connect(cast("str", self._url)) as backend:
            yield Desk(backend, by=f"cli:{_user()}")


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # no such user here, as in some containers
        return "unknown"


def place_options(function: Callable[..., T]) -> Callable[..., T]:
    """``--backend``, or ``--server`` with ``--token``; the command gets one ``place``."""

    def command(
        *args: Any, url: str | None, server: str | None, token: str | None, **kwargs: Any
    ) -> T:
        context = click.get_current_context()
        given = context.get_parameter_source("server")
        if url is None and server is None:
            raise click.UsageError(
                "Missing option '--backend' / '-b' (or PERDURE_BACKEND), or '--server'."
            )
        if (
            server is not None
            and url is not None
            and given is not click.core.ParameterSource.COMMANDLINE
        ):
            server = None  # a store on the command line goes before a server of the environment
        return function(*args, place=Place(url, server, token), **kwargs)

    command.__name__ = getattr(function, "__name__", "command")
    command.__doc__ = function.__doc__
    inherited = getattr(function, "__click_params__", None)
    if inherited is not None:
        command.__click_params__ = inherited  # type: ignore[attr-defined]
    for option in (
        click.option(
            "--token", default=None, envvar="PERDURE_TOKEN", help="For --server: who you are."
        ),
        click.option(
            "--server",
            default=None,
            envvar="PERDURE_SERVER",
            show_envvar=True,
            metavar="URL",
            help="The page of `perdure ui`, instead of the store itself.",
        ),
        click.option(
            "--backend",
            "-b",
            "url",
            envvar="PERDURE_BACKEND",
            show_envvar=True,
            metavar="URL",
            help="The store, such as sqlite:///orders.db.",
        ),
    ):
        command = option(command)
    return command


class RemoteDesk:
    """What commands ask of a :class:`Desk`, over the JSON API.

    Args:
        server: where the page is, with the path under which it is shown.
        token: sent as ``Authorization: Bearer``.
    """

    def __init__(self, server: str, token: str | None) -> None:
        parts = urllib.parse.urlsplit(server)
        if parts.scheme not in ("http", "https") or not parts.netloc:
            raise UsageError(f"--server is a URL such as http://127.0.0.1:8233, not {server!r}")
        query = urllib.parse.parse_qs(parts.query)
        # The whole link that `perdure ui` prints may be given.
        self._token = token or next(iter(query.get("token", [])), None)
        path = parts.path.removesuffix("/login").rstrip("/")
        self._root = f"{parts.scheme}://{parts.netloc}{path}"

    async def _ask(
        self,
        method: str,
        path: str,
        query: dict[str, Any] | None = None,
        body: dict[str, Any] | None = None,
    ) -> Any:
        pairs = {key: value for key, value in (query or {}).items() if value not in (None, "", ())}
        text = urllib.parse.urlencode(pairs, doseq=True)
        request = urllib.request.Request(
            f"{self._root}/api{path}{'?' if text else ''}{text}",
            data=None if body is None else json.dumps(body).encode(),
            method=method,
            headers={
                "Accept": "application/json",
                **({"Content-Type": "application/json"} if body is not None else {}),
                **({"Authorization": f"Bearer {self._token}"} if self._token else {}),
            },
        )
        return await asyncio.to_thread(self._send, request)

    def _send(self, request: urllib.request.Request) -> Any:
        try:
            with urllib.request.urlopen(request, timeout=90) as answer:
                return json.loads(answer.read())
        except urllib.error.HTTPError as error:
            self._refuse(error)
        except (OSError, ValueError) as error:
            raise BackendUnavailableError(f"{self._root} does not answer: {error}") from error

    def _refuse(self, error: urllib.error.HTTPError) -> NoReturn:
        try:
            said = json.loads(error.read())["error"]
            kind, message = str(said["type"]), str(said["message"])
        except (ValueError, KeyError, TypeError):
            kind, message = "", f"{error.code} {error.reason}"
        if error.code == 504:
            raise TimeoutError(message) from None
        if error.code in (401, 403):
            raise UsageError(
                f"{self._root}: {message} (a token is given by --token or PERDURE_TOKEN)"
            ) from None
        if error.code == 503:
            raise BackendUnavailableError(f"{self._root}: {message}") from None
        make = _ERRORS.get(kind, UsageError)
        raise make(message) from None

    async def instances(
        self, chosen: ListFilter, after: str | None = None, limit: int = 50
    ) -> Data:
        """See :meth:`Desk.instances`."""
        query = {
            "state": chosen.states,
            "workflow": chosen.workflow,
            "prefix": chosen.id_prefix,
            "queue": chosen.queue,
            "since": moment(chosen.started_after),
            "before": moment(chosen.started_before),
            "all_runs": "1" if chosen.all_runs else None,
            "after": after,
            "limit": limit,
        }
        found: Data = await self._ask("GET", "/instances", query)
        return found

    async def instance(self, instance_id: str, run_id: str | None = None) -> Data:
        """See :meth:`Desk.instance`."""
        found: Data = await self._ask("GET", "/instance", {"id": instance_id, "run": run_id})
        return found

    async def history(
        self, instance_id: str, run_id: str | None = None, after: int = 0, limit: int = 200
    ) -> Data:
        """See :meth:`Desk.history`."""
        query = {"id": instance_id, "run": run_id, "after": after, "limit": limit}
        found: Data = await self._ask("GET", "/instance/history", query)
        return found

    async def result(self, instance_id: str, timeout: float | None = None) -> Data:
        """See :meth:`Desk.result`; asked again and again, for no answer takes for ever."""
        loop = asyncio.get_running_loop()
        end = None if timeout is None else loop.time() + timeout
        while True:
            wait = _WAIT if end is None else max(1, min(_WAIT, round(end - loop.time())))
            try:
                query = {"id": instance_id, "timeout": wait}
                found: Data = await self._ask("GET", "/instance/result", query)
                return found
            except TimeoutError:
                if end is not None and loop.time() >= end:
                    raise

    async def workers(self) -> list[Data]:
        """See :meth:`Desk.workers`."""
        found: list[Data] = (await self._ask("GET", "/workers"))["workers"]
        return found

    async def start(
        self,
        workflow: str,
        arguments: Sequence[Any],
        *,
        id: str | None = None,
        version: int = 1,
        queue: str = DEFAULT_QUEUE,
        reason: str = "",
    ) -> Data:
        """See :meth:`Desk.start`."""
        body: dict[str, Any] = {
            "workflow": workflow,
            "arguments": list(arguments),
            "version": version,
            "queue": queue,
            "reason": reason,
        }
        if id is not None:
            body["id"] = id
        found: Data = await self._ask("POST", "/instances", None, body)
        return found

    async def signal(
        self,
        instance_id: str,
        name: str,
        payload: Any,
        *,
        request_id: str | None = None,
        reason: str = "",
    ) -> Data:
        """See :meth:`Desk.signal`."""
        body = {"name": name, "payload": payload, "request_id": request_id, "reason": reason}
        found: Data = await self._ask("POST", "/instance/signal", {"id": instance_id}, body)
        return found

    async def update(
        self,
        instance_id: str,
        name: str,
        argument: Any,
        *,
        update_id: str | None = None,
        timeout: float | None = None,
        reason: str = "",
    ) -> Data:
        """See :meth:`Desk.update`; waits for a minute at most."""
        body = {
            "name": name,
            "argument": argument,
            "update_id": update_id,
            "timeout": timeout if timeout is not None else 60,
            "reason": reason,
        }
        found: Data = await self._ask("POST", "/instance/update", {"id": instance_id}, body)
        return found

    async def query(
        self, instance_id: str, name: str, argument: Sequence[Any] = (), timeout: float = 10.0
    ) -> Data:
        """See :meth:`Desk.query`."""
        query: dict[str, Any] = {"id": instance_id, "name": name, "timeout": max(1, round(timeout))}
        if argument:
            query["argument"] = json.dumps(argument[0])
        found: Data = await self._ask("GET", "/instance/query", query)
        return found

    async def act(self, action: str, instance_id: str, reason: str = "") -> Data:
        """See :meth:`Desk.act`."""
        path = f"/instance/{action}"
        found: Data = await self._ask("POST", path, {"id": instance_id}, {"reason": reason})
        return found

    async def limit(self, queue: str, per_second: float | None, burst: int | None = None) -> Data:
        """See :meth:`Desk.limit`."""
        body = {"queue": queue, "per_second": per_second, "burst": burst}
        found: Data = await self._ask("POST", "/queue/limit", None, body)
        return found


AnyDesk: TypeAlias = Desk | RemoteDesk
"""What commands look at and act on."""
