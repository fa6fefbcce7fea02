"""Applying fixes: all at once, looked at again, and taken back where they do not help.

PYTEST_DONT_REWRITE
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable

from ..diagnostics import Diagnostic, Report, TextEdit

Check = Callable[[dict[str, str]], Report]
"""Looks at the project with some texts in place of the files'."""

_ROUNDS = 8


class Fixed:
    """What came of it.

    Attributes:
        texts: new texts by path, as shown.
        count: findings that are gone.
        report: what is left.
    """

    def __init__(self, texts: dict[str, str], count: int, report: Report) -> None:
        self.texts = texts
        self.count = count
        self.report = report


def fix_all(
    report: Report, read: Callable[[str], str], check: Check, *, unsafe: bool = False
) -> Fixed:
    """Applies the fixes of a report, again while new ones appear.

    Args:
        read: the text of a file, by its shown path.
        check: the report with new texts, by shown path.
        unsafe: also those that may change what happens to runs in flight.
    """
    texts: dict[str, str] = {}
    original = report
    refused: set[tuple[str, str, str]] = set()
    for _ in range(_ROUNDS):
        chosen = [one for one in _fixable(report, unsafe=unsafe) if _name(one) not in refused]
        if not chosen:
            break
        attempt = _apply(chosen, texts, read)
        after = check(attempt)
        if _is_better(report, after, chosen):
            texts, report = attempt, after
            continue
        # Some of them do not help: one by one.
        helped = False
        for one in chosen:
            attempt = _apply([one], texts, read)
            after = check(attempt)
            if _is_better(report, after, [one]):
                texts, report, helped = attempt, after, True
                break
            refused.add(_name(one))
        if not helped:
            break
    return Fixed(texts, len(original.diagnostics) - len(report.diagnostics), report)


def _name(one: Diagnostic) -> tuple[str, str, str]:
    return (one.code, one.path, one.excerpt)


def _fixable(report: Report, *, unsafe: bool) -> list[Diagnostic]:
    return [
        one
        for one in report.diagnostics
        if one.fix is not None and (unsafe or one.fix.safety == "safe")
    ]


def _is_better(before: Report, after: Report, chosen: list[Diagnostic]) -> bool:
    """Fewer findings, none of another kind, and nothing that can't be read any more."""
    if after.unparsable > before.unparsable:
        return False
    if len(after.diagnostics) > len(before.diagnostics) - len({_name(one) for one in chosen}):
        return False
    known = {(one.code, one.path) for one in before.diagnostics}
    return all((one.code, one.path) in known for one in after.diagnostics)


def _apply(
    chosen: Iterable[Diagnostic], texts: dict[str, str], read: Callable[[str], str]
) -> dict[str, str]:
    """The texts with the edits of some findings; of edits that overlap, the first one counts."""
    by_path: dict[str, list[TextEdit]] = {}
    for one in chosen:
        if one.fix is None:
            continue
        edits = list(one.fix.edits)
        taken = [e for path in {edit.path for edit in edits} for e in by_path.get(path, [])]
        if any(_overlap(edit, other) for edit in edits for other in taken if edit != other):
            continue
        for edit in edits:
            known = by_path.setdefault(edit.path, [])
            if edit not in known or edit.start != edit.end or "import" not in edit.text:
                known.append(edit)
    found = dict(texts)
    for path, edits in by_path.items():
        text = found.get(path)
        if text is None:
            text = read(path)
        for edit in sorted(edits, key=lambda e: (e.start, e.end), reverse=True):
            text = text[: edit.start] + edit.text + text[edit.end :]
        found[path] = text
    return found


def _overlap(one: TextEdit, other: TextEdit) -> bool:
    if one.path != other.path:
        return False
    return one.start < other.end and other.start < one.end


def write_files(root: str, texts: dict[str, str], encode: Callable[[str, str], bytes]) -> None:
    """Writes new texts, each aside first, with the file's own permissions."""
    for shown, text in texts.items():
        path = os.path.join(root, shown)
        data = encode(path, text)
        aside = f"{path}.wflint"
        with open(aside, "wb") as file:
            file.write(data)
        os.chmod(aside, os.stat(path).st_mode)
        os.replace(aside, path)
