"""SARIF 2.1.0, with the way from the workflow as a code flow.

PYTEST_DONT_REWRITE
"""

from __future__ import annotations

import json
from typing import Any, Final
from urllib.parse import quote

from ..diagnostics import Diagnostic, Report, Step
from ..rules import all_rules
from ._machines import occurrences

_LEVELS: Final = {"error": "error", "warning": "warning", "info": "note"}


def sarif(report: Report) -> str:
    """The report as a SARIF log of one run."""
    rules = all_rules()
    used = sorted({one.code for one in report.diagnostics})
    index = {code: place for place, code in enumerate(used)}
    found: dict[str, Any] = {
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [
            {
                "tool": {
                    "driver": {
                        "name": "wflint",
                        "informationUri": "https://pypi.org/project/perdure/",
                        "rules": [
                            {
                                "id": code,
                                "name": rules[code].name,
                                "shortDescription": {"text": rules[code].name.replace("-", " ")},
                                "fullDescription": {"text": rules[code].why},
                                "help": {"text": f"wflint explain {code}"},
                                "defaultConfiguration": {"level": _LEVELS[rules[code].severity]},
                            }
                            for code in used
                        ],
                    }
                },
                "columnKind": "unicodeCodePoints",
                "results": [
                    _result(one, fingerprint, index[one.code])
                    for one, fingerprint in occurrences(report)
                ],
            }
        ],
    }
    return json.dumps(found, indent=2, ensure_ascii=False) + "\n"


def _location(path: str, region: dict[str, int]) -> dict[str, Any]:
    uri = quote(path.replace("\\", "/"))
    return {"physicalLocation": {"artifactLocation": {"uri": uri}, "region": region}}


def _step(step: Step) -> dict[str, Any]:
    place = _location(step.path, {"startLine": step.line, "startColumn": step.column})
    return {"location": {**place, "message": {"text": f"{step.symbol}: {step.note}"}}}


def _result(one: Diagnostic, fingerprint: str, rule: int) -> dict[str, Any]:
    region = {
        "startLine": one.line,
        "startColumn": one.column,
        "endLine": one.end_line,
        "endColumn": one.end_column,
    }
    found: dict[str, Any] = {
        "ruleId": one.code,
        "ruleIndex": rule,
        "level": _LEVELS[one.severity],
        "message": {"text": one.message},
        "locations": [_location(one.path, region)],
        "partialFingerprints": {"wflint/v1": fingerprint},
    }
    if one.chain:
        flow = {"locations": [_step(step) for step in one.chain]}
        found["codeFlows"] = [{"threadFlows": [flow]}]
    return found
