"""The group of commands and what they share: backend, JSON, errors.

PYTEST_DONT_REWRITE
"""

from __future__ import annotations

import asyncio
import functools
import json
import sys
from collections.abc import Callable, Coroutine
from typing import Any, ParamSpec, TypeVar

import click
from perdure import BackendError, InternalError, PerdureError, __version__

P = ParamSpec("P")
T = TypeVar("T")


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, message="perdure %(version)s")
def app() -> None:
    """Durable workflows: run workers, start and steer instances, look at histories.

    The store is named by --backend, or by the environment variable PERDURE_BACKEND:
    sqlite:///orders.db, memory:// …
    """


def backend_option(function: Callable[P, T]) -> Callable[P, T]:
    """``--backend``."""
    decorate = click.option(
        "--backend",
        "-b",
        "url",
        envvar="PERDURE_BACKEND",
        show_envvar=True,
        required=True,
        metavar="URL",
        help="The store, such as sqlite:///orders.db.",
    )
    decorated: Callable[P, T] = decorate(function)
    return decorated


def json_option(function: Callable[P, T]) -> Callable[P, T]:
    """``--json``."""
    decorate = click.option("--json", "as_json", is_flag=True, help="Print JSON, for machines.")
    decorated: Callable[P, T] = decorate(function)
    return decorated


def run_async(function: Callable[P, Coroutine[Any, Any, int | None]]) -> Callable[P, None]:
    """Runs a coroutine command; see :func:`run_plain`."""

    @functools.wraps(function)
    def command(*args: P.args, **kwargs: P.kwargs) -> int | None:
        return asyncio.run(function(*args, **kwargs))

    return run_plain(command)


def run_plain(function: Callable[P, int | None]) -> Callable[P, None]:
    """Runs a command; errors of ours become one clear line and an exit code.

    Exit codes: 0 done, 1 it did not work, 2 wrong usage, 3 the store, 70 a fault of ours,
    130 interrupted.
    """

    @functools.wraps(function)
    def command(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            code = function(*args, **kwargs)
        except KeyboardInterrupt:
            sys.exit(130)
        except (PerdureError, TimeoutError) as error:
            report_error(error, as_json=bool(kwargs.get("as_json")))
            sys.exit(
                70
                if isinstance(error, InternalError)
                else 3
                if isinstance(error, BackendError)
                else 1
            )
        sys.exit(code or 0)

    return command


def unchanged(url: str) -> str:
    """A store as it is: opening it must not migrate it."""
    if url.startswith("memory:") or "migrate=" in url:
        return url
    return f"{url}{'&' if '?' in url else '?'}migrate=no"


def report_error(error: BaseException, *, as_json: bool) -> None:
    """One error on stderr (and as JSON on stdout where that was asked for)."""
    if as_json:
        click.echo(json.dumps({"error": {"type": type(error).__name__, "message": str(error)}}))
    click.secho(f"Error: {error}", fg="red", err=True)


@app.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print the completion script of a shell: eval "$(perdure completion bash)"."""
    from click.shell_completion import get_completion_class

    cls = get_completion_class(shell)
    if cls is not None:
        click.echo(cls(app, {}, "perdure", "_PERDURE_COMPLETE").source())


def _load() -> None:
    from . import _debugging, _instances, _messages, _moving, _replaying, _store, _ui, _worker

    for module in (_instances, _messages, _replaying, _debugging, _moving, _store, _worker, _ui):
        module.add_to(app)


_load()
