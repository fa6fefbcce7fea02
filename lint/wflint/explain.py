"""What rules are about, for people: in the terminal, and as pages of the documentation.

PYTEST_DONT_REWRITE
"""

from __future__ import annotations

import json
import textwrap

from .rules import Case, Rule, all_rules

_FIXES = {
    "safe": "`--fix` mends it; runs in flight are not touched.",
    "unsafe": "`--fix --unsafe-fixes` mends it; that may change what runs in flight do.",
    "hint": "It has to be mended by hand.",
}

_SCALES = {
    "sink": (
        "As bad as the worst place where the value ends up: an error where it decides what the "
        "workflow does, or names a command; a warning in payloads, state and results; a note "
        "where it is only logged."
    ),
    "unless-logged": "An error, unless the value only goes into a log.",
}


def explanation(rule: Rule, format: str = "text") -> str:
    """The page of a rule, as ``text``, ``md`` or ``json``."""
    if format == "json":
        found = {
            "code": rule.code,
            "name": rule.name,
            "severity": rule.severity,
            "level": rule.level,
            "why": rule.why,
            "replay": rule.replay,
            "bad": [shown(case) for case in rule.bad],
            "good": [shown(case) for case in rule.good],
            "wrong_if": rule.wrong_if,
            "fix": rule.fix,
        }
        return json.dumps(found, indent=2, ensure_ascii=False) + "\n"
    page = markdown(rule)
    return page if format == "md" else _plain(page)


def shown(case: Case) -> str:
    """An example as readers see it."""
    if case.whole:
        return case.body.rstrip("\n")
    lines: list[str] = []
    before = "\n".join(
        line
        for line in case.before.splitlines()
        if not line.startswith(("import perdure", "from perdure"))
    ).strip("\n")
    if before:
        lines += [before, ""]
    lines += ["@workflow", f"async def flow({case.signature}) -> None:"]
    lines += [f"    {line}" if line else "" for line in case.body.splitlines()]
    lines = [line if len(line) <= 120 else f"{line[:80]}…{line[-20:]}" for line in lines]
    return "\n".join(lines)


def markdown(rule: Rule) -> str:
    """The page of a rule in Markdown."""
    parts = [f"# {rule.code}: {rule.name}", ""]
    level = "" if rule.level == "default" else f", in the set `{rule.level}`"
    severity = _SCALES.get(rule.scale, f"Severity: {rule.severity}.")
    parts += [f"Family: {rule.family}{level}. {severity} {_FIXES[rule.fix]}", ""]
    parts += ["## Why", "", rule.why, ""]
    if rule.replay:
        parts += ["## A replay that diverges", "", "```text", rule.replay, "```", ""]
    parts += ["## Bad", ""]
    for case in rule.bad:
        parts += ["```python", shown(case), "```", ""]
        for path, text in case.others.items():
            parts += [f"with `{path}`:", "", "```python", text.rstrip("\n"), "```", ""]
    parts += ["## Good", ""]
    for case in rule.good:
        parts += ["```python", shown(case), "```", ""]
    if rule.wrong_if:
        parts += ["## When it is wrong", "", rule.wrong_if, ""]
    parts += [
        "## Keeping it quiet",
        "",
        f"`# wflint: ignore[{rule.code}] -- why` on the line, on the call that leads there, or on "
        "the workflow's `def`.",
        "",
    ]
    return "\n".join(parts)


def _plain(page: str) -> str:
    """Markdown for a terminal."""
    lines: list[str] = []
    code = False
    for line in page.splitlines():
        if line.startswith("```"):
            code = not code
        elif code:
            lines.append(f"    {line}")
        elif line.startswith("#"):
            title = line.lstrip("# ")
            lines += [title, ("=" if line.startswith("# ") else "-") * len(title)]
        else:
            lines += textwrap.wrap(line, 92) or [""]
    return "\n".join(lines) + "\n"


def index() -> str:
    """The page that lists all rules."""
    lines = ["# Rules", ""]
    family = ""
    for rule in all_rules().values():
        if rule.family != family:
            family = rule.family
            lines += ["", f"## {family[0].upper()}{family[1:]}", "", "| rule | name | severity |"]
            lines += ["|---|---|---|"]
        mark = "" if rule.level == "default" else f" ({rule.level})"
        link = f"[{rule.code}]({rule.code}.md)"
        lines.append(f"| {link} | {rule.name} | {rule.severity}{mark} |")
    return "\n".join(lines) + "\n"
