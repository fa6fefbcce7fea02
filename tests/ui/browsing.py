"""A real Chromium, by its path on this machine."""

from __future__ import annotations

import os
import shutil
from collections.abc import Generator
from contextlib import contextmanager

import pytest
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, sync_playwright


def chromium() -> str:
    """The browser; skips the test where there is none, and fails it in CI."""
    for name in ("chromium", "chromium-browser", "google-chrome"):
        found = shutil.which(name)
        if found is not None:
            return found
    message = "no browser: install Debian's package chromium"
    if os.environ.get("CI"):
        pytest.fail(message)
    pytest.skip(message)


@contextmanager
def browser() -> Generator[Browser]:
    """A browser without a window."""
    path = chromium()
    with sync_playwright() as driver:
        started = driver.chromium.launch(executable_path=path, args=["--no-sandbox"])
        try:
            yield started
        finally:
            started.close()


class Watched:
    """A page that notes what its browser complains about."""

    def __init__(self, context: BrowserContext, url: str, token: str) -> None:
        self.complaints: list[str] = []
        self.url = url
        self.page: Page = context.new_page()
        self.page.on("console", self._said)
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.set_default_timeout(20_000)
        self.page.goto(f"{url}/login?token={token}")

    def _said(self, message: ConsoleMessage) -> None:
        # A form that is sent back with what is wrong in it is answered with 422.
        if message.type in ("error", "warning") and "status of 422" not in message.text:
            self.complaints.append(message.text)

    def go(self, path: str) -> Page:
        """Opens a page."""
        self.page.goto(self.url + path)
        return self.page
