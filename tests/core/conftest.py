"""Closes what tests leave in memory, so that no task is destroyed while it is pending."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import support


@pytest.fixture(autouse=True)
def close_executions() -> Iterator[None]:
    yield
    for execution in support.made:
        execution.close()
    support.made.clear()
