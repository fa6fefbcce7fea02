"""Findings that are known: a file that may only shrink.

PYTEST_DONT_REWRITE
"""

from __future__ import annotations

import json
import os
from typing import Any

from .diagnostics import Diagnostic, Report
from .report._machines import occurrences

VERSION = 1


class BaselineError(ValueError):
    """A file that is no baseline."""


def write(path: str, report: Report) -> int:
    """Writes all findings; says how many."""
    entries = [
        {"fingerprint": fingerprint, "code": one.code, "path": one.path, "scope": one.scope}
        for one, fingerprint in occurrences(report)
        if one.severity != "info"
    ]
    entries.sort(key=lambda entry: (entry["path"], entry["code"], entry["fingerprint"]))
    data = {"version": VERSION, "findings": entries}
    with open(path, "w", encoding="utf-8") as file:
        json.dump(data, file, indent=1, ensure_ascii=False)
        file.write("\n")
    return len(entries)


def read(path: str) -> dict[str, dict[str, Any]]:
    """Entries by fingerprint; empty when there is no file.

    Raises:
        BaselineError: it can't be understood.
    """
    if not os.path.exists(path):
        return {}
    try:
        with open(path, encoding="utf-8") as file:
            data = json.load(file)
        if data["version"] != VERSION:
            raise BaselineError(f"{path}: version {data['version']!r} is not known; update wflint")
        return {str(entry["fingerprint"]): dict(entry) for entry in data["findings"]}
    except (OSError, ValueError, KeyError, TypeError) as error:
        if isinstance(error, BaselineError):
            raise
        raise BaselineError(f"{path}: {error}; write it anew by `wflint baseline write`") from None


def apply(report: Report, known: dict[str, dict[str, Any]]) -> list[dict[str, Any]]:
    """Takes known findings out of a report; gives the entries that are found no more."""
    if not known:
        return []
    kept: list[Diagnostic] = []
    left = dict(known)
    for one, fingerprint in occurrences(report):
        if left.pop(fingerprint, None) is None:
            kept.append(one)
        else:
            report.suppressed += 1
    report.diagnostics = kept
    return list(left.values())
