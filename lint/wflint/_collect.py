"""From what the analysis knows to what users read: severities, chains, suppressions.

PYTEST_DONT_REWRITE
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Final, NamedTuple

from .analysis import Context, Edge, Event, Fix, Module, Program, Root
from .analysis._events import CONTROL, ESCAPE, IDENTITY, LOG, PAYLOAD, SINKS, STATE
from .analysis._modules import Function
from .config import TESTS, Config
from .diagnostics import Diagnostic, Lines, Report, Step, Suggestion, TextEdit
from .project import Project, matches
from .rules import Rule, all_rules
from .suppress import Suppression, Suppressions

if TYPE_CHECKING:
    from .engine import Failed

_QUIET_WHEN_LIVE: Final = frozenset({"WFL305", "WFL306", "WFL309", "WFL310"})
"""What may be done where nothing is replayed."""


class Way(NamedTuple):
    """How a context was first reached."""

    caller: Context | None
    edge: Edge | None
    root: Root


class Found(NamedTuple):
    """An event, or an ambient input, with all contexts that it was met in."""

    event: Event
    contexts: list[Context]
    sinks: frozenset[str] | None


class Collector:
    """Turns a solved program into diagnostics."""

    def __init__(self, project: Project, config: Config, program: Program) -> None:
        self._project = project
        self._config = config
        self._program = program
        self._lines: dict[str, Lines] = {}
        self._suppressions: dict[str, Suppressions] = {}
        self.local: list[tuple[Event, str]] = []
        """Events of rules that look at one place only, with the root that they speak of."""
        self._rules = all_rules()
        self._vouched: dict[tuple[str, int], Suppression] = {}

    # --- files

    def module(self, name: str) -> Module:
        """A module that was looked at."""
        found = self._program.modules[name]
        if found is None:
            raise LookupError(name)
        return found

    def lines(self, name: str) -> Lines:
        """A module's lines."""
        found = self._lines.get(name)
        if found is None:
            found = self._lines[name] = Lines(self.module(name).text)
        return found

    def suppressions(self, name: str) -> Suppressions:
        """A module's comments."""
        found = self._suppressions.get(name)
        if found is None:
            found = Suppressions(self.module(name), self.lines(name))
            self._suppressions[name] = found
            for one in found.all:
                if one.function is not None:
                    self._vouched[name, one.function] = one
        return found

    # --- what is reached

    def reach(self, roots: Iterable[Root], cut: str | None = None) -> dict[Context, Way]:
        """Contexts that roots reach, each by a shortest way; edges that comments cut are not taken.

        Ways on which nothing is replayed come last.
        """
        ways: dict[Context, Way] = {}
        queue: deque[Context] = deque()
        for root in roots:
            if cut is not None and self._quiet_root(root, cut):
                continue
            if root.context not in ways:
                ways[root.context] = Way(None, None, root)
                queue.append(root.context)
        while queue:
            context = queue.popleft()
            root = ways[context].root
            if self._is_vouched(context.function):
                continue
            for edge in context.edges.values():
                target = edge.target
                if target in ways or edge.quiet:
                    continue
                if cut is not None and self._cut(context, edge, cut) is not None:
                    continue
                ways[target] = Way(context, edge, root)
                queue.append(target)
        return ways

    def _quiet_root(self, root: Root, code: str) -> bool:
        """Whether a comment on a workflow's header keeps quiet all that it reaches."""
        function = root.function
        for one in self.suppressions(function.module.name).all:
            if one.block == function.fn.start and one.names(code):
                return True
        return False

    def _is_vouched(self, function: Function) -> bool:
        self.suppressions(function.module.name)
        return function.label in self._vouched

    def _cut(self, context: Context, edge: Edge, code: str) -> Suppression | None:
        name = context.function.module.name
        if edge.start <= 0:
            return None
        comments = self.suppressions(name)
        if not comments.all:
            return None
        return comments.on_line(code, self.lines(name).at(edge.start)[0])

    def chain(self, context: Context, ways: dict[Context, Way]) -> list[tuple[Context, Edge]]:
        """The edges from a root to a context."""
        found: list[tuple[Context, Edge]] = []
        at: Context | None = context
        while at is not None:
            way = ways[at]
            if way.caller is not None and way.edge is not None:
                found.append((way.caller, way.edge))
            at = way.caller
        found.reverse()
        return found

    # --- findings

    def _gather(self, ways: dict[Context, Way]) -> list[Found]:
        found: dict[tuple[str, str, int, str], Found] = {}
        for context in ways:
            off = context.adapter.off
            for key, event in context.events.items():
                if event.code in off:
                    continue
                if event.code in ("WFL102", "WFL101") and self._was_sorted(event):
                    continue
                if event.quiet and event.code in _QUIET_WHEN_LIVE:
                    continue
                known = found.get(key)
                if known is None:
                    found[key] = Found(event, [context], None)
                else:
                    known.contexts.append(context)
                    if known.event.log_only and not event.log_only:
                        found[key] = Found(event, known.contexts, None)
            if context.mode == "activity":
                continue
            for number in context.sources:
                source = self._program.sources[number]
                if source.code in off:
                    continue
                key = (source.code, source.module, source.start, source.symbol)
                known = found.get(key)
                if known is None:
                    event = Event(
                        source.code,
                        source.module,
                        source.start,
                        source.end,
                        source.symbol,
                        source.detail,
                        mode=context.mode,
                        fix=source.fix,
                    )
                    found[key] = Found(event, [context], frozenset(source.sinks))
                else:
                    known.contexts.append(context)
        return list(found.values())

    def _was_sorted(self, event: Event) -> bool:
        number: int | None = event.data.get("source")
        return number is not None and self._program.sources[number].is_sorted

    def report(self, failed: Sequence[Failed]) -> Report:
        """All diagnostics, in order."""
        roots = self._program.roots
        report = Report()
        report.roots = tuple(
            dict.fromkeys(
                f"{root.function.module.name}.{root.name}"
                for root in roots
                if root.kind != "activity"
            )
        )
        for root in roots:
            self.suppressions(root.function.module.name)
        ways = self.reach(roots)
        for context in ways:
            self.suppressions(context.function.module.name)
        if self._vouched:
            ways = self.reach(roots)
        by_root = self._contexts_by_root(roots)
        for found in self._gather(ways):
            self._add(report, found, ways, by_root)
        for event, root_name in self.local:
            self._add_local(report, event, root_name)
        for one in failed:
            self._add_failed(report, one)
        self._add_hygiene(report)
        report.diagnostics = sorted(dict.fromkeys(report.diagnostics), key=lambda one: one.sort_key)
        return report

    def _contexts_by_root(self, roots: Sequence[Root]) -> dict[Context, list[Root]]:
        found: dict[Context, list[Root]] = {}
        for root in roots:
            for context in self.reach([root]):
                found.setdefault(context, []).append(root)
        return found

    def _add(
        self,
        report: Report,
        found: Found,
        ways: dict[Context, Way],
        by_root: dict[Context, list[Root]],
    ) -> None:
        event = found.event
        rule = self._rules.get(event.code)
        if rule is None or not self._config.selects(rule.code, rule.level):
            return
        severity = self._severity(rule, found)
        if event.code == "WFL107" and not (found.sinks or frozenset()) - {LOG}:
            return  # only looked for among other identities
        own = found.contexts[0].function
        if own.label in self._vouched and severity == "error" and rule.code != "WFL005":
            detail = f"{_plain(event.symbol)} in it: {rule.code}"
            broken = Event("WFL005", own.module.name, own.fn.start, own.fn.end, own.fn.name, detail)
            self._add(report, Found(broken, found.contexts, None), ways, by_root)
            return
        line = self.lines(event.module).at(event.start)[0]
        comment = self.suppressions(event.module).find(event.code, line)
        if comment is not None:
            report.suppressed += 1
            return
        context = found.contexts[0]
        if self._has_cuts(event.code):
            allowed = self.reach(self._program.roots, cut=event.code)
            left = [one for one in found.contexts if one in allowed]
            self._note_cuts(event.code, ways)
            if not left:
                report.suppressed += 1
                return
            context, ways = left[0], allowed
        names = dict.fromkeys(
            f"{root.function.module.name}.{root.name}"
            for one in found.contexts
            for root in by_root.get(one, ())
        )
        steps = self._steps(event, context, ways)
        scope = f"{context.function.module.name}.{context.function.qualname}"
        made = self._diagnostic(rule, event, severity, tuple(names), steps, scope, found)
        if made is not None:
            report.diagnostics.append(made)

    def _has_cuts(self, code: str) -> bool:
        return any(
            one.names(code) and not one.whole_file and one.function is None
            for comments in self._suppressions.values()
            for one in comments.all
        )

    def _note_cuts(self, code: str, ways: dict[Context, Way]) -> None:
        """Comments at calls, and at roots, that kept a finding quiet."""
        for root in self._program.roots:
            for one in self.suppressions(root.function.module.name).all:
                if one.block == root.function.fn.start and one.names(code):
                    one.used.add(code)
        for context in ways:
            for edge in context.edges.values():
                comment = self._cut(context, edge, code)
                if comment is not None:
                    comment.used.add(code)

    def _severity(self, rule: Rule, found: Found) -> str:
        chosen = self._config.severity.get(rule.code)
        if chosen is not None:
            return chosen
        event = found.event
        if event.log_only and rule.family == "ordering and identity":
            return "info"
        if "severity" in event.data:
            return str(event.data["severity"])
        if rule.scale == "fixed" or found.sinks is None:
            return rule.severity
        modes = {context.mode for context in found.contexts}
        if modes <= {"query", "validator"}:
            return "warning"
        if found.sinks and found.sinks <= {LOG}:
            return "info"
        if rule.scale == "unless-logged":
            return "error"
        if CONTROL in found.sinks or IDENTITY in found.sinks:
            return "error"
        if PAYLOAD in found.sinks:
            return "error" if self._config.level != "default" else "warning"
        return "warning" if not found.sinks or found.sinks & {ESCAPE, STATE} else "info"

    def _steps(self, event: Event, context: Context, ways: dict[Context, Way]) -> tuple[Step, ...]:
        chain = self.chain(context, ways)
        steps: list[Step] = []
        for caller, edge in chain:
            name = caller.function.module.name
            line, column = self.lines(name).at(edge.start)
            steps.append(
                Step(
                    self._project.shown(caller.function.module.path),
                    line,
                    column,
                    caller.function.qualname,
                    f"calls {edge.symbol}",
                )
            )
        line, column = self.lines(event.module).at(event.start)
        path = self._project.shown(self.module(event.module).path)
        steps.append(Step(path, line, column, context.function.qualname, "here"))
        return tuple(steps)

    def _diagnostic(
        self,
        rule: Rule,
        event: Event,
        severity: str,
        roots: tuple[str, ...],
        steps: tuple[Step, ...],
        scope: str,
        found: Found | None,
    ) -> Diagnostic | None:
        module = self.module(event.module)
        path = self._project.shown(module.path)
        if self._ignored(path, rule.code):
            return None
        lines = self.lines(event.module)
        line, column = lines.at(event.start)
        end_line, end_column = lines.at(max(event.end, event.start + 1))
        instead = ""
        if found is not None:
            adapter = found.contexts[0].adapter
            general = adapter.replace.get("effect", "") if rule.code[3] in "23" else ""
            instead = adapter.replace.get(rule.code, general)
        sinks = found.sinks if found is not None and found.sinks else frozenset[str]()
        worst = next((one for one in SINKS if one in sinks), "")
        message = rule.message.format(
            symbol=_plain(event.symbol), detail=event.detail, instead=instead, sink=worst
        )
        if worst in (CONTROL, IDENTITY, PAYLOAD):
            message = f"{message}; it reaches {worst}"
        hint = f"use {instead}" if instead and instead not in message else ""
        return Diagnostic(
            code=rule.code,
            name=rule.name,
            severity=severity,
            message=message,
            path=path,
            line=line,
            column=column,
            end_line=end_line,
            end_column=end_column,
            roots=roots,
            chain=steps,
            fix=None if event.fix is None else self._suggestion(module, event.fix),
            hint=hint,
            scope=scope,
            excerpt=lines.line(line).strip(),
        )

    def _suggestion(self, module: Module, fix: Fix) -> Suggestion:
        from .fix.imports import import_edits

        path = self._project.shown(module.path)
        edits = [TextEdit(path, one.start, one.end, one.text) for one in fix.edits]
        for needed in fix.imports:
            edits += [
                TextEdit(path, one.start, one.end, one.text) for one in import_edits(module, needed)
            ]
        return Suggestion(fix.safety, tuple(edits))

    def _ignored(self, path: str, code: str) -> bool:
        shown = path.replace("\\", "/")
        patterns = {**TESTS, **self._config.per_file_ignores}
        if self._config.include_tests:
            patterns = dict(self._config.per_file_ignores)
        return any(
            matches(shown, pattern) and any(code.startswith(one) for one in codes)
            for pattern, codes in patterns.items()
        )

    def _add_local(self, report: Report, event: Event, root_name: str) -> None:
        rule = self._rules.get(event.code)
        if rule is None or not self._config.selects(rule.code, rule.level):
            return
        line = self.lines(event.module).at(event.start)[0]
        if self.suppressions(event.module).find(event.code, line) is not None:
            report.suppressed += 1
            return
        severity = self._config.severity.get(
            rule.code, str(event.data.get("severity", rule.severity))
        )
        path = self._project.shown(self.module(event.module).path)
        line, column = self.lines(event.module).at(event.start)
        step = Step(path, line, column, root_name, "here")
        roots = (f"{event.module}.{root_name}",) if root_name else ()
        made = self._diagnostic(rule, event, severity, roots, (step,), root_name, None)
        if made is not None:
            report.diagnostics.append(made)

    # --- the linter's own rules

    def _add_failed(self, report: Report, failed: Failed) -> None:
        rule = self._rules["WFL003"]
        if not self._config.selects(rule.code, rule.level):
            return
        path = self._project.shown(failed.path)
        report.diagnostics.append(
            Diagnostic(
                code=rule.code,
                name=rule.name,
                severity=self._config.severity.get(rule.code, rule.severity),
                message=rule.message.format(
                    symbol=path, detail=failed.message, instead="", sink=""
                ),
                path=path,
                line=failed.line,
                column=failed.column,
                end_line=failed.line,
                end_column=failed.column + 1,
            )
        )

    def _add_hygiene(self, report: Report) -> None:
        """Comments that keep nothing quiet, or are not understood."""
        for name, comments in self._suppressions.items():
            for one, problem in comments.bad:
                self._about_comment(report, name, one, "WFL002", problem)
            for one in comments.all:
                if one.unknown:
                    problem = f"names {', '.join(one.unknown)}, which is no rule"
                    self._about_comment(report, name, one, "WFL002", problem)
                elif self._config.require_reason and not one.reason and not one.is_noqa:
                    self._about_comment(report, name, one, "WFL002", "gives no reason")
                elif self._is_unused(one):
                    self._about_comment(report, name, one, "WFL001", "", fix=True)

    def _is_unused(self, one: Suppression) -> bool:
        if one.used or one.function is not None or one.whole_file:
            return False
        # A rule that was not looked for may well be broken here.
        return all(
            self._config.selects(rule.code, rule.level)
            for rule in self._rules.values()
            if one.codes and rule.code in one.codes
        )

    def _about_comment(
        self,
        report: Report,
        name: str,
        one: Suppression,
        code: str,
        problem: str,
        *,
        fix: bool = False,
    ) -> None:
        rule = self._rules[code]
        if not self._config.selects(rule.code, rule.level):
            return
        module = self.module(name)
        path = self._project.shown(module.path)
        suggestion = None
        if fix and not one.is_noqa:
            start = one.start
            while start > 0 and module.text[start - 1] in " \t":
                start -= 1
            suggestion = Suggestion("safe", (TextEdit(path, start, one.stop, ""),))
        message = rule.message.format(symbol=one.text, detail=problem, instead="", sink="")
        report.diagnostics.append(
            Diagnostic(
                code=code,
                name=rule.name,
                severity=self._config.severity.get(code, rule.severity),
                message=message,
                path=path,
                line=one.line,
                column=one.column,
                end_line=one.line,
                end_column=one.column + len(one.text),
                fix=suggestion,
                excerpt=one.text,
            )
        )


def _plain(symbol: str) -> str:
    return symbol.removeprefix("builtins.")
