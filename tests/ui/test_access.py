"""Who gets in and what they may do, tried as an attacker would."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from typing import Any

import httpx
import pytest
from perdure import UsageError
from perdure_backends.memory import MemoryBackend
from perdure_runtime.ui import Access, Proxy, User, create_app, hash_password, read_access
from perdure_runtime.ui._access import SESSION_COOKIE, check_password
from serving import OPERATOR, VIEWER, access, asking, shop
from shop import Order, checkout
from starlette.applications import Starlette
from starlette.requests import HTTPConnection
from starlette.routing import Mount

EVIL = '"><script>alert(1)</script><img src=x onerror=alert(2)>'


class Clock:
    """Seconds that pass when the test says so."""

    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


def with_passwords(**more: Any) -> Access:
    return Access(
        users={
            "ann": (hash_password("correct horse"), User("ann", "operator")),
            "vic": (hash_password("battery staple"), User("vic", "viewer")),
        },
        **more,
    )


def csrf_of(page: str) -> str:
    """The token in a page's forms."""
    found = re.search(r'name="csrf" value="([0-9a-f]+)"', page)
    assert found is not None
    return found[1]


async def log_in(ask: httpx.AsyncClient, name: str, password: str) -> httpx.Response:
    return await ask.post("/login", data={"name": name, "password": password})


def test_nobody_gets_in_without_a_word() -> None:
    async def main() -> None:
        async with shop(worker=False) as place, place.as_(None) as ask:
            for path in ("/", "/instances", "/instance?id=x", "/start", "/audit", "/export?id=x"):
                answer = await ask.get(path)
                assert answer.status_code == 303, path
                assert answer.headers["location"].startswith("/login?next=")
            for path in ("/api/overview", "/api/instances", "/api/openapi.json", "/events"):
                answer = await ask.get(path)
                assert answer.status_code == 401, path
            assert (await ask.post("/act", data={})).status_code == 401
            assert (await ask.post("/api/instances", json={})).status_code == 401
            for token in ("", "wrong", OPERATOR[:-1], OPERATOR + "x"):
                headers = {"Authorization": f"Bearer {token}"}
                assert (await ask.get("/api/overview", headers=headers)).status_code == 401
            assert (await ask.get("/login")).status_code == 200
            assert (await ask.get("/static/app.css")).status_code == 200
            assert (await ask.get("/static/../_access.py")).status_code in (303, 404)
            assert (await ask.get("/static/%2e%2e/_access.py")).status_code == 404

    asyncio.run(main())


def test_a_viewer_looks_and_does_not_touch() -> None:
    async def main() -> None:
        async with shop(worker=False) as place, place.as_(VIEWER) as ask:
            await place.client.start(checkout.options(id="x"), Order("tea"))
            page = await ask.get("/instance?id=x")
            assert page.status_code == 200
            assert "Terminate" not in page.text
            token = csrf_of(page.text)
            for path in ("/start", "/act?action=terminate&id=x", "/message?kind=signal&id=x"):
                assert (await ask.get(path)).status_code == 403, path
            form = {"csrf": token, "id": "x", "action": "terminate", "reason": "because"}
            assert (await ask.post("/act", data=form)).status_code == 403
            form = {"csrf": token, "id": "x", "kind": "signal", "name": "approval", "p0": "me"}
            assert (await ask.post("/message", data=form)).status_code == 403
            form = {"csrf": token, "other": "checkout", "json": "[]"}
            assert (await ask.post("/start", data=form)).status_code == 403
            for action in ("terminate", "cancel", "suspend", "resume", "unpark", "remove"):
                answer = await ask.post(f"/api/instance/{action}?id=x", json={})
                assert answer.status_code == 403, action
            assert (await ask.post("/api/instances", json={"workflow": "pack"})).status_code == 403
            assert (await ask.post("/api/queue/limit", json={"queue": "q"})).status_code == 403
            assert await place.client.handle_by_id("x").state() == "running"
            assert (await ask.get("/message?kind=query&id=x")).status_code == 200

    asyncio.run(main())


def test_read_only_holds_for_operators_too() -> None:
    async def main() -> None:
        async with shop(worker=False, read_only=True) as place, place.as_(OPERATOR) as ask:
            assert (await ask.get("/start")).status_code == 403
            assert (await ask.post("/api/instances", json={"workflow": "x"})).status_code == 403

    asyncio.run(main())


def test_sessions_and_forms() -> None:
    async def main() -> None:
        clock = Clock()
        async with shop(worker=False, access=with_passwords(clock=clock)) as place:
            await place.client.start(checkout.options(id="x"), Order("tea"))
            async with place.as_(None) as ask:
                answer = await log_in(ask, "ann", "correct horse")
                assert (answer.status_code, answer.headers["location"]) == (303, "/")
                cookie = answer.headers["set-cookie"]
                assert "HttpOnly" in cookie
                assert "SameSite=strict" in cookie
                assert "correct" not in cookie
                page = await ask.get("/act?action=terminate&id=x")
                token = csrf_of(page.text)
                form = {"id": "x", "action": "terminate", "reason": "because"}
                # A foreign page can send the cookie, but does not know the form's token.
                for wrong in ({}, {"csrf": ""}, {"csrf": "0" * 64}):
                    answer = await ask.post("/act", data={**form, **wrong})
                    assert answer.status_code == 403
                answer = await ask.post("/api/instance/terminate?id=x", json={})
                assert answer.status_code == 403
                # And a browser says where a request comes from.
                for headers in (
                    {"Origin": "https://evil.example"},
                    {"Sec-Fetch-Site": "cross-site"},
                ):
                    answer = await ask.post("/act", data={**form, "csrf": token}, headers=headers)
                    assert answer.status_code == 403
                # Nor is the token of another session good.
                async with place.as_(None) as other:
                    await log_in(other, "ann", "correct horse")
                    foreign = csrf_of((await other.get("/")).text)
                    assert foreign != token
                    answer = await ask.post("/act", data={**form, "csrf": foreign})
                    assert answer.status_code == 403
                assert await place.client.handle_by_id("x").state() == "running"
                own = {"X-CSRF-Token": token}
                answer = await ask.post("/api/instance/suspend?id=x", json={}, headers=own)
                assert answer.status_code == 200
                answer = await ask.post("/act", data={**form, "csrf": token})
                assert answer.status_code == 303
                assert await place.client.handle_by_id("x").state() == "terminated"
                # A session that was changed, or is too old, is none.
                value = ask.cookies[SESSION_COOKIE]
                body, _, signature = value.partition(".")
                for forged in (f"{body}x.{signature}", f"{body}.{signature[:-1]}0", body, "x.y"):
                    headers = {"Cookie": f"{SESSION_COOKIE}={forged}"}
                    async with place.as_(None) as thief:
                        assert (await thief.get("/", headers=headers)).status_code == 303
                clock.now += 13 * 3600
                assert (await ask.get("/")).status_code == 303
                clock.now -= 13 * 3600
                answer = await ask.post("/logout", data={"csrf": token})
                assert answer.headers["location"] == "/login"
                assert (await ask.get("/")).status_code == 303

    asyncio.run(main())


def test_guessing_is_slowed_down() -> None:
    async def main() -> None:
        clock = Clock()
        async with shop(worker=False, access=with_passwords(clock=clock)) as place:
            async with place.as_(None) as ask:
                for number in range(5):
                    answer = await log_in(ask, "ann" if number % 2 else "nobody", "wrong")
                    assert answer.status_code == 401
                answer = await log_in(ask, "ann", "correct horse")
                assert answer.status_code == 429
                assert 0 < int(answer.headers["retry-after"]) <= 61
                answer = await ask.get("/login?token=guess")
                assert answer.status_code == 429
                clock.now += 61
                assert (await log_in(ask, "ann", "correct horse")).status_code == 303
            # Others are not locked out with them.
            app = place.app
            for _ in range(6):
                async with asking(app, None) as ask:
                    await log_in(ask, "ann", "wrong")
            async with asking(app, None, client=("10.9.9.9", 1)) as ask:
                assert (await log_in(ask, "ann", "correct horse")).status_code == 303

    asyncio.run(main())


def test_the_link_with_a_token() -> None:
    async def main() -> None:
        async with shop(worker=False) as place, place.as_(None) as ask:
            assert (await ask.get("/login?token=wrong")).status_code == 401
            answer = await ask.get(f"/login?token={OPERATOR}")
            assert (answer.status_code, answer.headers["location"]) == (303, "/")
            page = await ask.get("/")
            assert page.status_code == 200
            assert OPERATOR not in page.text

    asyncio.run(main())


@pytest.mark.parametrize(
    "target",
    ["https://evil.example/", "//evil.example/", "/\\evil.example", "javascript:alert(1)", ""],
)
def test_the_login_leads_nowhere_else(target: str) -> None:
    async def main() -> None:
        async with shop(worker=False) as place, place.as_(None) as ask:
            answer = await ask.get("/login", params={"token": OPERATOR, "next": target})
            assert answer.headers["location"] == "/"
            answer = await ask.get("/login", params={"token": OPERATOR, "next": "/audit"})
            assert answer.headers["location"] == "/audit"

    asyncio.run(main())


def test_what_stands_around_every_answer() -> None:
    async def main() -> None:
        async with shop(worker=False) as place, place.as_(OPERATOR) as ask:
            for path in ("/", "/nowhere", "/api/overview", "/static/app.js", "/login"):
                headers = (await ask.get(path)).headers
                policy = headers["content-security-policy"]
                assert "default-src 'none'" in policy
                assert "unsafe" not in policy
                assert headers["x-content-type-options"] == "nosniff"
                assert headers["x-frame-options"] == "DENY"
                assert headers["referrer-policy"] == "same-origin"
            for path in ("/", "/instances", "/start", "/audit"):
                text = (await ask.get(path)).text
                assert "<style" not in text
                assert not re.search(r"<script(?![^>]*\bsrc=)", text)
                assert not re.search(r"\son\w+=", text)
                assert not re.search(r'\sstyle="', text)

    asyncio.run(main())


def test_hostile_text_stays_text() -> None:
    async def main() -> None:
        async with shop() as place, place.as_(OPERATOR) as ask:
            await place.client.start(checkout.options(id=EVIL, queue="default"), Order(EVIL))
            await place.client.start_by_name(EVIL, id="y", queue=EVIL)
            await ask.post(
                "/api/instance/signal", params={"id": EVIL}, json={"name": EVIL, "reason": EVIL}
            )
            await asyncio.sleep(0.2)
            for path, query in (
                ("/", {}),
                ("/instances", {}),
                (
                    "/instances",
                    {"workflow": EVIL, "prefix": EVIL, "queue": EVIL, "state": "failed"},
                ),
                ("/instances", {"since": EVIL}),
                ("/instance", {"id": EVIL}),
                ("/instance", {"id": "nobody" + EVIL}),
                ("/code", {"id": EVIL}),
                ("/act", {"id": EVIL, "action": "terminate"}),
                ("/act", {"id": EVIL, "action": EVIL}),
                ("/message", {"id": EVIL, "kind": "signal", "name": EVIL}),
                ("/start", {"workflow": EVIL}),
                ("/audit", {}),
                (f"/{EVIL}", {}),
            ):
                text = (await ask.get(path, params=query)).text
                assert "<script>" not in text, path
                assert "<img" not in text, path
            answer = await ask.get("/api/instance", params={"id": EVIL})
            assert answer.headers["content-type"] == "application/json"

    asyncio.run(main())


def test_only_named_proxies_are_believed() -> None:
    async def main() -> None:
        proxy = Proxy(("10.0.0.0/30",), role_header="X-Role")
        app = create_app(MemoryBackend(), access=Access(proxy=proxy))
        said = {"X-Forwarded-User": "ann", "X-Role": "operator"}
        for client, headers, status in (
            ("10.0.0.2", said, 200),
            ("10.0.0.2", {"X-Role": "operator"}, 401),
            ("10.0.0.9", said, 401),
            ("127.0.0.1", said, 401),
            ("nonsense", said, 401),
        ):
            async with asking(app, None, client=(client, 1)) as ask:
                answer = await ask.get("/api/me", headers=headers)
                assert answer.status_code == status, (client, headers)
                if status == 200:
                    assert (answer.json()["name"], answer.json()["role"]) == ("ann", "operator")
        async with asking(app, None, client=("10.0.0.2", 1)) as ask:
            headers = {**said, "X-Role": "root"}
            assert (await ask.get("/api/me", headers=headers)).json()["role"] == "viewer"

    asyncio.run(main())


def test_foreign_names_for_loopback_are_refused() -> None:
    async def main() -> None:
        app = create_app(MemoryBackend(), access=access(), hosts=["127.0.0.1", "localhost", "::1"])
        async with asking(app) as ask:
            for host, status in (
                ("127.0.0.1:8233", 200),
                ("localhost", 200),
                ("[::1]:8233", 200),
                ("evil.example", 421),
                ("127.0.0.1.evil.example:8233", 421),
                ("", 421),
            ):
                answer = await ask.get("/api/me", headers={"Host": host})
                assert answer.status_code == status, host

    asyncio.run(main())


def test_mounted_below_another_app() -> None:
    async def main() -> None:
        def identify(request: Any) -> User | None:
            return User("ann", "operator") if request.headers.get("x-login") == "yes" else None

        page = create_app(MemoryBackend(), access=Access(identify=identify))
        app = Starlette(routes=[Mount("/tools/perdure", page)])
        async with asking(app, None) as ask:
            answer = await ask.get("/tools/perdure/")
            assert answer.headers["location"].startswith("/tools/perdure/login?next=")
            headers = {"X-Login": "yes"}
            text = (await ask.get("/tools/perdure/instances", headers=headers)).text
            links = set(re.findall(r'(?:href|src|action)="([^"]*)"', text))
            assert len(links) > 5
            assert [one for one in links if not one.startswith(("/tools/perdure/", "#"))] == []
            form = {"csrf": csrf_of(text), "other": "pack", "json": '["x"]', "queue": "default"}
            answer = await ask.post("/tools/perdure/start", data=form, headers=headers)
            assert answer.headers["location"].startswith("/tools/perdure/instance?id=")
            document = (await ask.get("/tools/perdure/api/openapi.json", headers=headers)).json()
            assert document["servers"] == [{"url": "/tools/perdure/api"}]

    asyncio.run(main())


def test_passwords_are_kept_as_hashes() -> None:
    stored = hash_password("pässword")
    assert stored != hash_password("pässword")
    assert check_password("pässword", stored)
    assert not check_password("password", stored)
    for broken in ("", "scrypt$", "scrypt$zz$zz", "md5$00$00", "pässword"):
        assert not check_password("pässword", broken)


GOOD = f"""
secret = "{"s" * 32}"
[users.ann]
password = "{hash_password("x")}"
role = "operator"
[users.vic]
password = "{hash_password("y")}"
payloads = false
[tokens.deploy]
token = "0123456789abcdef"
role = "operator"
[proxy]
addresses = ["10.0.0.5/32"]
"""


def test_access_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "users.toml"
    path.write_text(GOOD)
    found = read_access(path)
    assert found.by_password("ann", "x", "here") == User("ann", "operator")
    assert found.by_password("vic", "y", "here") == User("vic", "viewer", payloads=False)
    assert found.by_token("0123456789abcdef", "here") == User("deploy", "operator")
    # With a secret of its own, sessions outlive the process, as long as their user is in the file.
    session = found.session(User("ann", "operator"))
    asked = HTTPConnection(
        {"type": "http", "headers": [(b"cookie", f"{SESSION_COOKIE}={session}".encode())]}
    )
    assert read_access(path).user(asked) == User("ann", "operator")
    path.write_text(GOOD.replace('role = "operator"', 'role = "viewer"', 1))
    assert read_access(path).user(asked) == User("ann", "viewer")
    path.write_text(GOOD.replace("users.ann", "users.other"))
    assert read_access(path).user(asked) is None
    for wrong, message in (
        ("nonsense", "users.toml"),
        ("", "nobody could get in"),
        ("[users.ann]\npassword = 'plain'", "hash-password"),
        ("[users.ann]\nrole = 'root'\npassword = 'scrypt$00$00'", "viewer or operator"),
        ("[users.ann]\npasword = 'x'", "unknown pasword"),
        ("[tokens.t]\ntoken = 'short'", "16 characters"),
        ("[proxy]\nuser_header = 'X'", "addresses"),
        ("[proxy]\naddresses = ['nowhere']", "nowhere"),
        ("secret = 'short'\n[tokens.t]\ntoken = '0123456789abcdef'", "32 characters"),
        ("users = 3", "table"),
    ):
        path.write_text(wrong)
        with pytest.raises(UsageError, match=message):
            read_access(path)
    with pytest.raises(UsageError, match="nowhere"):
        read_access(tmp_path / "nowhere")
