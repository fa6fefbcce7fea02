"""Takes a picture of each page: ``python tests/ui/screenshots.py docs/screenshots``.

In light and dark, of a shop with something of everything.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
from pathlib import Path
from typing import Any, Final

HERE: Final = Path(__file__).parent
SHOP: Final = Path(tempfile.gettempdir()) / "shop"
"""Pages show where code lies: here, whoever takes the pictures."""

SHOP.mkdir(exist_ok=True)
(SHOP / "shop.py").write_text((HERE / "shop.py").read_text(encoding="utf-8"), encoding="utf-8")
sys.path[:0] = [str(SHOP), str(HERE), str(HERE.parent)]

from browsing import Watched, browser  # noqa: E402  (found beside this file)
from perdure_runtime import Client  # noqa: E402
from serving import OPERATOR, Served, served  # noqa: E402
from shop import Order, approval, checkout, retries, stuck, waits  # noqa: E402

PAGES: Final = {
    "overview": "/",
    "instances": "/instances",
    "instance": "/instance?id=order-17",
    "failed": "/instance?id=order-18",
    "parked": "/instance?id=blocked-1",
    "code": "/code?id=order-17",
    "start": "/start?workflow=checkout@1",
    "message": "/message?kind=signal&id=order-17&name=approval",
    "act": "/act?action=terminate&id=order-17&id=blocked-1",
    "audit": "/audit",
    "login": "/login",
}


def main(folder: Path) -> None:
    """Writes the pictures."""
    folder.mkdir(parents=True, exist_ok=True)
    for old in SHOP.glob("orders.db*"):
        old.unlink()
    with served(f"sqlite:///{SHOP}/orders.db") as page, browser() as chrome:
        page.run(_fill(page))
        for scheme in ("light", "dark"):
            size: Any = {"width": 1100, "height": 720}
            context = chrome.new_context(
                color_scheme=scheme, viewport=size, timezone_id="Europe/Berlin", locale="en-GB"
            )
            tab = Watched(context, page.url, OPERATOR)
            for name, path in PAGES.items():
                if name == "login":
                    context.clear_cookies()
                view = tab.go(path)
                view.wait_for_timeout(200)
                whole = name in ("instance", "failed")
                view.screenshot(path=folder / f"{name}-{scheme}.png", full_page=whole)
                print(folder / f"{name}-{scheme}.png")
            context.close()


async def _fill(page: Served) -> None:
    if page.backend is None:
        raise RuntimeError("not served")
    client = Client(page.backend)
    for number in range(1, 17):
        options = checkout.options(id=f"order-{number}")
        await client.start(options, Order("tea", net=10 * number, express=number % 3 > 0))
    await client.start(checkout.options(id="order-17"), Order("samovar", net=240), 3)
    await client.start(checkout.options(id="order-18"), Order("yacht", net=900))
    await client.start(stuck.options(id="blocked-1"))
    await client.start(retries.options(id="invoice-5"))
    await client.start(waits.options(id="reminder-9"), 30)
    await client.start_by_name("render", b'["poster.svg"]', id="render-1", queue="pdf")
    await asyncio.sleep(1.5)
    from perdure_runtime._desk import Desk

    desk = Desk(page.backend, by="olga", address="127.0.0.1")
    await desk.signal("order-3", approval.name, "olga", reason="approved by phone")
    await desk.act("suspend", "reminder-9", "the customer asked us to wait")
    await desk.act("terminate", "order-6", "ordered twice by mistake")
    await asyncio.sleep(15)  # until the first rates are written


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "screenshots"))
