"""``perdure ui``.

PYTEST_DONT_REWRITE
"""

from __future__ import annotations

import secrets
import socket
import sys
from typing import TYPE_CHECKING, Any, Final

import click
from perdure import InvalidOptionError, UsageError, Workflow

from .._connect import connect
from .._loading import load
from ._app import backend_option, run_async

if TYPE_CHECKING:
    from ..ui import Access

_LOOPBACK: Final = ("127.0.0.1", "localhost", "::1")


def add_to(group: click.Group) -> None:
    """Adds the command."""
    group.add_command(ui)
    group.add_command(hash_password)


@click.command("hash-password")
@click.password_option("--password", help="Asked for when it is not given.")
def hash_password(password: str) -> None:
    """Print what a users file keeps of a password."""
    from ..ui import hash_password as hashed

    click.echo(hashed(password))


@click.command()
@backend_option
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=8233,
    show_default=True,
    help="0 takes a free one.",
)
@click.option("--users", default=None, metavar="FILE", help="TOML: users, tokens, proxy.")
@click.option("--token", default=None, envvar="PERDURE_UI_TOKEN", help="Instead of a random one.")
@click.option("--module", "-m", "modules", multiple=True, help="Workflows: shows where they stand.")
@click.option("--allow-host", "hosts", multiple=True, help="A name under which it is reached.")
@click.option("--root-path", default="", help="The path under which a proxy shows it.")
@click.option("--read-only", is_flag=True, help="Nobody may act.")
@run_async
async def ui(
    url: str,
    host: str,
    port: int,
    users: str | None,
    token: str | None,
    modules: tuple[str, ...],
    hosts: tuple[str, ...],
    root_path: str,
    read_only: bool,
) -> None:
    """Serve the web page of the store, and its JSON API.

    On loopback, with a random token that is printed as part of the link, unless --users names a
    file with users, tokens or a proxy to be trusted. No worker is needed to look.
    """
    try:
        from ..ui import Access, create_app, read_access
        from ..ui._server import serve
    except ImportError:
        raise UsageError("the web page needs more: pip install 'perdure[ui]'") from None

    if host not in _LOOPBACK and users is None and token is None:
        raise UsageError(
            f"on {host} others can reach it: give --users FILE, or a --token of your own"
        )
    workflows: list[Workflow[..., Any]] = []
    for module in modules:
        workflows += load(module)[0]
    shown: str | None = None
    access: Access
    if users is not None:
        access = read_access(users)
    else:
        shown = token if token is not None else secrets.token_urlsafe(24)
        if len(shown) < 16:
            raise InvalidOptionError("a token has 16 characters or more")
        access = Access.with_token(shown)
    async with connect(url) as backend:
        app = create_app(
            backend,
            access=access,
            workflows=workflows,
            read_only=read_only,
            hosts=[*_LOOPBACK, host, *hosts] if host in _LOOPBACK or hosts else (),
        )
        listener = _listen(host, port)
        bound = listener.getsockname()[1]
        name = f"[{host}]" if ":" in host else host
        link = f"http://{name}:{bound}{root_path}/"
        click.echo(f"{backend.url} at {link}" + (f"login?token={shown}" if shown else ""))
        click.echo("Ctrl-C ends it.", err=True)
        sys.stdout.flush()
        await serve(app, listener, root_path=root_path)


def _listen(host: str, port: int) -> socket.socket:
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        return socket.create_server((host, port), family=family)
    except OSError as error:
        raise UsageError(f"{host}:{port} can't be listened on: {error}") from error
