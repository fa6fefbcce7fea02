"""The JSON API: what it shows and does, with and without a worker, and with trouble."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest
from openapi_spec_validator import validate
from perdure import BackendUnavailableError, DataConverter, workflow
from perdure_backends.memory import MemoryBackend
from perdure_backends.sqlite import SqliteBackend
from perdure_runtime import Client, Worker, connect, read_histories
from perdure_runtime.ui import create_app
from serving import BLIND, OPERATOR, VIEWER, Shop, access, alive, asking, served, shop, until
from shop import ACTIVITIES, WORKFLOWS, Order, checkout, count, reserve, retries, stuck, waits
from stores import STORES, store_url


async def settled(place: Shop, instance_id: str, state: str) -> dict[str, Any]:
    """The instance once it is in a state, as the API shows it."""
    async with place.as_(OPERATOR) as ask:
        found: dict[str, Any] = {}

        async def check() -> bool:
            answer = await ask.get("/api/instance", params={"id": instance_id})
            found.clear()
            found.update(answer.json())
            return found.get("state") == state

        await until(check)
        return found


def test_looking() -> None:
    async def main() -> None:
        async with shop() as place:
            await place.client.start(checkout.options(id="a"), Order("tea", express=True), 2)
            await place.client.start(checkout.options(id="b"), Order("yacht", net=900))
            await place.client.start(stuck.options(id="c"))
            await place.client.start(retries.options(id="d"))
            done = await settled(place, "a", "completed")
            assert done["result"] == "TEA, TEA"
            assert done["input"][0]["item"] == "tea"
            failed = await settled(place, "b", "failed")
            assert failed["failure"]["cause"]["message"] == "card declined"
            parked = await settled(place, "c", "parked")
            assert parked["parked"]["reason"] == "stuck"
            async with place.as_(VIEWER) as ask:
                overview = (await ask.get("/api/overview")).json()
                assert overview["states"]["failed"] == 1
                assert overview["parked"] == {"stuck": 1}
                assert len(overview["minutes"]) == 60
                page = (await ask.get("/api/instances", params={"limit": 3})).json()
                assert len(page["instances"]) == 3
                rest = await ask.get("/api/instances", params={"after": page["after"]})
                every = [one["id"] for one in (*page["instances"], *rest.json()["instances"])]
                assert sorted(one for one in every if len(one) == 1) == ["a", "b", "c", "d"]
                chosen = {"state": ["failed", "parked"], "workflow": "checkout"}
                found = (await ask.get("/api/instances", params=chosen)).json()["instances"]
                assert [one["id"] for one in found] == ["b"]

                async def retried() -> bool:
                    data = (await ask.get("/api/instance", params={"id": "d"})).json()
                    return any(one["last_failure"] for one in data["pending"]["activities"])

                await until(retried)
                history = (await ask.get("/api/instance/history", params={"id": "a"})).json()
                kinds = [event["type"] for turn in history["turns"] for event in turn["events"]]
                assert kinds[0] == "workflow_started"
                assert kinds[-1] == "workflow_completed"
                assert history["turns"][0]["events"][1]["line"].startswith("ui/shop.py:")
                short = await ask.get("/api/instance/history", params={"id": "a", "limit": 2})
                assert short.json()["after"] == 2
                rows = (await ask.get("/api/instance/timeline", params={"id": "a"})).json()["rows"]
                reserved = next(row for row in rows if row["label"] == "reserve")
                assert (reserved["state"], reserved["attempt"]) == ("completed", 2)
                tree = (await ask.get("/api/instance/tree", params={"id": "a"})).json()
                assert [one["workflow"] for one in tree["children"]] == ["pack", "pack"]
                below = tree["children"][0]["id"]
                assert (await ask.get("/api/instance/tree", params={"id": below})).json() == tree
                workers = (await ask.get("/api/workers")).json()["workers"]
                assert workers[0]["slots"] == {"turns": 100, "activities": 100}
                text = (await ask.get("/api/instance/export", params={"id": "a"})).text
                (run,) = read_histories(text.splitlines())
                assert (run.instance_id, len(run.turns)) == ("a", done["turn"])
                assert (await ask.get("/api/me")).json()["role"] == "viewer"

    asyncio.run(main())


@pytest.mark.parametrize("store", STORES)
def test_on_every_store(store: str, tmp_path: Path) -> None:
    async def main() -> None:
        async with connect(store_url(store, tmp_path)) as backend, shop(backend) as place:
            await place.client.start(checkout.options(id="a"), Order("tea", express=True))
            await place.client.start(stuck.options(id="b"))
            await settled(place, "a", "completed")
            await settled(place, "b", "parked")
            async with place.as_(OPERATOR) as ask:
                ended = {"id": "b"}
                await ask.post("/api/instance/terminate", params=ended, json={"reason": "stuck"})
                overview = (await ask.get("/api/overview")).json()
                assert overview["states"] == {"completed": 2, "terminated": 1}
                found = await ask.get("/api/instances", params={"state": "terminated"})
                assert [one["id"] for one in found.json()["instances"]] == ["b"]
                (entry,) = (await ask.get("/api/audit")).json()["entries"]
                assert (entry["action"], entry["reason"]) == ("terminate", "stuck")

                async def published() -> bool:
                    return bool((await ask.get("/api/schemas")).json()["workflows"])

                await until(published)
                for path in ("/", "/instances", "/instance?id=a", "/start?workflow=checkout@1"):
                    assert (await ask.get(path)).status_code == 200, path

    asyncio.run(main())


def test_acting() -> None:
    async def main() -> None:
        async with shop() as place, place.as_(OPERATOR) as ask:
            body = {"workflow": "checkout", "arguments": [{"item": "tea"}], "id": "x"}
            started = await ask.post("/api/instances", json=body)
            assert (started.status_code, started.json()["id"]) == (201, "x")
            again = await ask.post("/api/instances", json=body)
            assert (again.status_code, again.json()["error"]["type"]) == (
                409,
                "InstanceExistsError",
            )
            at = {"id": "x"}

            async def waiting() -> bool:
                asked = await ask.get("/api/instance/query", params={**at, "name": "progress"})
                return bool(asked.json().get("answer") == "waiting for approval")

            await until(waiting)
            changed = await ask.post(
                "/api/instance/update", params=at, json={"name": "price", "argument": 5}
            )
            assert changed.json()["result"] == 105
            stacks = (await ask.get("/api/instance/stacks", params=at)).json()["stacks"]
            assert stacks[0].startswith("main at ")
            assert "shop.py" in stacks[0]
            halted = await ask.post("/api/instance/suspend", params=at, json={"reason": "wait"})
            assert halted.json()["state"] == "suspended"
            await ask.post("/api/instance/resume", params=at)
            sent = {"name": "approval", "payload": "ann", "reason": "she said so"}
            assert (await ask.post("/api/instance/signal", params=at, json=sent)).json()["accepted"]
            result = await ask.get("/api/instance/result", params={**at, "timeout": 10})
            assert result.json() == {"id": "x", "result": "approved by ann"}
            over = await ask.post("/api/instance/terminate", params=at)
            assert over.status_code == 409
            removed = await ask.post("/api/instance/remove", params=at, json={"reason": "tidy"})
            assert removed.json()["state"] == "removed"
            assert (await ask.get("/api/instance", params=at)).status_code == 404
            limited = await ask.post("/api/queue/limit", json={"queue": "q", "per_second": 2})
            assert limited.json() == {"queue": "q", "per_second": 2}
            entries = (await ask.get("/api/audit")).json()["entries"]
            said = [(one["action"], one["by"], one["outcome"]) for one in reversed(entries)]
            assert said == [
                ("start", "olga", "done"),
                ("start", "olga", "InstanceExistsError"),
                ("update", "olga", "done"),
                ("suspend", "olga", "done"),
                ("resume", "olga", "done"),
                ("signal", "olga", "done"),
                ("terminate", "olga", "InstanceFinishedError"),
                ("remove", "olga", "done"),
                ("limit", "olga", "done"),
            ]
            assert {one["reason"] for one in entries} >= {"wait", "she said so", "tidy"}
            assert "ann" not in json.dumps(entries)  # payloads are not in it
            page = (await ask.get("/api/audit", params={"limit": 4})).json()
            more = (await ask.get("/api/audit", params={"after": page["after"]})).json()
            assert page["entries"] + more["entries"] == entries

    asyncio.run(main())


def test_published_schemas() -> None:
    async def main() -> None:
        async with shop() as place, place.as_(VIEWER) as ask:

            async def there() -> bool:
                return bool((await ask.get("/api/schemas")).json()["workflows"])

            await until(there)
            found = {
                one["workflow"]: one for one in (await ask.get("/api/schemas")).json()["workflows"]
            }
            known = found["checkout"]
            assert known["doc"].startswith("Takes an order")
            assert [one["name"] for one in known["parameters"]] == ["order", "copies"]
            assert known["parameters"][1]["schema"] == {"type": "integer", "default": 1}
            assert known["signals"] == {"approval": {"argument": {"type": "string"}}}
            assert known["updates"]["price"]["result"] == {"type": "integer"}
            assert list(known["queries"]) == ["progress"]
            assert "signals" not in found["pack"]

    asyncio.run(main())


def test_bad_requests() -> None:
    async def main() -> None:
        async with shop(worker=False) as place, place.as_(OPERATOR) as ask:
            await place.client.start(checkout.options(id="x"), Order("tea"))
            for method, path, body, status in (
                ("GET", "/api/instance", None, 400),
                ("GET", "/api/instance?id=nobody", None, 404),
                ("GET", "/api/instance/history?id=x&after=minus", None, 400),
                ("GET", "/api/instances?since=yesterday", None, 400),
                ("GET", "/api/instances?state=nonsense", None, 400),
                ("GET", "/api/instances?after=nonsense", None, 400),
                ("GET", "/api/nowhere", None, 404),
                ("DELETE", "/api/instances", None, 405),
                ("POST", "/api/instances", b"{", 400),
                ("POST", "/api/instances", b"[]", 400),
                ("POST", "/api/instances", b"{}", 400),
                ("POST", "/api/instances", b'{"workflow": "x", "arguments": {}}', 400),
                ("POST", "/api/instances", b'{"workflow": "x", "id": "a\\u0000b"}', 400),
                ("POST", "/api/instances", b"x" * (5 * 1024 * 1024), 413),
                ("POST", "/api/instance/signal?id=x", b"{}", 400),
                ("POST", "/api/instance/signal?id=nobody", b'{"name": "s"}', 404),
                ("POST", "/api/instance/explode?id=x", b"{}", 404),
                ("GET", "/api/instance/query?id=x&name=progress&timeout=1", None, 504),
                ("GET", "/api/instance/result?id=x&timeout=1", None, 504),
            ):
                answer = await ask.request(method, path, content=body)
                assert answer.status_code == status, (path, answer.text)
                assert answer.json()["error"]["message"], path

    asyncio.run(main())


def test_the_description_is_openapi_and_complete() -> None:
    async def main() -> None:
        async with shop(worker=False) as place, place.as_(VIEWER) as ask:
            document = (await ask.get("/api/openapi.json")).json()
            validate(document)
            from perdure_runtime.ui._api import routes

            served_paths = {
                (route.path, method.lower())
                for route in routes()
                for method in route.methods or ()
                if method != "HEAD"
            }
            described = {
                (path, method) for path, item in document["paths"].items() for method in item
            }
            assert described == served_paths

    asyncio.run(main())


def test_code_that_does_not_fit_is_shown_beside_the_history() -> None:
    async def main() -> None:
        backend = MemoryBackend()
        async with Worker(backend, workflows=[waits], build="old"):
            handle = await Client(backend).start(waits.options(id="w"), 30)

            async def asleep() -> bool:
                return bool((await handle.pending()).timers)

            await until(asleep)

        @workflow(name="waits")
        async def changed(days: int) -> None:
            await reserve("time")

        async with Worker(backend, workflows=[changed], activities=[reserve], build="new"):
            await handle.cancel("wake up")

            async def parked() -> bool:
                return await handle.state() == "parked"

            await until(parked)
        async with shop(backend, worker=False) as place, place.as_(VIEWER) as ask:
            data = (await ask.get("/api/instance", params={"id": "w"})).json()["parked"]
            assert data["reason"] == "mismatch"
            assert "timer" in data["details"]["expected"]
            assert "reserve" in data["details"]["actual"]
            page = (await ask.get("/instance", params={"id": "w"})).text
            assert "The history expects" in page
            assert "then at ui/shop.py:" in page
            assert "test_api.py:" in page

    asyncio.run(main())


def test_replays_are_on_the_timeline() -> None:
    async def main() -> None:
        backend = MemoryBackend()
        async with Worker(backend, workflows=WORKFLOWS, activities=ACTIVITIES, cache_size=0):
            await Client(backend).run(checkout.options(id="x"), Order("tea", express=True))
        async with shop(backend, worker=False) as place, place.as_(VIEWER) as ask:
            rows = (await ask.get("/api/instance/timeline", params={"id": "x"})).json()["rows"]
            kinds = [row["kind"] for row in rows]
            assert kinds.count("replay") >= 3
            assert kinds[0] == "start"
            assert kinds[-1] == "end"

    asyncio.run(main())


def test_large_payloads_are_cut_on_the_page() -> None:
    async def main() -> None:
        async with shop(worker=False) as place, place.as_(VIEWER) as ask:
            await place.client.start(checkout.options(id="x"), Order("tea" * 300_000))
            page = await ask.get("/instance", params={"id": "x"})
            assert len(page.content) < 100_000
            assert "more characters" in page.text
            assert len((await ask.get("/instances")).content) < 100_000
            whole = (await ask.get("/api/instance", params={"id": "x"})).json()
            assert len(whole["input"][0]["item"]) == 900_000

    asyncio.run(main())


def test_without_starlette_around_it() -> None:
    """As another server, or Django, hands on what is below a path."""

    async def main() -> None:
        page = create_app(MemoryBackend(), access=access())

        async def whole(scope: Any, receive: Any, send: Any) -> None:
            if scope["type"] == "http" and scope["path"].startswith("/perdure/"):
                await page({**scope, "root_path": "/perdure"}, receive, send)

        async with asking(whole) as ask:
            answer = await ask.get("/perdure/instances")
            assert answer.status_code == 200
            assert 'href="/perdure/audit"' in answer.text
            assert (await ask.get("/perdure/api/me")).json()["name"] == "olga"
            assert (await ask.get("/perdure/static/app.css")).status_code == 200

    asyncio.run(main())


def test_what_continues_is_linked() -> None:
    async def main() -> None:
        async with shop() as place, place.as_(VIEWER) as ask:
            await place.client.run(count.options(id="n"), 2)
            params = {"prefix": "n", "all_runs": "1"}
            runs = (await ask.get("/api/instances", params=params)).json()["instances"]
            assert [one["state"] for one in runs] == [
                "completed",
                "continued_as_new",
                "continued_as_new",
            ]
            last, middle, first = runs
            assert (first["continued_to"], last["continued_from"]) == (
                middle["run_id"],
                middle["run_id"],
            )
            one = await ask.get("/api/instance", params={"id": "n", "run": first["run_id"]})
            assert one.json()["input"] == [2]

    asyncio.run(main())


def test_payloads_are_hidden_or_redacted() -> None:
    class Backwards:
        name = "backwards"

        def wrap(self, payload: bytes, /) -> bytes:
            return payload[::-1]

        def unwrap(self, stored: bytes, /) -> bytes:
            return stored[::-1]

    def redact(value: Any, what: str) -> Any:
        if what == "input":
            return [{**one, "item": "•••"} if isinstance(one, dict) else one for one in value]
        return value

    async def main() -> None:
        backend = MemoryBackend()
        converter = DataConverter(codecs=[Backwards()])
        client = Client(backend, converter=converter)
        await client.start(checkout.options(id="x"), Order("secret tea"))
        app = create_app(backend, access=access(), converter=converter, redact=redact)
        blank = create_app(backend, access=access())
        at = {"id": "x"}
        async with asking(app, VIEWER) as ask:
            assert (await ask.get("/api/instance", params=at)).json()["input"][0]["item"] == "•••"
            assert "secret tea" not in (await ask.get("/instance", params=at)).text
        async with asking(app, BLIND) as ask:
            shown = (await ask.get("/api/instance", params=at)).json()["input"]
            assert list(shown) == ["hidden"]
            assert "tea" not in (await ask.get("/instance", params=at)).text
            assert (await ask.get("/api/instance/export", params=at)).status_code == 400
        async with asking(blank, OPERATOR) as ask:  # the codec is not configured here
            shown = (await ask.get("/api/instance", params=at)).json()["input"]
            assert "backwards" in shown["unreadable"]
            assert (await ask.get("/instance", params=at)).status_code == 200

    asyncio.run(main())


def test_with_histories_that_do_not_decode(tmp_path: Path) -> None:
    async def main() -> None:
        path = tmp_path / "x.db"
        backend = SqliteBackend(str(path), synchronous="NORMAL")
        await backend.open()
        try:
            async with shop(backend) as place:
                await place.client.start(checkout.options(id="x"), Order("tea", express=True))
                await settled(place, "x", "completed")
            import sqlite3

            with sqlite3.connect(path) as other:
                other.execute("UPDATE history SET record = x'95630102' WHERE turn = 2")
                other.execute("UPDATE starts SET started = x'00'")
            other.close()
            async with shop(backend, worker=False) as place, place.as_(VIEWER) as ask:
                data = (await ask.get("/api/instance", params={"id": "x"})).json()
                assert (data["state"], data["input"]) == ("completed", None)
                history = (await ask.get("/api/instance/history", params={"id": "x"})).json()
                assert [turn["turn"] for turn in history["turns"]] == [1]
                assert "newer version" in history["unreadable"]
                page = await ask.get("/instance", params={"id": "x"})
                assert page.status_code == 200
                assert "newer version" in page.text
        finally:
            await backend.aclose()

    asyncio.run(main())


def test_with_a_store_that_goes_away_and_comes_back() -> None:
    class Flaky(MemoryBackend):
        away = False

        async def overview(self, most: int) -> Any:
            if self.away:
                raise BackendUnavailableError("memory:// is out of reach")
            return await super().overview(most)

        async def describe(self, instance_id: str, run_id: str | None = None) -> Any:
            if self.away:
                raise BackendUnavailableError("memory:// is out of reach")
            return await super().describe(instance_id, run_id)

    async def main() -> None:
        backend = Flaky()
        async with shop(backend, worker=False) as place, place.as_(OPERATOR) as ask:
            await place.client.start(checkout.options(id="x"), Order("tea"))
            for away, status in ((False, 200), (True, 503), (False, 200)):
                backend.away = away
                for path in ("/", "/api/overview", "/instance?id=x", "/api/instance?id=x"):
                    answer = await ask.get(path)
                    assert answer.status_code == status, path
                    assert ("out of reach" in answer.text) is away

    asyncio.run(main())


def test_a_store_that_can_not_be_opened_is_tried_again(tmp_path: Path) -> None:
    async def main() -> None:
        folder = tmp_path / "later"
        app = create_app(f"sqlite:///{folder}/x.db", access=access())
        async with alive(app), asking(app) as ask:
            answer = await ask.get("/")
            assert answer.status_code == 503
            folder.mkdir()
            assert (await ask.get("/")).status_code == 200

    asyncio.run(main())


# --- the command line over the API ----------------------------------------------------------


def perdure(*arguments: str, server: str, token: str | None = OPERATOR) -> tuple[int, str, str]:
    """Code, output and errors of a command."""
    command = [sys.executable, "-m", "perdure_runtime.cli", *arguments, "--server", server]
    if token is not None:
        command += ["--token", token]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    return done.returncode, done.stdout, done.stderr


def test_the_command_line_over_a_server(tmp_path: Path) -> None:
    with served(f"sqlite:///{tmp_path}/x.db?synchronous=NORMAL") as page:

        def do(*arguments: str, code: int = 0) -> str:
            found, out, problem = perdure(*arguments, server=page.url)
            assert found == code, problem
            return out if code == 0 else problem

        assert do("start", "checkout", '{"item": "tea"}', "--id", "x") == "x\n"
        assert "waits" not in do("list", "--state", "running")
        assert do("signal", "x", "approval", '"bo"') == "accepted\n"
        assert do("result", "x", "--timeout", "20") == '"approved by bo"\n'
        shown = json.loads(do("show", "x", "--json"))
        assert (shown["state"], len(shown["history"])) == ("completed", shown["turn"])
        assert "workflow_completed" in do("show", "x")
        assert json.loads(do("workers", "--json"))[0]["queues"] == ["default"]
        assert do("remove", "x", "--reason", "tidy") == "removed\n"
        assert "there is no instance" in do("show", "x", code=1)
        assert "no instances" in do("list", "--prefix", "zzz")
        code, _, problem = perdure("list", server=page.url, token=None)
        assert (code, "PERDURE_TOKEN" in problem) == (1, True)
        link = f"{page.url}/login?token={VIEWER}"
        assert perdure("list", server=link, token=None)[0] == 0
        code, _, problem = perdure("terminate", "x", server=link, token=None)
        assert (code, "operator" in problem) == (1, True)
    assert perdure("list", server=page.url)[0] == 3  # nobody answers any more
    assert perdure("list", server="ftp://x")[0] == 1


@pytest.mark.parametrize("options", [["--host", "0.0.0.0"], ["--users", "nowhere.toml"]])
def test_the_page_is_not_served_carelessly(tmp_path: Path, options: list[str]) -> None:
    command = [sys.executable, "-m", "perdure_runtime.cli", "ui", "--port", "0"]
    done = subprocess.run(
        [*command, "--backend", f"sqlite:///{tmp_path}/x.db", *options],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    assert "--users" in done.stderr or "nowhere.toml" in done.stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_page_ends_in_good_order(tmp_path: Path, number: signal.Signals) -> None:
    """Also while a browser follows it."""
    command = [sys.executable, "-m", "perdure_runtime.cli", "ui", "--port", "0"]
    with subprocess.Popen(
        [*command, "--backend", f"sqlite:///{tmp_path}/x.db", "--token", OPERATOR],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as page:
        assert page.stdout is not None
        link = page.stdout.readline().split(" at ")[1].partition("login")[0]
        headers = {"Authorization": f"Bearer {OPERATOR}"}
        with httpx.stream("GET", f"{link}events?page=audit", headers=headers) as events:
            assert next(events.iter_lines()) == "retry: 3000"
            page.send_signal(number)
            assert page.wait(20) == 0
        assert "Traceback" not in page.communicate()[1]
