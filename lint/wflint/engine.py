"""The one way to check a project: for the command line, for editors, for tests.

PYTEST_DONT_REWRITE
"""

from __future__ import annotations

import os
import re
import sys
import threading
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

from . import adapters as adapters_module
from . import effects as effects_module
from ._collect import Collector
from .adapters import AdapterError, Adapters
from .analysis import Module, Program, find_roots
from .analysis._local import check_definitions, check_module
from .config import Config, ConfigError
from .diagnostics import Report
from .effects import Effects, EffectsError
from .project import Project, UnreadableError
from .syntax import Node, Tree, UnparsableError

_STACK: Final = 512 * 1024 * 1024
_RECURSION: Final = 30_000

Parser = Callable[[str], Tree]

Progress = Callable[[int, int], None]
"""Is told now and then how many files were read and how many functions looked at."""


class StoppedError(BaseException):
    """The check was interrupted; like ``KeyboardInterrupt``, nothing on the way may catch it."""


class Checked:
    """A project that was looked at: what was found, and the program behind it."""

    def __init__(self, report: Report, program: Program, collector: Collector) -> None:
        self.report = report
        self.program = program
        self.collector = collector


class Failed:
    """A file that could not be read."""

    def __init__(self, path: str, message: str, line: int = 1, column: int = 1) -> None:
        self.path = path
        self.message = message
        self.line = line
        self.column = column


def make_adapters(config: Config) -> Adapters:
    """The frameworks that a configuration names.

    Raises:
        ConfigError: one is not known, or not understood.
    """
    names = adapters_module.builtin_names()
    chosen: list[str] = []
    for name in config.adapters:
        if name == "auto":
            chosen += [one for one in names if one not in chosen]
        elif name in names:
            chosen.append(name)
        elif name not in config.own_adapters:
            known = ", ".join(names)
            raise ConfigError(f"adapters: there is no {name!r}; there are {known}")
    found = [adapters_module.load_builtin(name) for name in chosen]
    try:
        found += [adapters_module.read_adapter(n, t) for n, t in config.own_adapters.items()]
    except (AdapterError, TypeError) as error:
        raise ConfigError(str(error)) from None
    return Adapters(found)


def make_effects(config: Config) -> Effects:
    """The table of effects, with the user's own entries.

    Raises:
        ConfigError: one of those is not understood.
    """
    effects = effects_module.load()
    try:
        for name, entry in config.effects.items():
            effects.add_user(name, entry)
        for name in config.deterministic:
            effects.add_user(name, "deterministic")
    except EffectsError as error:
        raise ConfigError(f"effects: {error}") from None
    return effects


class Engine:
    """Checks a project; may be asked again when files have changed.

    Args:
        project: the files.
        config: the settings.
        parse: the tree of a text; the cache's, or the plain one.
    """

    def __init__(self, project: Project, config: Config, parse: Parser | None = None) -> None:
        self.project = project
        self.config = config
        self._adapters = make_adapters(config)
        self._effects = make_effects(config)
        self._parse = parse or _lower
        self._failed: dict[str, Failed] = {}
        self._parsed: set[str] = set()
        self._modules: dict[str, Module] = {}
        self._progress: Progress | None = None
        self._stopped = False
        self._looked = 0

    def candidates(self, files: Sequence[str]) -> list[str]:
        """Files that may hold workflows, for they mention a framework."""
        names = "|".join(re.escape(name.partition(".")[0]) for name in self._adapters.imports)
        pattern = re.compile(rf"\b(?:{names})\b".encode())
        found: list[str] = []
        for path in files:
            try:
                if pattern.search(self.project.read_bytes(path)):
                    found.append(path)
            except UnreadableError as error:
                self._failed[path] = Failed(path, str(error))
        return found

    def check(self, paths: Iterable[str] = (".",), progress: Progress | None = None) -> Checked:
        """Looks at all files below some paths, and at whatever their workflows reach."""
        self._progress, self._stopped, self._looked = progress, False, 0
        given = list(paths)
        checked: Checked = _with_a_deep_stack(lambda: self._check(given), self._stop)
        return checked

    def _stop(self) -> None:
        self._stopped = True

    def _tick(self) -> None:
        if self._stopped:
            raise StoppedError
        self._looked += 1
        if self._progress is not None and not self._looked % 32:
            self._progress(len(self._parsed), self._looked)

    def _check(self, paths: list[str]) -> Checked:
        files = list(self.project.discover(paths, self.config.exclude))
        for folder, reason in self.project.closed.items():
            self._failed[folder] = Failed(folder, reason)
        program = Program(
            self._load,
            self._effects,
            self._adapters,
            dict_iteration=self.config.dict_iteration,
            replay_safe_loggers=self.config.replay_safe_loggers,
            tick=self._tick,
        )
        candidates = self.candidates(files)
        named = [(path, self.project.name_of(path)) for path in candidates]
        # A framework's own code is deterministic by decree, also in its own repository.
        named = [one for one in named if not self._adapters.is_opaque(one[1])]
        for path, name in named:
            module = self._module(path, name, os.path.basename(path) == "__init__.py")
            if module is not None:
                program.modules.setdefault(name, module)
        for _, name in named:
            module = program.modules.get(name)
            if module is not None:
                find_roots(program, module)
        program.solve()
        collector = Collector(self.project, self.config, program)
        for _, name in named:
            module = program.modules.get(name)
            if module is not None:
                check_module(program, module, collector.local)
        check_definitions(program, collector.local)
        report = collector.report(list(self._failed.values()))
        report.files = len(files)
        report.parsed = len(self._parsed)
        report.unparsable = len(self._failed)
        return Checked(report, program, collector)

    def _load(self, name: str) -> Module | None:
        found = self.project.find(name)
        if found is None:
            return None
        return self._module(found[0], name, found[1])

    def _module(self, path: str, name: str, is_package: bool) -> Module | None:
        if path in self._failed:
            return None
        known = self._modules.get(path)
        try:
            text = self.project.read(path)
            if known is not None and known.text == text and known.name == name:
                return known
            if self._stopped:
                raise StoppedError
            if self._progress is not None:
                self._progress(len(self._parsed), self._looked)
            tree = self._parse(text)
        except UnreadableError as error:
            self._failed[path] = Failed(path, str(error))
            return None
        except UnparsableError as error:
            self._failed[path] = Failed(path, error.message, error.line, error.column)
            return None
        self._parsed.add(path)
        module = Module(name, path, text, tree, is_package=is_package)
        self._modules[path] = module
        return module


def _lower(text: str) -> Tree:
    from .syntax._lower import lower

    return lower(text)


def _with_a_deep_stack(work: Callable[[], Any], stop: Callable[[], None]) -> Any:
    """Runs something that recurses as deeply as the code that it looks at.

    Whoever interrupts this has it stopped, and waited for: the interpreter dies of a thread that
    is deeper in calls than the limit allows.
    """
    result: list[Any] = []
    error: list[BaseException] = []

    def run() -> None:
        try:
            result.append(work())
        except BaseException as caught:
            error.append(caught)

    before, size = sys.getrecursionlimit(), threading.stack_size(_STACK)
    sys.setrecursionlimit(_RECURSION)
    try:
        thread = threading.Thread(target=run, name="wflint", daemon=True)
        try:
            thread.start()
            thread.join()
        except BaseException:
            stop()
            if thread.ident is not None:
                thread.join()
            raise
    finally:
        sys.setrecursionlimit(before)
        threading.stack_size(size)
    if error:
        raise error[0]
    return result[0]


def check_texts(texts: dict[str, str], config: Config | None = None) -> Checked:
    """Checks files that are given by their texts; for tests and examples."""
    root = os.path.abspath(os.sep + "project")
    overlay = {os.path.join(root, path): text for path, text in texts.items()}
    project = Project(root, (), overlay)
    return Engine(project, config or Config(root=root)).check(sorted(texts))


__all__ = ["Checked", "Engine", "Failed", "Node", "check_texts", "make_adapters", "make_effects"]
