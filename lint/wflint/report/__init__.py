"""Formats of reports. Each is a function of the report, with nothing printed.

PYTEST_DONT_REWRITE
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from ..diagnostics import Report
from ._machines import github, gitlab, json_text, junit, rdjson
from ._sarif import sarif
from ._text import concise, text

FORMATS: Final[dict[str, Callable[[Report], str]]] = {
    "text": text,
    "concise": concise,
    "json": json_text,
    "sarif": sarif,
    "github": github,
    "gitlab": gitlab,
    "junit": junit,
    "rdjson": rdjson,
}

__all__ = ["FORMATS", "concise", "text"]
