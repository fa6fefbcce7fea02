"""For other programs.

PYTEST_DONT_REWRITE
"""

from __future__ import annotations

import json
from typing import Any, Final
from xml.sax.saxutils import escape, quoteattr

from ..diagnostics import Diagnostic, Report

_GITLAB: Final = {"error": "major", "warning": "minor", "info": "info"}
_RDJSON: Final = {"error": "ERROR", "warning": "WARNING", "info": "INFO"}
_GITHUB: Final = {"error": "error", "warning": "warning", "info": "notice"}


def json_text(report: Report) -> str:
    """One object; see ``docs/lint/formats.md``."""
    found: dict[str, Any] = {
        "version": 1,
        "diagnostics": [one.as_dict() for one in report.diagnostics],
        "summary": report.summary,
    }
    return json.dumps(found, indent=2, ensure_ascii=False) + "\n"


def chain_text(one: Diagnostic) -> str:
    """The way from the workflow, in one line."""
    return " → ".join(f"{step.symbol} ({step.path}:{step.line})" for step in one.chain)


def github(report: Report) -> str:
    """Workflow commands that GitHub shows as annotations."""
    lines: list[str] = []
    for one in report.diagnostics:
        message = one.message
        if len(one.chain) > 1:
            message += "\n" + chain_text(one)
        lines.append(
            f"::{_GITHUB[one.severity]} file={_property(one.path)},line={one.line},"
            f"col={one.column},endLine={one.end_line},endColumn={one.end_column},"
            f"title={_property(f'{one.code} {one.name}')}::{_data(message)}"
        )
    return "".join(f"{line}\n" for line in lines)


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")


def occurrences(report: Report) -> list[tuple[Diagnostic, str]]:
    """Findings with their fingerprints, which do not depend on lines."""
    seen: dict[str, int] = {}
    found: list[tuple[Diagnostic, str]] = []
    for one in report.diagnostics:
        first = one.fingerprint(0)
        number = seen.get(first, 0)
        seen[first] = number + 1
        found.append((one, first if not number else one.fingerprint(number)))
    return found


def gitlab(report: Report) -> str:
    """A code quality report."""
    found = [
        {
            "description": one.message,
            "check_name": one.code,
            "fingerprint": fingerprint,
            "severity": _GITLAB[one.severity],
            "location": {
                "path": one.path,
                "positions": {
                    "begin": {"line": one.line, "column": one.column},
                    "end": {"line": one.end_line, "column": one.end_column},
                },
            },
        }
        for one, fingerprint in occurrences(report)
    ]
    return json.dumps(found, indent=2, ensure_ascii=False) + "\n"


def rdjson(report: Report) -> str:
    """Reviewdog's diagnostic format."""
    found: dict[str, Any] = {
        "source": {"name": "wflint"},
        "severity": "ERROR" if report.count("error") else "WARNING",
        "diagnostics": [
            {
                "message": one.message,
                "code": {"value": one.code},
                "severity": _RDJSON[one.severity],
                "location": {
                    "path": one.path,
                    "range": {
                        "start": {"line": one.line, "column": one.column},
                        "end": {"line": one.end_line, "column": one.end_column},
                    },
                },
            }
            for one in report.diagnostics
        ],
    }
    return json.dumps(found, indent=2, ensure_ascii=False) + "\n"


def junit(report: Report) -> str:
    """Test results: a case for each file with findings."""
    by_path: dict[str, list[Diagnostic]] = {}
    for one in report.diagnostics:
        by_path.setdefault(one.path, []).append(one)
    count = len(report.diagnostics)
    lines = [
        '<?xml version="1.0" encoding="utf-8"?>',
        f'<testsuites name="wflint" tests="{max(count, 1)}" failures="{count}">',
    ]
    for path, found in by_path.items():
        number = len(found)
        lines.append(f'  <testsuite name={quoteattr(path)} tests="{number}" failures="{number}">')
        for one in found:
            name = quoteattr(f"{one.code} {one.name}")
            lines.append(
                f'    <testcase name={name} classname={quoteattr(path)} line="{one.line}">'
            )
            lines.append(
                f"      <failure type={quoteattr(one.severity)} message={quoteattr(one.message)}>"
                f"{escape(f'{path}:{one.line}:{one.column} {chain_text(one)}')}</failure>"
            )
            lines.append("    </testcase>")
        lines.append("  </testsuite>")
    if not by_path:
        lines.append('  <testsuite name="wflint" tests="1" failures="0">')
        lines.append('    <testcase name="no findings"/>')
        lines.append("  </testsuite>")
    lines.append("</testsuites>")
    return "\n".join(lines) + "\n"
