"""Comments that keep findings quiet, with the reason why.

``# wflint: ignore[WFL201, set-iteration] -- reason`` holds for its line; on a ``def``, ``class``
or ``with``, for the block. ``ignore-next-line[…]`` holds for the next line, ``skip-file`` for the
file. ``# wflint: deterministic -- reason`` on a ``def`` vouches for a function. ``# noqa: WFL201``
works too.

PYTEST_DONT_REWRITE
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from .analysis import Module
from .analysis._modules import walk
from .diagnostics import Lines

_OURS: Final = re.compile(
    r"#\s*wflint:\s*(?P<verb>[a-z-]+)\s*(?:\[(?P<codes>[^\]]*)\])?\s*(?:--\s*(?P<reason>.*))?",
)
_NOQA: Final = re.compile(r"#\s*noqa\s*:\s*(?P<codes>[A-Z]+[0-9]+(?:[,\s]+[A-Z]+[0-9]+)*)", re.I)
_VERBS: Final = frozenset({"ignore", "ignore-next-line", "skip-file", "deterministic"})


@dataclass(slots=True)
class Suppression:
    """One comment.

    Attributes:
        codes: codes or beginnings of codes; empty means all.
        first, last: the lines that it holds for.
        line, column, end: where the comment stands; ``start`` and ``stop`` are offsets.
        used: codes that it kept quiet.
    """

    codes: tuple[str, ...]
    first: int
    last: int
    line: int
    column: int
    start: int
    stop: int
    reason: str
    text: str
    is_noqa: bool = False
    whole_file: bool = False
    function: int | None = None
    used: set[str] = field(default_factory=set[str])
    unknown: tuple[str, ...] = ()
    block: int = -1
    """The name of the function whose header it stands on."""

    def covers(self, code: str, line: int) -> bool:
        """Whether it keeps a finding on a line quiet."""
        if not self.whole_file and not self.first <= line <= self.last:
            return False
        return self.names(code)

    def names(self, code: str) -> bool:
        """Whether it speaks of a rule."""
        return not self.codes or any(code.startswith(one) for one in self.codes)


class Suppressions:
    """All comments of a file."""

    def __init__(self, module: Module, lines: Lines) -> None:
        self.all: list[Suppression] = []
        self.bad: list[tuple[Suppression, str]] = []
        text = module.text
        if "wflint:" not in text and "noqa" not in text and "NOQA" not in text:
            return
        blocks = dict(_blocks(module, lines))
        for start, comment in module.tree.comments:
            if "wflint:" in comment:
                self._ours(start, comment, lines, blocks)
            elif "noqa" in comment.lower():
                self._noqa(start, comment, lines)

    def _ours(
        self, start: int, comment: str, lines: Lines, blocks: dict[int, tuple[int, int]]
    ) -> None:
        match = _OURS.search(comment)
        line, column = lines.at(start)
        if match is None or match["verb"] not in _VERBS:
            made = _made((), line, line, line, column, start, comment, "")
            self.bad.append((made, "is not understood; write `# wflint: ignore[WFL…] -- reason`"))
            return
        reason = (match["reason"] or "").strip()
        codes, unknown = _resolve(match["codes"])
        first = last = line
        found_block = -1
        verb = match["verb"]
        if verb == "ignore-next-line":
            first = last = line + 1
        elif line in blocks:
            last, found_block = blocks[line]
        begin, end = start + match.start(), start + match.end()
        found = _made(codes, first, last, line, column, begin, comment, reason)
        found.stop = end
        found.unknown = unknown
        found.block = found_block
        if unknown and not codes:
            found.codes = ("?",)
        if verb == "skip-file":
            found.whole_file = True
        elif verb == "deterministic":
            found.function = blocks.get(line, (0, -1))[1]
            found.codes = ()
            if found.function < 0:
                self.bad.append((found, "stands on no `def`"))
                return
        elif match["codes"] is None or not match["codes"].strip():
            self.bad.append((found, "names no rule; write `ignore[WFL…]`"))
            found.codes = ("WFL",)
        self.all.append(found)

    def _noqa(self, start: int, comment: str, lines: Lines) -> None:
        match = _NOQA.search(comment)
        if match is None:
            return
        codes = tuple(
            one.upper() for one in re.split(r"[,\s]+", match["codes"]) if one.upper()[:3] == "WFL"
        )
        if codes:
            line, column = lines.at(start)
            found = _made(codes, line, line, line, column, start, comment, "")
            found.is_noqa = True
            self.all.append(found)

    def find(self, code: str, line: int) -> Suppression | None:
        """What keeps a finding quiet."""
        for one in self.all:
            if one.function is None and one.covers(code, line):
                one.used.add(code)
                return one
        return None

    def on_line(self, code: str, line: int) -> Suppression | None:
        """A comment on the very line, which speaks of a rule."""
        for one in self.all:
            if one.function is None and not one.whole_file and one.first == line:
                if one.names(code):
                    return one
        return None


def _made(
    codes: tuple[str, ...],
    first: int,
    last: int,
    line: int,
    column: int,
    start: int,
    text: str,
    reason: str,
) -> Suppression:
    return Suppression(
        codes, first, last, line, column, start, start + len(text), reason, text.strip()
    )


def _resolve(codes: str | None) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Codes for the codes and names in brackets, and what is neither."""
    from .rules import all_rules, find_rule

    found: list[str] = []
    unknown: list[str] = []
    for one in re.split(r"[,\s]+", codes or ""):
        if not one:
            continue
        rule = find_rule(one)
        if rule is not None:
            found.append(rule.code)
        elif one.upper().startswith("WFL") and any(c.startswith(one.upper()) for c in all_rules()):
            found.append(one.upper())
        else:
            unknown.append(one)
    return tuple(found), tuple(unknown)


def _blocks(module: Module, lines: Lines) -> Iterator[tuple[int, tuple[int, int]]]:
    """Lines of headers: the last line of their block, and the start of the function's name."""
    for node in walk(module.tree.body):
        tag = node[0]
        if tag not in ("def", "class", "with"):
            continue
        last = lines.at(max(node[2] - 1, node[1]))[0]
        name = node[3][1] if tag == "def" else -1
        first = lines.at(node[1])[0]
        body = node[3][8] if tag == "def" else node[3][5] if tag == "class" else node[4]
        end = lines.at(body[0][1])[0] if body else first
        for line in range(first, max(first + 1, end)):
            yield line, (last, name)
