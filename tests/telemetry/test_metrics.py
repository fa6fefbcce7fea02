"""Metrics: every instrument, their exposition, health, dashboard and alert rules."""

from __future__ import annotations

import asyncio
import json
import re
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import (
    HistogramDataPoint,
    InMemoryMetricReader,
    NumberDataPoint,
)
from perdure import (
    ApplicationError,
    InvalidOptionError,
    Retry,
    activity,
    activity_info,
    sleep,
    workflow,
)
from perdure_backends import Backend
from perdure_backends.memory import MemoryBackend
from perdure_runtime import Client, Local, Worker, connect
from perdure_runtime.otel import OpenTelemetry
from prometheus_client.parser import text_string_to_metric_families
from traced import until

DOCS = Path(__file__).parents[2] / "docs"


@activity(retry=Retry(attempts=3, interval=0.01))
async def flaky() -> int:
    if activity_info().attempt == 1:
        raise ConnectionError("no answer")
    return activity_info().attempt


@workflow
async def child() -> int:
    return await flaky()


@workflow
async def parent(left: int) -> int:
    found = await child()
    await sleep(0.01)
    if left:
        parent.continue_as_new(left - 1)
    return found


@workflow
async def fails() -> None:
    raise ApplicationError("no")


@workflow
async def stuck() -> None:
    await asyncio.get_running_loop().create_future()


class Measured:
    """A meter provider that is read by the test."""

    def __init__(self) -> None:
        self.reader = InMemoryMetricReader()
        self.telemetry = OpenTelemetry(
            meter_provider=MeterProvider(metric_readers=[self.reader]),
            spans=False,
            look_every=0.02,
        )

    def points(self) -> dict[str, dict[str, Any]]:
        """By metric, values by their attributes as text; of histograms counts and sums."""
        data = self.reader.get_metrics_data()
        found: dict[str, dict[str, Any]] = {}
        for resource in data.resource_metrics if data is not None else ():
            for scope in resource.scope_metrics:
                for metric in scope.metrics:
                    values = found.setdefault(metric.name, {})
                    for point in metric.data.data_points:
                        names = dict(point.attributes or {})
                        key = ",".join(f"{name}={names[name]}" for name in sorted(names))
                        if isinstance(point, NumberDataPoint):
                            values[key] = point.value
                        elif isinstance(point, HistogramDataPoint):
                            values[key] = (point.count, point.sum)
        return found

    @asynccontextmanager
    async def app(self, backend: Backend, **options: Any) -> AsyncGenerator[Local]:
        """Worker and client on a store."""
        async with Worker(backend, telemetry=self.telemetry, **options) as worker:
            yield Local(backend, worker, Client(backend))


def test_what_workers_measure() -> None:
    measured = Measured()

    async def main() -> None:
        backend = MemoryBackend()
        options = {
            "workflows": [parent, child, fails, stuck],
            "activities": [flaky],
            "cache_size": 1,
        }
        async with measured.app(backend, **options) as app:
            assert await app.run(parent, 1) == 2
            with pytest.raises(Exception, match="no"):
                await app.run(fails)
            handle = await app.start(stuck)

            async def parked() -> bool:
                return await handle.state() == "parked"

            await until(parked)

            async def seen() -> bool:
                return "reason=stuck" in measured.points().get("perdure.instances.parked", {})

            await until(seen)
            points = measured.points()
            assert points["perdure.instances"]["state=parked"] == 1
            slots = points["perdure.worker.slots"]
            assert slots["kind=turns,state=used"] + slots["kind=turns,state=free"] == 100
            assert points["perdure.cache.size"][""] <= 100

    asyncio.run(main())
    points = measured.points()
    assert points["perdure.workflow.starts"] == {
        "by=client,workflow=parent": 1,
        "by=continue_as_new,workflow=parent": 1,
        "by=parent,workflow=child": 2,
        "by=client,workflow=fails": 1,
    }
    assert points["perdure.workflow.finishes"] == {
        "outcome=continued_as_new,workflow=parent": 1,
        "outcome=completed,workflow=parent": 1,
        "outcome=completed,workflow=child": 2,
        "outcome=failed,workflow=fails": 1,
    }
    lifetimes = points["perdure.workflow.duration"]
    count, total = lifetimes["outcome=completed,workflow=parent"]
    assert count == 1
    assert 0.01 <= total < 10
    assert points["perdure.workflow.parks"] == {"reason=stuck,workflow=stuck": 1}
    assert points["perdure.activity.schedules"] == {"activity=flaky": 2}
    attempts = points["perdure.activity.duration"]
    assert attempts["activity=flaky,outcome=completed"][0] == 2
    assert attempts["activity=flaky,outcome=retried"][0] == 2
    assert points["perdure.activity.wait"]["queue=default"][0] == 4
    assert points["perdure.turn.duration"]["workflow=parent"][0] >= 4
    assert points["perdure.turn.commit.duration"][""][0] >= 8
    assert points["perdure.turn.wait"]["queue=default"][0] >= 5
    lookups = points["perdure.cache.lookups"]
    assert lookups["hit=false"] >= 5
    assert points["perdure.cache.evictions"]["reason=finished"] == 5
    assert points["perdure.store.duration"]["operation=commit"][0] >= 8


def test_replays_are_measured() -> None:
    measured = Measured()

    async def main() -> None:
        async with measured.app(
            MemoryBackend(), workflows=[parent, child], activities=[flaky], cache_size=0
        ) as app:
            await app.run(parent, 0)

    asyncio.run(main())
    points = measured.points()
    count, total = points["perdure.replay.events"]["workflow=parent"]
    assert count >= 2
    assert total >= 2 * count
    assert points["perdure.replay.duration"]["workflow=parent"][0] == count
    assert points["perdure.cache.evictions"]["reason=capacity"] >= 2


def test_lost_leases_and_refused_turns_are_measured() -> None:
    measured = Measured()

    # The lease is renewed every third of it: a short one is missed soon.
    async def short() -> None:
        backend = MemoryBackend()
        async with Worker(
            backend, workflows=[parent], lease=0.3, telemetry=measured.telemetry
        ) as worker:
            before = worker.session_id
            backend.lose(before or "")

            async def renewed() -> bool:
                return worker.session_id not in (None, before)

            await until(renewed)

    asyncio.run(short())
    assert measured.points()["perdure.session.losses"]["whose=own"] >= 1


def test_attributes_are_bounded() -> None:
    measured = Measured()

    async def main() -> None:
        backend = MemoryBackend()
        queues = [f"q{number}" for number in range(230)]
        async with measured.app(backend, workflows=[fails], queues=queues) as app:
            handles = [await app.start(fails.options(queue=queue)) for queue in queues]
            for handle in handles:
                with pytest.raises(Exception, match="no"):
                    await handle.result()

    asyncio.run(main())
    waits = measured.points()["perdure.turn.wait"]
    assert len(waits) == 201
    assert waits["queue=other"][0] == 30


def test_the_store_is_left_as_it_was() -> None:
    measured = Measured()

    async def main() -> None:
        backend = MemoryBackend()
        before = dict(vars(backend))
        async with measured.app(backend, workflows=[fails]):
            assert "commit" in vars(backend)
        assert vars(backend) == before

    asyncio.run(main())


# --- exposition, dashboard, alerts ----------------------------------------------------------

FLOWS = """
from perdure import Retry, activity, sleep, workflow

@activity(retry=Retry(attempts=2, interval=0.01))
async def act() -> int:
    return 1

@workflow
async def flow() -> int:
    await sleep(0.01)
    return await act()

@workflow
async def stuck() -> None:
    import asyncio
    await asyncio.get_running_loop().create_future()
"""


def get(url: str) -> tuple[int, str]:
    """Status and body of a page."""
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@pytest.fixture(scope="module")
def exposition(tmp_path_factory: pytest.TempPathFactory) -> str:
    """What a worker of the command line exposes after some work."""
    folder = tmp_path_factory.mktemp("metrics")
    (folder / "flows.py").write_text(FLOWS)
    url, port = f"sqlite:///{folder}/x.db?synchronous=NORMAL", free_port()
    command = [sys.executable, "-m", "perdure_runtime.cli", "worker", "flows"]
    options = ["--backend", url, "--health", str(port), "--log-format", "json"]
    log = (folder / "log").open("w")
    text = ""
    with subprocess.Popen([*command, *options], cwd=folder, stderr=log) as worker:

        async def main() -> None:
            async with connect(url) as backend:
                client = Client(backend)
                for _ in range(3):
                    handle = await client.start_by_name("flow")
                    assert await handle.result(20) == 1
                parked = await client.start_by_name("stuck")

                async def waits() -> bool:
                    return await parked.state() == "parked"

                await until(waits)

        asyncio.run(main())
        end = time.monotonic() + 20
        while time.monotonic() < end:
            status, text = get(f"http://127.0.0.1:{port}/metrics")
            assert status == 200
            if "perdure_workflow_parks_total" in text:
                break
        assert get(f"http://127.0.0.1:{port}/ready")[0] == 200
        worker.terminate()
        assert worker.wait(20) == 0, (folder / "log").read_text()
    log.close()
    return text


def test_the_exposition_is_well_formed(exposition: str) -> None:
    families = {one.name: one for one in text_string_to_metric_families(exposition)}
    ours = {name: one for name, one in families.items() if name.startswith("perdure_")}
    assert len(ours) >= 16
    for name, family in ours.items():
        assert re.fullmatch(r"perdure_[a-z_]+", name)
        assert family.documentation
        assert family.type in ("counter", "gauge", "histogram")
        if family.type == "histogram":
            assert name.endswith("_seconds") or name == "perdure_replay_events"
            first = {**family.samples[0].labels, "le": ""}
            bounds = [
                float(sample.labels["le"])
                for sample in family.samples
                if sample.name.endswith("_bucket") and {**sample.labels, "le": ""} == first
            ]
            assert bounds == sorted(bounds)
    starts = {
        sample.labels["workflow"]: sample.value
        for sample in families["perdure_workflow_starts"].samples
        if sample.name.endswith("_total")
    }
    assert starts["flow"] == 3


def names_in(expression: str) -> set[str]:
    """Metrics that a query reads."""
    return set(re.findall(r"\bperdure_[a-z_]+", expression))


def test_dashboard_and_alerts_read_what_is_exposed(exposition: str) -> None:
    exposed = set(re.findall(r"^(perdure_[a-z_]+)", exposition, re.M))
    # Looked up twice a minute, or only there once something has gone wrong.
    exposed |= {"perdure_instances_parked", "perdure_instances"}
    exposed |= {"perdure_queue_depth", "perdure_queue_age_seconds"}
    exposed |= {"perdure_session_losses_total", "perdure_turn_refusals_total"}
    exposed |= {"perdure_replay_events_bucket", "perdure_replay_duration_seconds_bucket"}
    dashboard = json.loads((DOCS / "grafana" / "dashboard.json").read_text())
    targets = [t for panel in dashboard["panels"] for t in panel.get("targets", [])]
    assert len(targets) >= 15
    for target in targets:
        assert names_in(target["expr"]), target
        assert names_in(target["expr"]) <= exposed, target["expr"]
    assert dashboard["templating"]["list"][0]["type"] == "datasource"
    ids = [panel["id"] for panel in dashboard["panels"]]
    assert len(ids) == len(set(ids))
    rules = yaml.safe_load((DOCS / "grafana" / "alerts.yml").read_text())
    for group in rules["groups"]:
        assert set(group) == {"name", "rules"}
        for rule in group["rules"]:
            assert set(rule) <= {"alert", "expr", "for", "labels", "annotations"}
            assert re.fullmatch(r"\d+[smh]", rule["for"])
            assert names_in(rule["expr"]) <= exposed, rule["expr"]
            assert names_in(rule["expr"])
            assert {"summary", "description"} <= set(rule["annotations"])
            assert rule["expr"].count("(") == rule["expr"].count(")")


def test_documentation_names_every_metric() -> None:
    source = (DOCS.parent / "runtime" / "perdure_runtime" / "otel" / "_metrics.py").read_text(
        encoding="utf-8"
    )
    made = set(re.findall(r'"(perdure\.[a-z.]+)"', source)) - {"perdure.runtime"}
    page = (DOCS / "observability.md").read_text(encoding="utf-8")
    listed = set(re.findall(r"^\| `(perdure\.[a-z.]+)` \|", page, re.M))
    assert listed == made


# --- health ---------------------------------------------------------------------------------


def test_health_of_a_worker() -> None:
    async def main() -> None:
        backend = MemoryBackend()
        async with Worker(backend, workflows=[fails], health=0, max_turns=10) as worker:
            url = worker.health_url
            assert url is not None
            assert url.startswith("http://127.0.0.1:")
            ask = asyncio.to_thread
            assert await ask(get, f"{url}/live") == (200, '{"live": true}\n')
            status, text = await ask(get, f"{url}/ready")
            assert (status, json.loads(text)["session"]) == (200, worker.session_id)
            client = Client(backend)
            for _ in range(25):
                await client.start(parent.options(queue="default"), 1)
            status, text = await ask(get, f"{url}/backlog")
            found = json.loads(text)
            assert (status, found["workers"]) == (200, 1)
            assert found["waiting"] == {"turns": 25, "activities": 0}
            assert found["slots"] == {"turns": 10, "activities": 100}
            assert found["backlog_per_slot"] == 2.5
            assert (await ask(get, f"{url}/nowhere"))[0] == 404
            assert (await ask(get, f"{url}/"))[1].startswith("/live")

            # A blocked loop is not alive.
            answers: list[Any] = []
            from threading import Thread

            import perdure_runtime._health as health

            patience, health._PATIENCE = health._PATIENCE, 0.05  # type: ignore[misc]
            thread = Thread(target=lambda: answers.append(get(f"{url}/live")))
            thread.start()
            while not answers:
                time.sleep(0.01)  # noqa: ASYNC251  (the loop is to be blocked)
            health._PATIENCE = patience  # type: ignore[misc]
            thread.join()
            assert answers[0][0] == 503

    asyncio.run(main())


def test_a_draining_worker_is_not_ready() -> None:
    started = asyncio.Event()
    goes_on = asyncio.Event()

    @activity
    async def slow() -> None:
        started.set()
        await goes_on.wait()

    @workflow
    async def uses_slow() -> None:
        await slow()

    async def main() -> None:
        backend = MemoryBackend()
        worker = Worker(backend, workflows=[uses_slow], activities=[slow], health=0)
        async with worker:
            await Client(backend).start(uses_slow)
            await started.wait()
            url = worker.health_url
            ending = asyncio.create_task(worker.__aexit__(None, None, None))
            await asyncio.sleep(0)
            status, text = await asyncio.to_thread(get, f"{url}/ready")
            assert (status, "draining" in text) == (503, True)
            assert (await asyncio.to_thread(get, f"{url}/live"))[0] == 200
            goes_on.set()
            await ending

    asyncio.run(main())


def test_wrong_and_taken_addresses() -> None:
    for address in ("x", "1:2:x", 70000, "host:"):
        with pytest.raises(InvalidOptionError, match="address"):
            Worker(MemoryBackend(), health=address)

    async def main() -> None:
        backend = MemoryBackend()
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
            with pytest.raises(InvalidOptionError, match="in use"):
                async with Worker(backend, workflows=[fails], health=port):
                    pass
        assert await backend.list_sessions() == []

    asyncio.run(main())
