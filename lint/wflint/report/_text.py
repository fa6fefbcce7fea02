"""For people.

PYTEST_DONT_REWRITE
"""

from __future__ import annotations

from typing import Final

from ..diagnostics import Diagnostic, Report

_COLOURS: Final = {"error": "31;1", "warning": "33;1", "info": "36;1"}
_LONGEST: Final = 6


def _plain(text: str, _codes: str) -> str:
    return text


def _coloured(text: str, codes: str) -> str:
    return f"\x1b[{codes}m{text}\x1b[0m"


def concise(report: Report, *, colour: bool = False) -> str:
    """A line for each finding, and one for all."""
    lines = [_headline(one, colour=colour) for one in report.diagnostics]
    return "\n".join([*lines, summary(report, colour=colour)]) + "\n"


def text(report: Report, *, colour: bool = False) -> str:
    """Findings with their code, the way from the workflow, and what helps."""
    blocks = [_block(one, colour=colour) for one in report.diagnostics]
    return "\n".join([*blocks, summary(report, colour=colour)]) + "\n"


def _headline(one: Diagnostic, *, colour: bool) -> str:
    paint = _coloured if colour else _plain
    place = paint(f"{one.path}:{one.line}:{one.column}", "1")
    severity = paint(f"{one.severity} {one.code}", _COLOURS[one.severity])
    return f"{place}: {severity} {one.message}"


def _block(one: Diagnostic, *, colour: bool) -> str:
    paint = _coloured if colour else _plain
    lines = [_headline(one, colour=colour)]
    if one.excerpt:
        number = str(one.line)
        lines.append(f"  {paint(number + ' |', '34')} {one.excerpt}")
    steps = one.chain
    if len(steps) > 1:
        shown = list(steps)
        if len(shown) > _LONGEST:
            left = len(shown) - _LONGEST
            shown = shown[: _LONGEST - 1] + shown[-1:]
            elided = f"      … {left} more"
        else:
            elided = ""
        for place, step in enumerate(shown):
            if elided and place == len(shown) - 1:
                lines.append(paint(elided, "2"))
            note = "← here" if step.note == "here" else step.note
            lines.append(paint(f"    {step.path}:{step.line}  {step.symbol}  {note}", "2"))
    if one.roots:
        more = len(one.roots) - 3
        names = ", ".join(one.roots[:3]) + (f" and {more} more" if more > 0 else "")
        lines.append(paint(f"    in {names}", "2"))
    helps: list[str] = []
    if one.hint:
        helps.append(one.hint)
    if one.fix is not None:
        helps.append("--fix" if one.fix.safety == "safe" else "--fix --unsafe-fixes")
    helps.append(one.docs)
    lines.append(f"    {paint('help:', '32')} {' · '.join(helps)}")
    return "\n".join(lines) + "\n"


def summary(report: Report, *, colour: bool = False) -> str:
    """The last line."""
    paint = _coloured if colour else _plain
    numbers = report.summary
    workflows = _count(numbers["workflows"], "workflow")
    where = f"{workflows} in {_count(numbers['files'], 'file')}"
    if not report.diagnostics:
        return paint(f"No findings: {where}.", "32")
    parts = [
        _count(numbers[key], word)
        for key, word in (("errors", "error"), ("warnings", "warning"), ("infos", "note"))
        if numbers[key]
    ]
    fixable = sum(1 for d in report.diagnostics if d.fix is not None and d.fix.safety == "safe")
    ending = f" {fixable} can be fixed by --fix." if fixable else ""
    return paint(f"{', '.join(parts)} in {where}.{ending}", "1")


def _count(number: int, word: str) -> str:
    return f"{number:,} {word}{'' if number == 1 else 's'}"


def statistics(report: Report) -> str:
    """How many findings of each rule, the most first."""
    counts: dict[tuple[str, str], int] = {}
    for one in report.diagnostics:
        key = (one.code, one.name)
        counts[key] = counts.get(key, 0) + 1
    rows = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return "".join(f"{count:6,}  {code}  {name}\n" for (code, name), count in rows)
