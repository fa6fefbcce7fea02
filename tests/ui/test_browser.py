"""The page in a real browser: browse, filter, follow, act, in each role."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
from axe_core_python.sync_playwright import Axe  # type: ignore[import-untyped]
from browsing import Watched, browser
from perdure_backends import Documents
from perdure_backends.records import Document
from perdure_runtime import Client
from perdure_runtime._schemas import SCHEMAS, Published, key_of
from playwright.sync_api import Browser, Page, expect
from serving import BLIND, OPERATOR, VIEWER, Served, served
from shop import Order, approval, checkout, retries, stuck
from stores import store_url

EVIL = '<script>document.title="owned"</script><img src=x onerror="document.title=\'owned\'">'

# It is said for a moment only, and the next update says something else.
NOTE_COPIED = """() => {
    window.copied = new Promise((done) => {
        const look = () => live.textContent === "copied" && done("copied");
        new MutationObserver(look).observe(live, {childList: true});
    });
}"""


expect.set_options(timeout=20_000)  # beside the rest of the suite, on two cores


@pytest.fixture(scope="module")
def chrome() -> Generator[Browser]:
    with browser() as started:
        yield started


@pytest.fixture(params=["sqlite", "postgres"])
def page(request: pytest.FixtureRequest, tmp_path: Path) -> Generator[Served]:
    with served(store_url(request.param, tmp_path)) as found:
        yield found


@contextmanager
def looking(
    chrome: Browser, page: Served, token: str = OPERATOR, **options: Any
) -> Generator[Watched]:
    """A browser's tab; at its end, the browser has nothing to complain about."""
    options = {"viewport": {"width": 1200, "height": 900}, "timezone_id": "Asia/Tokyo", **options}
    context = chrome.new_context(locale="en-GB", **options)
    try:
        watched = Watched(context, page.url, token)
        yield watched
        assert watched.complaints == []
    finally:
        context.close()


def start(page: Served, call: Any, *arguments: Any) -> None:
    async def go() -> None:
        assert page.backend is not None
        await Client(page.backend).start(call, *arguments)

    page.run(go())


def choose(view: Page, label: str, option: str, heading: str) -> None:
    """Chooses from a list that shows its form at once."""
    expect(view.get_by_label(label, exact=True)).to_be_visible()
    expect(view.locator("#theme")).to_be_visible()  # the page's script is there
    view.get_by_label(label, exact=True).select_option(option)
    expect(view.get_by_role("heading", name=heading)).to_be_visible()


def test_browse_filter_and_follow(chrome: Browser, page: Served) -> None:
    start(page, checkout.options(id="tea-1"), Order("tea"), 2)
    start(page, checkout.options(id="yacht-1"), Order("yacht", net=900))
    start(page, stuck.options(id="stuck-1"))
    start(page, retries.options(id="retries-1"))
    with looking(chrome, page) as tab:
        view = tab.page
        expect(view).to_have_title("Overview · Perdure")
        # It follows by itself: nothing is loaded anew by hand.
        expect(view.locator(".card.failed b")).to_have_text("1")
        expect(view.locator(".card.parked b")).to_have_text("1")
        expect(view.locator("#live")).to_contain_text(re.compile("live|updated"))
        expect(view.get_by_role("rowheader").first).to_contain_text(":")
        view.locator(".card.failed").click()
        expect(view).to_have_url(re.compile(r"/instances\?state=failed$"))
        expect(view.locator("table.rows tbody tr")).to_have_count(1)
        view.get_by_label("failed", exact=True).uncheck()
        view.get_by_label("Id begins with").fill("tea")
        view.get_by_role("button", name="Filter").click()
        expect(view.locator("table.rows tbody tr")).to_have_count(1)
        view.get_by_role("link", name="tea-1").click()
        expect(view.get_by_role("heading", level=1)).to_have_text("tea-1")
        view.context.grant_permissions(["clipboard-read", "clipboard-write"])
        view.evaluate(NOTE_COPIED)
        view.locator(".title .copy").click()
        assert view.evaluate("copied") == "copied"
        assert view.evaluate("navigator.clipboard.readText()") == "tea-1"
        expect(view.locator("#published + pre")).to_contain_text("waiting for approval")
        expect(view.locator(".timeline g.activity")).to_have_count(2)
        expect(view.locator(".tree li li")).to_have_count(2)
        # Times are the reader's, the exact UTC on hover.
        shown = view.locator(".facts time").first
        utc = shown.get_attribute("title") or ""
        assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3}Z", utc)
        hour = (int(utc[11:13]) + 9) % 24
        expect(shown).to_contain_text(f"{hour:02}:{utc[14:19]}")
        # What is being read stays as it is while the page follows.
        last = view.locator(".history details").first
        last.locator("summary").click()
        marked = last.locator("pre").element_handle()

        async def approve() -> None:
            assert page.backend is not None
            await Client(page.backend).handle_by_id("tea-1").signal(approval, "bo")

        page.run(approve())
        expect(view.locator(".title .state")).to_have_text("completed")
        assert last.get_attribute("open") is not None
        assert marked is not None
        assert marked.is_visible()
        view.go_back()
        view.locator("#goto").fill("stuck-1")
        view.locator("#goto").press("Enter")
        expect(view.get_by_role("heading", name="Parked: stuck")).to_be_visible()
        tab.go("/instance?id=retries-1")
        expect(view.locator(".state.retrying")).to_be_visible()
        expect(view.locator(".failure p").first).to_contain_text("the service is down")
        view.get_by_role("link", name="Where its code stands").click()
        expect(view.locator("code")).to_contain_text("shop.py:")


def test_each_action(chrome: Browser, page: Served) -> None:
    with looking(chrome, page) as tab:
        view = tab.go("/start")
        choose(view, "Workflow", "checkout@1", "checkout")
        view.get_by_label("item").fill("tea")
        view.get_by_label("net").fill("much")
        view.get_by_label("Id optional").fill("x")
        view.get_by_role("button", name="Start").click()
        expect(view.get_by_text("a number is needed")).to_be_visible()
        expect(view.get_by_label("item")).to_have_value("tea")
        view.get_by_label("net").fill("7")
        view.get_by_label("Reason").fill("an order by phone")
        view.get_by_role("button", name="Start").click()
        expect(view.get_by_role("heading", level=1)).to_have_text("x")
        expect(view.locator("#input + pre")).to_contain_text('"net": 7')

        view.get_by_role("link", name="Query …").click()
        choose(view, "Query", "progress", "progress")
        view.get_by_role("button", name="Ask").click()
        expect(view.locator(".notice.good")).to_contain_text(re.compile("reserving|approval"))

        tab.go("/message?kind=update&id=x&name=price")
        view.get_by_label("Value").fill("5")
        view.get_by_role("button", name="Send").click()
        expect(view.locator(".notice.good pre")).to_have_text("12")

        for name, state in (("Suspend", "suspended"), ("Resume", "running")):
            tab.go("/instance?id=x")
            view.get_by_role("link", name=f"{name} …").click()
            view.get_by_label("Reason").fill("a reason")
            view.get_by_role("button", name=name).click()
            expect(view.locator(".title .state")).to_have_text(state)

        view.get_by_role("link", name="Signal …").click()
        choose(view, "Signal", "approval", "approval")
        view.get_by_label("Value").fill("ann")
        view.get_by_role("button", name="Send").click()
        expect(view.locator(".notice.good")).to_contain_text("Accepted")
        tab.go("/instance?id=x")
        expect(view.locator(".title .state")).to_have_text("completed")
        expect(view.locator("#result + pre")).to_have_text('"approved by ann"')
        with view.expect_download() as download:
            view.get_by_role("link", name="history as JSON lines").click()
        assert '"instance_id": "x"' in Path(download.value.path()).read_text()
        view.get_by_role("link", name="Remove …").click()
        expect(view.get_by_label("Reason")).to_be_focused()
        view.get_by_role("button", name="Remove").click()  # the reason is needed
        expect(view).to_have_url(re.compile("/act"))
        view.get_by_label("Reason").fill("tidy")
        view.get_by_role("button", name="Remove").click()
        expect(view).to_have_url(re.compile("/instances"))

        # Several at once, chosen by keys.
        for number in range(3):
            start(page, stuck.options(id=f"s-{number}"))
        view.reload()
        expect(view.locator("table.rows tbody tr")).to_have_count(3 + 1)
        expect(view.locator("#theme")).to_be_visible()
        view.locator("body").press("j")
        view.locator("body").press("x")
        view.locator("body").press("j")
        view.locator("body").press("x")
        expect(view.locator("#chosen")).to_have_text("2 chosen")
        view.get_by_label("Chosen ones:").select_option("terminate")
        view.get_by_role("button", name="Go on …").click()
        expect(view.get_by_role("heading", level=1)).to_have_text("Terminate 2 instances?")
        view.get_by_label("Reason").fill("too many")
        view.get_by_role("button", name="Terminate").click()
        expect(view.locator(".state.terminated")).to_have_count(2)

        tab.go("/audit")
        expect(view.locator("tbody tr")).to_have_count(8)
        expect(view.locator("tbody")).to_contain_text("an order by phone")
        # Keys lead from page to page.
        view.locator("body").press("g")
        view.locator("body").press("o")
        expect(view).to_have_title("Overview · Perdure")
        expect(view.locator("#theme")).to_be_visible()
        view.locator("body").press("?")
        expect(view.locator("#keys")).to_be_visible()


def test_what_no_worker_has_now_goes_last_and_says_so(chrome: Browser, tmp_path: Path) -> None:
    old = Published("abandoned", 1, "b0", "shop")
    with served(store_url("sqlite", tmp_path)) as page:

        async def publish_old() -> None:
            assert isinstance(page.backend, Documents)
            key = key_of(old.workflow, old.version)
            await page.backend.put_documents([Document(SCHEMAS, key, msgspec.json.encode(old))])

        page.run(publish_old())
        with looking(chrome, page) as tab:
            options = tab.go("/start").get_by_label("Workflow", exact=True).locator("option")
            expect(options.last).to_have_text("abandoned: no worker has it now")
            expect(options.filter(has_text="no worker")).to_have_count(1)


def test_without_scripts(chrome: Browser, tmp_path: Path) -> None:
    """What can be read can be read, and what can be done can be done, with links and forms."""
    with (
        served(store_url("sqlite", tmp_path)) as page,
        looking(chrome, page, java_script_enabled=False) as tab,
    ):
        view = tab.go("/start")
        view.get_by_label("Workflow", exact=True).select_option("checkout@1")
        view.get_by_role("button", name="Choose").click()
        view.get_by_label("item").fill("tea")
        view.get_by_label("Id optional").fill("x")
        view.get_by_role("button", name="Start").click()
        expect(view.get_by_role("heading", level=1)).to_have_text("x")
        view.get_by_role("link", name="Update …").click()
        view.get_by_label("Update", exact=True).select_option("price")
        view.get_by_role("button", name="Choose").click()
        view.get_by_label("Value").fill("5")
        view.get_by_role("button", name="Send").click()
        expect(view.locator(".notice.good pre")).to_have_text("105")

        tab.go("/instances")
        view.get_by_label("Workflow", exact=True).fill("checkout")
        view.get_by_role("button", name="Filter").click()
        expect(view).to_have_url(re.compile("checkout"))
        expect(view.locator("table.rows tbody tr")).to_have_count(1)
        view.locator("table.rows tbody input").check()
        view.get_by_label("Chosen ones:").select_option("terminate")
        view.get_by_role("button", name="Go on …").click()
        view.get_by_label("Reason").fill("tidy")
        view.get_by_role("button", name="Terminate").click()
        tab.go("/audit")
        expect(view.locator("tbody tr")).to_have_count(3)


def test_each_role(chrome: Browser, page: Served) -> None:
    start(page, checkout.options(id="x"), Order("secret tea"))
    with looking(chrome, page, VIEWER) as tab:
        view = tab.go("/instance?id=x")
        expect(view.locator("#input + pre")).to_contain_text("secret tea")
        expect(view.get_by_role("link", name="Terminate …")).to_have_count(0)
        expect(view.get_by_role("link", name="Start")).to_have_count(0)
    with looking(chrome, page, BLIND) as tab:
        view = tab.go("/instance?id=x")
        expect(view.get_by_text("your role does not see payloads").first).to_be_visible()
        expect(view.get_by_text("secret tea")).to_have_count(0)
    context = chrome.new_context()
    try:
        view = context.new_page()
        view.goto(f"{page.url}/instance?id=x")
        expect(view.get_by_role("heading", level=1)).to_have_text("Log in")
        view.get_by_label("Token").fill("a wrong one")
        view.get_by_role("button", name="Log in").click()
        expect(view.get_by_role("alert")).to_have_text("that is not right")
        view.get_by_label("Token").fill(OPERATOR)
        view.get_by_role("button", name="Log in").click()
        expect(view.get_by_role("heading", level=1)).to_have_text("x")
        view.get_by_role("button", name="Log out").click()
        expect(view.get_by_role("heading", level=1)).to_have_text("Log in")
    finally:
        context.close()


def fill(path: Path, count: int) -> None:
    """Puts finished instances into a store's file, as if each had run."""
    from perdure_backends import history as h

    started = h.encode_event(h.WorkflowStarted("checkout", 1, "default", b'[{"item":"tea"}]', 7))
    columns = "serial, run_id, instance_id, request_id, workflow, version, queue, status"
    with sqlite3.connect(path) as connection:
        connection.executemany(
            f"INSERT INTO runs ({columns}, started_at, finished_at, turn, parent_close) "
            "VALUES (?, ?, ?, ?, 'checkout', 1, 'default', ?, ?, ?, 3, 'abandon')",
            (
                (
                    *(n, f"run-{n}", f"order-{n:06}", f"request-{n}"),
                    *("failed" if n % 1000 == 0 else "completed", n * 1000, n * 1000 + 500),
                )
                for n in range(1, count + 1)
            ),
        )
        connection.executemany(
            "INSERT INTO starts VALUES (?, ?)", ((n, started) for n in range(1, count + 1))
        )
    connection.close()


def test_a_hundred_thousand_instances(chrome: Browser, tmp_path: Path) -> None:
    url = store_url("sqlite", tmp_path)
    with served(url, worker=False):
        pass
    fill(tmp_path / "store.db", 100_000)
    with served(url, worker=False) as page, looking(chrome, page) as tab:
        view = tab.page
        expect(view.locator(".card.completed b")).to_have_text("10,000+")
        expect(view.locator(".card.failed b")).to_have_text("100")
        tab.go("/instances")
        rows = view.locator("table.rows tbody th a")
        expect(rows).to_have_count(50)
        expect(rows.first).to_have_text("order-100000")
        # A page stays what it is while instances come.
        start(page, checkout.options(id="new"), Order("tea"))
        view.get_by_role("link", name="Older »").click()
        expect(rows.first).to_have_text("order-099950")
        view.get_by_role("link", name="Older »").click()
        expect(rows.first).to_have_text("order-099900")
        view.get_by_role("link", name="« Newest").click()
        expect(rows.first).to_have_text("new")
        tab.go("/instances?state=failed&limit=100")
        expect(rows).to_have_count(100)
        expect(rows.last).to_have_text("order-001000")
        tab.go("/instances?prefix=order-0000")
        expect(rows.first).to_have_text("order-000099")


def test_hostile_payloads(chrome: Browser, tmp_path: Path) -> None:
    with served(store_url("sqlite", tmp_path)) as page:
        start(page, checkout.options(id=EVIL), Order(EVIL, note=EVIL))
        with looking(chrome, page) as tab:
            view = tab.go("/instances")
            view.get_by_role("link", name=EVIL).first.click()
            expect(view.get_by_role("heading", level=1)).to_have_text(EVIL)
            expect(view.locator("#input + pre")).to_contain_text("onerror")
            view.wait_for_timeout(100)
            assert "owned" not in view.title() or EVIL in view.title()
            assert view.evaluate("document.images.length") == 0
            assert view.evaluate("document.querySelectorAll('main script').length") == 0


PAGES = {
    "overview": "/",
    "instances": "/instances",
    "instance": "/instance?id=tea-1",
    "failed": "/instance?id=yacht-1",
    "parked": "/instance?id=stuck-1",
    "code": "/code?id=tea-1",
    "start": "/start?workflow=checkout@1",
    "message": "/message?kind=update&id=tea-1&name=price",
    "act": "/act?action=terminate&id=tea-1&id=stuck-1",
    "audit": "/audit",
    "missing": "/instance?id=nobody",
}


def test_everybody_can_use_it(chrome: Browser, tmp_path: Path) -> None:
    """axe-core finds nothing serious, in light and dark, on a desk and on a phone."""
    axe: Any = Axe()
    found: list[str] = []
    with served(store_url("sqlite", tmp_path)) as page:
        start(page, checkout.options(id="tea-1"), Order("tea"))
        start(page, checkout.options(id="yacht-1"), Order("yacht", net=900))
        start(page, stuck.options(id="stuck-1"))
        for scheme, width in (("light", 1200), ("dark", 390)):
            options: Any = {"color_scheme": scheme, "viewport": {"width": width, "height": 800}}
            with looking(chrome, page, **options) as tab:
                for name, path in PAGES.items():
                    view = tab.go(path)
                    where = f"{name} {scheme} {width}"
                    for problem in axe.run(view)["violations"]:
                        if problem["impact"] in ("serious", "critical"):
                            nodes = [node["html"][:120] for node in problem["nodes"][:2]]
                            found.append(f"{where}: {problem['id']} {nodes}")
                    wide = view.evaluate("document.documentElement.scrollWidth")
                    if wide > width:
                        found.append(f"{where}: {wide} pixels wide")
                tab.complaints.clear()  # of the page that is missing
    assert found == []


def test_without_a_worker_and_with_a_store_that_is_gone(chrome: Browser, tmp_path: Path) -> None:
    with served(store_url("sqlite", tmp_path), worker=False) as page:
        with looking(chrome, page) as tab:
            view = tab.page
            expect(view.get_by_text("No worker runs.")).to_be_visible()
            tab.go("/instances")
            expect(view.get_by_text("There are no instances so far.")).to_be_visible()
            start(page, checkout.options(id="x"), Order("tea"))
            expect(view.locator("table.rows tbody tr")).to_have_count(1)
            tab.go("/instance?id=x")
            expect(view.get_by_text("no worker offers workflow")).to_be_visible()
            expect(view.get_by_text("No turn was committed so far")).to_be_visible()
        with looking(chrome, page) as tab:
            view = tab.go("/instance?id=x")

            async def away() -> None:
                assert page.backend is not None
                await page.backend.aclose()

            page.run(away())
            expect(view.locator("#live.trouble")).to_be_visible(timeout=15_000)
            expect(view.get_by_role("heading", level=1)).to_have_text("x")  # nothing is lost
            tab.complaints.clear()
