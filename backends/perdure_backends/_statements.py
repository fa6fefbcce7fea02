"""The SQL of a store, by name, from the file beside it.

PYTEST_DONT_REWRITE
"""

from __future__ import annotations

from importlib.resources import files


def load_statements(package: str) -> dict[str, str]:
    """The statements in a package's ``statements.sql``; each stands behind ``-- name:``."""
    text = files(package).joinpath("statements.sql").read_text(encoding="utf-8")
    found: dict[str, str] = {}
    for block in text.split("-- name: ")[1:]:
        name, _, body = block.partition("\n")
        lines = [line for line in body.splitlines() if not line.startswith("--")]
        found[name.strip()] = "\n".join(lines).strip()
    return found
