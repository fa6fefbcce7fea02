"""What reaches what: ``wflint graph`` and ``wflint why``.

PYTEST_DONT_REWRITE
"""

from __future__ import annotations

import os

import click

from ..analysis import Context, Root
from ..diagnostics import Lines
from ..engine import Checked
from ._check import Session


def graph(checked: Checked, name: str, format: str) -> str:
    """The calls that a workflow makes, as Mermaid or DOT."""
    roots = list(_named(checked, name))
    if not roots:
        known = ", ".join(checked.report.roots[:10]) or "none"
        raise click.UsageError(f"there is no workflow {name!r}; there are: {known}")
    numbers: dict[str, int] = {}
    edges: dict[tuple[str, str], None] = {}
    marked: dict[str, str] = {}
    for context in checked.collector.reach(roots):
        label = _label(context)
        numbers.setdefault(label, len(numbers))
        codes = {event.code for event in context.events.values()}
        codes |= {checked.program.sources[number].code for number in context.sources}
        if codes:
            marked[label] = ", ".join(sorted(codes))
        for edge in context.edges.values():
            numbers.setdefault(_label(edge.target), len(numbers))
            edges[label, _label(edge.target)] = None
    if format == "dot":
        lines = ["digraph wflint {", "  rankdir=LR;"]
        for label, number in numbers.items():
            codes_text = marked.get(label)
            extra = f'\\n{codes_text}", color="red"' if codes_text else '"'
            lines.append(f'  n{number} [label="{label}{extra}];')
        lines += [f"  n{numbers[a]} -> n{numbers[b]};" for a, b in edges]
        return "\n".join([*lines, "}"]) + "\n"
    lines = ["flowchart LR"]
    for label, number in numbers.items():
        codes_text = marked.get(label)
        text = f"{label}<br/>{codes_text}" if codes_text else label
        lines.append(f'  n{number}["{text}"]')
    lines += [f"  n{numbers[a]} --> n{numbers[b]}" for a, b in edges]
    bad = [f"n{numbers[label]}" for label in numbers if label in marked]
    if bad:
        lines += ["  classDef bad stroke:#c00,stroke-width:2px", f"  class {','.join(bad)} bad"]
    return "\n".join(lines) + "\n"


def _label(context: Context) -> str:
    return f"{context.function.module.name}.{context.function.qualname}"


def _named(checked: Checked, name: str) -> list[Root]:
    return [
        root
        for root in checked.program.roots
        if root.kind != "activity"
        and name in (root.name, f"{root.function.module.name}.{root.name}", root.function.fn.name)
    ]


def why(session: Session, path: str, line: int) -> str:
    """The ways from workflows to a line."""
    checked = session.check()
    absolute = os.path.abspath(path)
    collector = checked.collector
    ways = collector.reach(checked.program.roots)
    lines: list[str] = []
    seen: set[tuple[str, str]] = set()
    for context, way in ways.items():
        function = context.function
        if function.module.path != absolute or way.root.kind == "activity":
            continue
        at = Lines(function.module.text)
        first = at.at(function.fn.whole_start)[0]
        last = at.at(max(function.fn.whole_end - 1, 0))[0]
        if not first <= line <= last:
            continue
        root = f"{way.root.function.module.name}.{way.root.name}"
        if (root, function.qualname) in seen:
            continue
        seen.add((root, function.qualname))
        lines.append(f"{root} reaches {function.qualname}:")
        for caller, edge in collector.chain(context, ways):
            module = caller.function.module
            number = Lines(module.text).at(edge.start)[0]
            shown = session.project.shown(module.path)
            lines.append(f"  {shown}:{number}  {caller.function.qualname} calls {edge.symbol}")
        lines.append(f"  {path}:{line}  ← here")
    found = [
        one
        for one in checked.report.diagnostics
        if os.path.abspath(os.path.join(session.config.root, one.path)) == absolute
        and one.line <= line <= one.end_line
    ]
    lines += [f"{one.severity} {one.code}: {one.message}" for one in found]
    if not lines:
        return f"No workflow reaches {path}:{line}.\n"
    return "\n".join(lines) + "\n"
