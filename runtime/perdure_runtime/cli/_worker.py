"""``perdure worker``.

PYTEST_DONT_REWRITE
"""

from __future__ import annotations

import importlib
import importlib.util
import logging
import os
import sys
from collections.abc import Iterable
from pathlib import Path
from types import ModuleType
from typing import Any, cast

import click
from perdure import Activity, UsageError, Workflow

from .._connect import connect
from .._registry import definitions_in
from .._worker import Worker
from ._app import backend_option, run_async


def add_to(group: click.Group) -> None:
    """Adds the command."""
    group.add_command(worker)


@click.command()
@click.argument("target", metavar="MODULE[:ATTR]")
@backend_option
@click.option("--queue", "-q", "queues", multiple=True, help="A queue to serve; may be repeated.")
@click.option("--max-activities", default=100, show_default=True, help="Activities at once.")
@click.option("--max-turns", default=100, show_default=True, help="Workflow turns at once.")
@click.option("--lease", default=15.0, show_default=True, help="Seconds of the session's lease.")
@click.option("--drain", default=30.0, show_default=True, help="Seconds to finish what runs.")
@click.option("--build", default=None, help="Id of the code; a hash of its source by default.")
@click.option("--strict", is_flag=True, help="Changed arguments at a replay are a mismatch.")
@click.option("--rate", type=float, default=None, help="Activities that may start in a second.")
@click.option("--no-guard", is_flag=True, help="Don't judge what workflow code calls.")
@click.option("--log-level", default="INFO", show_default=True)
@click.option("--reload", is_flag=True, help="Restart when source files change (development).")
@run_async
async def worker(
    target: str,
    url: str,
    queues: tuple[str, ...],
    max_activities: int,
    max_turns: int,
    lease: float,
    drain: float,
    build: str | None,
    strict: bool,
    rate: float | None,
    no_guard: bool,
    log_level: str,
    reload: bool,
) -> None:
    """Run a worker for the workflows and activities of MODULE.

    MODULE is a dotted name or a .py file. All workflows and activities among its globals are
    offered; ATTR names a list of them instead, or a function that returns one (for activities
    that need an instance with shared state). SIGTERM and Ctrl-C drain: running activities may
    finish within --drain seconds, then leases are handed back.
    """
    logging.basicConfig(
        level=log_level.upper(), format="%(asctime)s %(levelname)s %(name)s %(message)s"
    )
    logging.getLogger("aiosqlite").setLevel(logging.WARNING)
    if reload:
        _run_reloading()
        return
    workflows, activities = load(target)
    async with connect(url) as backend:
        runner = Worker(
            backend,
            workflows=workflows,
            activities=activities,
            queues=queues or ("default",),
            max_activities=max_activities,
            max_turns=max_turns,
            lease=lease,
            drain_timeout=drain,
            build=build,
            strict=strict,
            max_activities_per_second=rate,
            guard=not no_guard,
            exit_when_blocked=True,
        )
        logging.getLogger("perdure.runtime").info(
            "worker of build %s on %s: %d workflows, %d activities, queues %s",
            runner.build,
            backend.url,
            len(workflows),
            len(activities),
            ", ".join(queues or ("default",)),
        )
        await runner.run()


def load(target: str) -> tuple[list[Workflow[..., Any]], list[object]]:
    """Workflows and activities that a command line names.

    Raises:
        UsageError: there is no such module or attribute, or nothing in it.
    """
    name, _, attribute = target.partition(":")
    module = import_target(name)
    if not attribute:
        found = definitions_in(module)
        if not found.workflows and not found.activities:
            raise UsageError(f"{name} holds neither workflows nor activities")
        return found.workflows, list(found.activities)
    value: Any = getattr(module, attribute, None)
    if value is None:
        raise UsageError(f"{name} has no attribute {attribute!r}")
    if callable(value) and not isinstance(value, (Activity, Workflow)):
        value = value()
    several: list[object] = []
    if isinstance(value, (list, tuple)):
        several.extend(cast("Iterable[object]", value))
    else:
        several.append(cast("object", value))
    workflows: list[Workflow[..., Any]] = []
    activities: list[object] = []
    for item in several:
        if isinstance(item, Workflow):
            workflows.append(cast("Workflow[..., Any]", item))
        else:
            activities.append(item)
    return workflows, activities


def import_target(name: str) -> ModuleType:
    """A module by dotted name or by file.

    Raises:
        UsageError: it can't be imported.
    """
    here = os.getcwd()
    if here not in sys.path:
        sys.path.insert(0, here)
    path = Path(name)
    if name.endswith(".py"):
        if not path.is_file():
            raise UsageError(f"there is no file {name}")
        spec = importlib.util.spec_from_file_location(path.stem, path)
        if spec is None or spec.loader is None:
            raise UsageError(f"{name} can't be imported")
        sys.path.insert(0, str(path.resolve().parent))
        module = importlib.util.module_from_spec(spec)
        sys.modules[path.stem] = module
        spec.loader.exec_module(module)
        return module
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is not None and name.startswith(error.name):
            raise UsageError(
                f"there is no module {name!r} (looked in {here} and the installed packages)"
            ) from error
        raise


def _run_reloading() -> None:
    try:
        from watchfiles import PythonFilter, run_process
    except ImportError:
        raise UsageError("--reload needs watchfiles: pip install 'perdure[reload]'") from None
    arguments = [argument for argument in sys.argv[1:] if argument != "--reload"]
    # A process of its own: a reload must not keep anything of the old code.
    command = [sys.executable, "-m", "perdure_runtime.cli", *arguments]
    run_process(
        os.getcwd(),
        target=" ".join(map(_quoted, command)),
        target_type="command",
        watch_filter=PythonFilter(),
    )


def _quoted(text: str) -> str:
    import shlex

    return shlex.quote(text)
