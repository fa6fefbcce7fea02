"""The SQL of this store, by name.

PYTEST_DONT_REWRITE
"""

from __future__ import annotations

from importlib.resources import files
from typing import Final


def _load() -> dict[str, str]:
    text = files(__package__ or "").joinpath("statements.sql").read_text(encoding="utf-8")
    found: dict[str, str] = {}
    for block in text.split("-- name: ")[1:]:
        name, _, body = block.partition("\n")
        found[name.strip()] = body.strip()
    return found


SQL: Final = _load()
