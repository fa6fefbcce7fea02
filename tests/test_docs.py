"""Code on the pages runs; tests and cases that pages name exist."""

from __future__ import annotations

import asyncio
import contextvars
import dataclasses
import re
from pathlib import Path
from types import ModuleType
from typing import Any, cast

import perdure
import pytest
from perdure_backends import conformance as contract
from perdure_runtime import Client, local
from perdure_runtime._registry import definitions_in
from perdure_runtime.conformance import CASES

DOCS = Path(__file__).parents[1] / "docs"
ROOT = DOCS.parent
PAGES = ["coming-from-go-workflows", "coming-from-temporal", "coming-from-dbos"]


def blocks(page: str) -> list[Any]:
    """The Python blocks of a page, each with the heading above it."""
    found: list[Any] = []
    heading = page
    pattern = re.compile(r"^#+ ([^\n]*)$|^```python\n(.*?)^```$", re.M | re.S)
    for match in pattern.finditer((DOCS / f"{page}.md").read_text(encoding="utf-8")):
        heading = match[1] or heading
        if match[2]:
            found.append(pytest.param(match[2], id=f"{page}: {heading} {len(found)}"))
    return found


@pytest.mark.parametrize("code", [block for page in PAGES for block in blocks(page)])
def test_a_block_runs(code: str) -> None:
    module = ModuleType("page")
    names = {name: getattr(perdure, name) for name in perdure.__all__}
    extras = {
        "asyncio": asyncio,
        "contextvars": contextvars,
        "dataclasses": dataclasses,
        "Client": Client,
        "__name__": "page",
    }
    module.__dict__.update(names | extras)
    exec(compile(code, "<page>", "exec", dont_inherit=True), module.__dict__)  # noqa: S102
    found = definitions_in(module)
    given: dict[str, Any] = vars(module)

    async def main() -> None:
        async with local(
            workflows=found.workflows,
            activities=[*found.activities, *cast("list[Any]", given.get("activities", []))],
            middleware=given.get("middleware", []),
        ) as app:
            async with asyncio.timeout(20):
                await app.run(given["example"])
                if "use" in given:
                    await given["use"](app.client)

    asyncio.run(main())


def test_semantics_names_tests_that_exist() -> None:
    page = (DOCS / "semantics.md").read_text(encoding="utf-8")
    cases = {case.name for case in CASES} | {case.name for case in contract.CASES}
    tests: set[str] = set()
    for path in (ROOT / "tests").rglob("test_*.py"):
        tests.update(re.findall(r"def (test_\w+)", path.read_text(encoding="utf-8")))
    named = [word for word in re.findall(r"`([a-z_0-9]+)`", page) if word.count("_") >= 3]
    assert len(named) > 40
    assert [word for word in named if word not in cases | tests] == []


def test_pages_name_only_what_is_public() -> None:
    known = set(perdure.__all__)
    for page in PAGES:
        text = (DOCS / f"{page}.md").read_text(encoding="utf-8")
        for block in re.findall(r"^```python\n(.*?)^```$", text, re.M | re.S):
            for name in re.findall(r"\bperdure\.(\w+)", block):
                assert name in known, f"{page} names perdure.{name}"
