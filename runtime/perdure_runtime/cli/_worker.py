"""``perdure worker``.

PYTEST_DONT_REWRITE
"""

from __future__ import annotations

import gc
import importlib.util
import logging
import os
import sys
from datetime import timedelta

import click
from perdure import UsageError

from .._connect import connect
from .._loading import load
from .._logs import JsonFormatter
from .._telemetry import Telemetry
from .._worker import Worker
from ._app import backend_option, run_async
from ._store import Age


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
@click.option(
    "--paranoid", is_flag=True, help="Replay every turn in another process before it counts."
)
@click.option(
    "--retention", type=Age(), default=None, help="Remove what finished so long ago: 12h, 30d, 8w."
)
@click.option(
    "--health", default=None, metavar="[HOST:]PORT", help="Show /live, /ready, /backlog, /metrics."
)
@click.option("--otel", is_flag=True, help="Report spans and metrics by OpenTelemetry.")
@click.option("--log-level", default="INFO", show_default=True)
@click.option(
    "--log-format", type=click.Choice(["text", "json"]), default="text", show_default=True
)
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
    paranoid: bool,
    retention: timedelta | None,
    health: str | None,
    otel: bool,
    log_level: str,
    log_format: str,
    reload: bool,
) -> None:
    """Run a worker for the workflows and activities of MODULE.

    MODULE is a dotted name or a .py file. All workflows and activities among its globals are
    offered; ATTR names a list of them instead, or a function that returns one (for activities
    that need an instance with shared state). SIGTERM and Ctrl-C drain: running activities may
    finish within --drain seconds, then leases are handed back.

    --health answers on loopback unless HOST says otherwise; with perdure[prometheus], /metrics has
    the worker's metrics. --otel reports to the providers that the process has, such as those of
    `opentelemetry-instrument perdure worker …`.
    """
    logging.basicConfig(
        level=log_level.upper(), format="%(asctime)s %(levelname)s %(name)s %(message)s"
    )
    if log_format == "json":
        for handler in logging.getLogger().handlers:
            handler.setFormatter(JsonFormatter())
    logging.getLogger("aiosqlite").setLevel(logging.WARNING)
    if reload:
        _run_reloading()
        return
    workflows, activities = load(target)
    telemetry = _telemetry(otel=otel, health=health is not None)
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
            paranoid=paranoid,
            retention=retention,
            exit_when_blocked=True,
            telemetry=telemetry,
            health=health,
        )
        logging.getLogger("perdure.runtime").info(
            "worker of build %s on %s: %d workflows, %d activities, queues %s",
            runner.build,
            backend.url,
            len(workflows),
            len(activities),
            ", ".join(queues or ("default",)),
        )
        # What is there by now stays: the collector need not go through it again and again.
        gc.collect()
        gc.freeze()
        await runner.run()


def _telemetry(*, otel: bool, health: bool) -> Telemetry | None:
    """What was asked for by options, and metrics for Prometheus where it is installed."""
    exposed = health and _installed("opentelemetry.exporter.prometheus")
    if not otel and not exposed:
        return None
    from ..otel import OpenTelemetry, prometheus

    if not exposed or _set_up():
        return OpenTelemetry()
    return OpenTelemetry(meter_provider=prometheus(), spans=otel)


def _installed(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:
        return False


def _set_up() -> bool:
    """Whether somebody has set a meter provider already."""
    from opentelemetry import metrics
    from opentelemetry.sdk.metrics import MeterProvider

    return isinstance(metrics.get_meter_provider(), MeterProvider)


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
