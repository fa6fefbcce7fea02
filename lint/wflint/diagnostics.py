"""What the linter says, as data.

PYTEST_DONT_REWRITE
"""

from __future__ import annotations

import hashlib
from bisect import bisect_right
from dataclasses import dataclass, field
from typing import Any, Final

SEVERITIES: Final = ("info", "warning", "error")
"""From the mildest."""


@dataclass(frozen=True, slots=True)
class Step:
    """A step of the way from a workflow to a finding. Lines and columns count from 1."""

    path: str
    line: int
    column: int
    symbol: str
    note: str = ""


@dataclass(frozen=True, slots=True)
class TextEdit:
    """A replacement; offsets are those of characters in the file."""

    path: str
    start: int
    end: int
    text: str


@dataclass(frozen=True, slots=True)
class Suggestion:
    """A fix: ``safe`` ones change nothing for runs in flight; ``unsafe`` ones may."""

    safety: str
    edits: tuple[TextEdit, ...]


@dataclass(frozen=True, slots=True)
class Diagnostic:
    """A finding. Lines and columns count from 1, and the end is behind the last character."""

    code: str
    name: str
    severity: str
    message: str
    path: str
    line: int
    column: int
    end_line: int
    end_column: int
    roots: tuple[str, ...] = ()
    chain: tuple[Step, ...] = ()
    fix: Suggestion | None = None
    hint: str = ""
    scope: str = ""
    """The function that it stands in, for what must not depend on lines."""
    excerpt: str = ""

    @property
    def sort_key(self) -> tuple[str, int, int, str, str]:
        """The order in which findings are shown."""
        return (self.path, self.line, self.column, self.code, self.message)

    @property
    def docs(self) -> str:
        """How to read more."""
        return f"wflint explain {self.code}"

    def fingerprint(self, occurrence: int) -> str:
        """What it is known by, wherever its line has moved to."""
        parts = (self.code, self.path, self.scope, " ".join(self.excerpt.split()), str(occurrence))
        return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]

    def as_dict(self) -> dict[str, Any]:
        """What ``--format json`` prints."""
        return {
            "code": self.code,
            "name": self.name,
            "severity": self.severity,
            "message": self.message,
            "path": self.path,
            "line": self.line,
            "column": self.column,
            "end_line": self.end_line,
            "end_column": self.end_column,
            "roots": list(self.roots),
            "chain": [
                {
                    "path": step.path,
                    "line": step.line,
                    "column": step.column,
                    "symbol": step.symbol,
                    "note": step.note,
                }
                for step in self.chain
            ],
            "fix": None
            if self.fix is None
            else {
                "safety": self.fix.safety,
                "edits": [
                    {"path": e.path, "start": e.start, "end": e.end, "text": e.text}
                    for e in self.fix.edits
                ],
            },
            "docs": self.docs,
        }


@dataclass(slots=True)
class Report:
    """All that a run has found.

    Attributes:
        diagnostics: in the order in which they are shown.
        files: how many files were looked at.
        roots: workflows that were found.
        parsed: how many files had to be read in full.
        unparsable: how many could not be.
        suppressed: findings that comments or the baseline keep quiet.
    """

    diagnostics: list[Diagnostic] = field(default_factory=list["Diagnostic"])
    files: int = 0
    roots: tuple[str, ...] = ()
    parsed: int = 0
    unparsable: int = 0
    suppressed: int = 0

    def count(self, severity: str) -> int:
        """Findings of one severity."""
        return sum(1 for one in self.diagnostics if one.severity == severity)

    @property
    def summary(self) -> dict[str, Any]:
        """Numbers for machines."""
        return {
            "errors": self.count("error"),
            "warnings": self.count("warning"),
            "infos": self.count("info"),
            "fixable": sum(1 for one in self.diagnostics if one.fix is not None),
            "files": self.files,
            "parsed": self.parsed,
            "unparsable": self.unparsable,
            "suppressed": self.suppressed,
            "workflows": len(self.roots),
        }


class Lines:
    """Offsets into a text as lines and columns, from 1."""

    def __init__(self, text: str) -> None:
        self.text = text
        starts = [0]
        find = text.find
        at = find("\n")
        if "\r" in text:
            import re

            starts += [match.end() for match in re.finditer("\r\n|\r|\n", text)]
        else:
            while at >= 0:
                starts.append(at + 1)
                at = find("\n", at + 1)
        self.starts = starts

    def at(self, offset: int) -> tuple[int, int]:
        """Line and column of an offset."""
        line = bisect_right(self.starts, offset)
        return line, offset - self.starts[line - 1] + 1

    def line(self, number: int) -> str:
        """A line's text, without its end."""
        if not 1 <= number <= len(self.starts):
            return ""
        start = self.starts[number - 1]
        end = self.starts[number] if number < len(self.starts) else len(self.text)
        return self.text[start:end].rstrip("\r\n")

    def offset(self, line: int, column: int) -> int:
        """The offset of a line and column."""
        return self.starts[line - 1] + column - 1
