"""One browser for all tests of a worker process."""

from __future__ import annotations

from collections.abc import Generator

import pytest
from browsing import browser
from playwright.sync_api import Browser


@pytest.fixture(scope="session")
def chrome() -> Generator[Browser]:
    with browser() as started:
        yield started
