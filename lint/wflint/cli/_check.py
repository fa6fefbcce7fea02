"""``wflint check``.

PYTEST_DONT_REWRITE
"""

from __future__ import annotations

import difflib
import gc
import os
import signal
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Final

from .. import _warm, baseline
from .._where import find_config
from ..cache import Cache, pack
from ..config import TESTS, Config, ConfigError, from_table, load_config
from ..diagnostics import SEVERITIES, Diagnostic, Report
from ..engine import Checked, Engine
from ..fix.apply import fix_all, write_files
from ..project import Project, encode, matches
from ..report import FORMATS, concise, text
from ..report._text import statistics
from ..syntax import Tree

_MANY: Final = 40
"""Files that have to be parsed before it pays to do so in several processes."""


class Exit(Exception):  # noqa: N818 - an end, and no error
    """The end of a command, with its exit code."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


@dataclass
class Options:
    """What the command line says."""

    paths: tuple[str, ...] = (".",)
    config: str | None = None
    select: str | None = None
    extend_select: str | None = None
    ignore: str | None = None
    level: str | None = None
    format: str = "text"
    output: str | None = None
    fix: bool = False
    unsafe_fixes: bool = False
    diff: bool = False
    statistics: bool = False
    exit_zero: bool = False
    fail_level: str | None = None
    info: bool = False
    include_tests: bool = False
    require_resolved: bool = False
    jobs: int = 0
    no_cache: bool = False
    no_baseline: bool = False
    stdin_filename: str | None = None
    watch: bool = False
    quiet: bool = False
    colour: bool | None = None


class Session:
    """A project with its configuration and cache, ready to be checked any number of times."""

    def __init__(self, options: Options) -> None:
        self.options = options
        path = options.config or find_config(os.getcwd())
        if options.config is not None and not os.path.isfile(options.config):
            raise ConfigError(f"{options.config}: there is no such file")
        self.config = _with_options(load_config(path), options)
        self.cache = None if options.no_cache else Cache(self.config.root)
        self.project = self._project({})
        self.paths = [os.path.relpath(os.path.abspath(p), self.config.root) for p in options.paths]
        for given in options.paths:
            if not os.path.exists(given):
                raise ConfigError(f"{given}: there is no such file or folder")

    def _project(self, overlay: dict[str, str]) -> Project:
        # Paths are shown as seen from where the user stands.
        return Project(self.config.root, self.config.src, overlay)

    def parse(self, source: str) -> Tree:
        """The tree of a text."""
        from ..syntax._lower import lower

        return lower(source) if self.cache is None else self.cache.tree(source, lower)

    def check(self, overlay: dict[str, str] | None = None) -> Checked:
        """Checks the project, with some texts in place of the files'."""
        laid = {os.path.join(self.config.root, path): t for path, t in (overlay or {}).items()}
        self.project = self._project(laid)
        engine = Engine(self.project, self.config, self.parse)
        if not laid:
            self._parse_ahead(engine)
        with _Progress(quiet=self.options.quiet) as progress:
            checked = engine.check(self.paths, progress)
        if self.cache is not None:
            self.cache.save()
        report = checked.report
        if not self.options.info:
            report.diagnostics = [one for one in report.diagnostics if one.severity != "info"]
        return checked

    def _parse_ahead(self, engine: Engine) -> None:
        """Parses files with workflows in several processes, when there are many new ones."""
        jobs = self.options.jobs or os.cpu_count() or 1
        if jobs < 2 or self.cache is None:
            return
        files = list(self.project.discover(self.paths, self.config.exclude))
        todo: list[str] = []
        for path in engine.candidates(files):
            try:
                source = self.project.read(path)
            except Exception:
                continue
            if not self.cache.has(source):
                todo.append(source)
        if len(todo) < _MANY:
            return
        import multiprocessing

        method = "fork" if "fork" in multiprocessing.get_all_start_methods() else "spawn"
        size = max(1, min(20, len(todo) // (2 * jobs)))
        with multiprocessing.get_context(method).Pool(jobs, _leave_ctrl_c) as pool:
            for source, stored in zip(
                todo, pool.imap(_parse_one, todo, chunksize=size), strict=True
            ):
                if stored is not None:
                    self.cache.add(source, stored)

    def baseline_path(self) -> str:
        """Where the known findings are."""
        return os.path.join(self.config.root, self.config.baseline)


def _parse_one(source: str) -> bytes | None:
    from ..syntax._lower import lower

    try:
        return pack(lower(source))
    except Exception:
        return None  # said when it is this file's turn


def _with_options(config: Config, options: Options) -> Config:
    """The configuration, with what the command line and the environment say."""
    table: dict[str, Any] = {}
    for name, key in (
        ("WFLINT_SELECT", "select"),
        ("WFLINT_IGNORE", "ignore"),
        ("WFLINT_LEVEL", "level"),
        ("WFLINT_FAIL_LEVEL", "fail-level"),
    ):
        value = os.environ.get(name)
        if value:
            table[key] = value.split(",") if key in ("select", "ignore") else value
    if options.select:
        table["select"] = options.select.split(",")
    if options.ignore:
        table["ignore"] = options.ignore.split(",")
    if options.level:
        table["level"] = options.level
    if options.fail_level:
        table["fail-level"] = options.fail_level
    if options.include_tests:
        table["include-tests"] = True
    config = from_table(table, config)
    if options.extend_select:
        more = from_table({"select": options.extend_select.split(",")}).select
        config = replace(config, select=config.select + more)
    if options.require_resolved:
        config = replace(
            config,
            select=(*config.select, "WFL004"),
            severity={**config.severity, "WFL004": "error"},
        )
    return config


def _leave_ctrl_c() -> None:
    """Ctrl-C reaches all processes of a terminal; the first of them ends the others."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


class _Progress:
    """Says how far it is, on a terminal, once it has taken a second."""

    def __init__(self, *, quiet: bool) -> None:
        self._shows = sys.stderr.isatty() and not quiet
        self._next = time.monotonic() + 1
        self._shown = False

    def __enter__(self) -> _Progress:
        return self

    def __call__(self, files: int, functions: int) -> None:
        now = time.monotonic()
        if self._shows and now > self._next:
            self._next, self._shown = now + 0.1, True
            done = f"{files:,} files read, {functions:,} functions looked at"
            sys.stderr.write(f"\r\x1b[K{done} ")
            sys.stderr.flush()

    def __exit__(self, *_: object) -> None:
        if self._shown:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()


def colours(options: Options) -> bool:
    """Whether output is coloured."""
    if options.colour is not None:
        return options.colour
    if os.environ.get("NO_COLOR"):
        return False
    if os.environ.get("FORCE_COLOR"):
        return True
    return sys.stdout.isatty() and options.output is None


def rendered(report: Report, options: Options) -> str:
    """The report in the chosen format."""
    if options.statistics:
        return statistics(report)
    if options.format == "text":
        return text(report, colour=colours(options))
    if options.format == "concise":
        return concise(report, colour=colours(options))
    return FORMATS[options.format](report)


def exit_code(report: Report, config: Config, *, exit_zero: bool = False) -> int:
    """0 clean, 1 findings, 4 nothing but files that can't be read."""
    if exit_zero:
        return 0
    least = SEVERITIES.index(config.fail_level)
    failing = [
        one
        for one in report.diagnostics
        if SEVERITIES.index(one.severity) >= least and _counts(one, config)
    ]
    if not failing:
        return 0
    return 4 if all(one.code == "WFL003" for one in failing) else 1


def _counts(one: Diagnostic, config: Config) -> bool:
    """Findings in tests are shown, and do not fail the run unless that is asked for."""
    shown = one.path.replace("\\", "/")
    return config.include_tests or not any(matches(shown, pattern) for pattern in TESTS)


def check(options: Options) -> None:
    """Runs ``wflint check``; raises :class:`Exit`."""
    gc.disable()  # trees are full of references, and nothing here is garbage
    if options.stdin_filename is not None:
        raise Exit(_check_stdin(options))
    session = Session(options)
    if options.watch:
        raise Exit(_watch(session))
    config = session.config
    report = session.check().report
    if options.fix or options.diff:
        report = _fix(session, report)
    if not options.no_baseline:
        try:
            gone = baseline.apply(report, baseline.read(session.baseline_path()))
        except baseline.BaselineError as error:
            raise ConfigError(str(error)) from None
        if gone and not options.quiet:
            sys.stderr.write(f"{len(gone)} known findings are gone: run `wflint baseline write`\n")
    out = "" if options.diff else rendered(report, options)
    code = exit_code(report, config, exit_zero=options.exit_zero)
    if options.output:
        with open(options.output, "w", encoding="utf-8") as file:
            file.write(out)
        out = ""
    sys.stdout.write(out)
    argv = sys.argv[1:]
    if session.cache is not None and not options.output and _warm.may_be_kept(argv):
        session.cache.keep_result(_warm.result_name(argv), _kept(session, out, code))
    raise Exit(code)


def _kept(session: Session, out: str, code: int) -> dict[str, Any]:
    """An output, with all that it depends on."""
    config, project = session.config, session.project
    files = list(Project(config.root, config.src).discover(session.paths, config.exclude))
    known = session.baseline_path()
    watched = [*files, *project.paths_read()]
    absent: list[str] = []
    for path in (known, config.path):
        if path is not None:
            (watched if os.path.exists(path) else absent).append(path)
    return {
        "config": find_config(os.getcwd()),
        "root": config.root,
        "src": list(config.src),
        "paths": list(session.paths),
        "exclude": list(config.exclude),
        "files": files,
        "stamps": {path: _warm.stamp(path) for path in dict.fromkeys(watched)},
        "absent": absent,
        "out": out,
        "err": "",
        "code": code,
    }


def _fix(session: Session, report: Report) -> Report:
    options, config = session.options, session.config
    project = session.project

    def read(shown: str) -> str:
        return project.read(os.path.join(config.root, shown))

    fixed = fix_all(
        report,
        read,
        lambda texts: session.check(texts).report,
        unsafe=options.unsafe_fixes,
    )
    if options.diff:
        for shown, new in sorted(fixed.texts.items()):
            sys.stdout.writelines(_diff(shown, read(shown), new))
        return report
    write_files(
        config.root,
        fixed.texts,
        lambda path, new: encode(project.read_bytes(path), new),
    )
    if not options.quiet:
        files = len(fixed.texts)
        sys.stderr.write(
            f"fixed {fixed.count} finding{'' if fixed.count == 1 else 's'} "
            f"in {files} file{'' if files == 1 else 's'}\n"
        )
    return session.check().report if fixed.texts else fixed.report


def _diff(shown: str, old: str, new: str) -> Iterator[str]:
    lines = difflib.unified_diff(
        old.splitlines(keepends=True), new.splitlines(keepends=True), f"a/{shown}", f"b/{shown}"
    )
    for line in lines:
        yield line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n"


def _check_stdin(options: Options) -> int:
    """An unsaved text in place of a file's; findings of that file alone."""
    name = options.stdin_filename or ""
    source = sys.stdin.read()
    absolute = os.path.abspath(name)
    options = replace(options, paths=(os.path.dirname(name) or ".",), quiet=True)
    session = Session(options)
    shown = os.path.relpath(absolute, session.config.root)
    session.paths = [shown]
    report = session.check({shown: source}).report
    report.diagnostics = [one for one in report.diagnostics if one.path == shown]
    sys.stdout.write(rendered(report, options))
    return exit_code(report, session.config, exit_zero=options.exit_zero)


def _watch(session: Session) -> int:
    """Checks again whenever a file has changed, until it is interrupted."""
    before: dict[str, Any] | None = None
    while True:
        config = session.config
        project = Project(config.root, config.src)
        now = {p: _warm.stamp(p) for p in project.discover(session.paths, config.exclude)}
        if now != before:
            before = now
            start = time.monotonic()
            report = session.check().report
            sys.stdout.write("\x1b[2J\x1b[H" if sys.stdout.isatty() else "")
            sys.stdout.write(rendered(report, session.options))
            took = time.monotonic() - start
            sys.stdout.write(f"\nWatching for changes (took {took:.2f} s); Ctrl-C ends it.\n")
            sys.stdout.flush()
        try:
            time.sleep(0.3)
        except KeyboardInterrupt:
            return 0
