"""Numbered migrations from the folder beside a store.

PYTEST_DONT_REWRITE
"""

from __future__ import annotations

from importlib.resources import files
from typing import NamedTuple


class Script(NamedTuple):
    """One migration: its number, the file's name, and what it does."""

    number: int
    name: str
    text: str


def scripts(package: str) -> list[Script]:
    """The migrations of a store's package, in order."""
    folder = files(package).joinpath("migrations")
    found = [item for item in folder.iterdir() if item.name.endswith(".sql")]
    found.sort(key=lambda item: item.name)
    return [Script(int(i.name[:4]), i.name, i.read_text(encoding="utf-8")) for i in found]
