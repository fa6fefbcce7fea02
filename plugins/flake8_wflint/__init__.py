"""wflint in flake8: the findings of the file at hand, as part of its whole project.

The first process that flake8 starts checks the project, under a file lock; the others wait and
take its result. ``--wflint-per-file`` looks at each file alone. Without LibCST one ``WFL000`` says
what to install.

PYTEST_DONT_REWRITE
"""

from __future__ import annotations

import argparse
import ast
import os
from collections.abc import Iterator
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, ClassVar, Final

if TYPE_CHECKING:
    from wflint.diagnostics import Diagnostic

_MISSING: Final = "WFL000 wflint needs LibCST, which is not installed: pip install 'perdure[lint]'"

Finding = tuple[int, int, str, type[Any]]


class Plugin:
    """A flake8 plugin. Findings of severity ``info`` are left out."""

    name = "flake8-wflint"
    version = "0.1.0"

    _per_file: ClassVar[bool] = False
    _level: ClassVar[str] = ""
    _root: ClassVar[str | None] = None
    _said: ClassVar[bool] = False
    _known: ClassVar[dict[str, dict[str, list[Diagnostic]]]] = {}

    def __init__(self, tree: ast.AST, filename: str, lines: list[str]) -> None:
        self._filename = filename
        self._lines = lines

    @classmethod
    def add_options(cls, parser: Any) -> None:
        """Registers options, also for flake8's configuration files."""
        parser.add_option(
            "--wflint-per-file",
            action="store_true",
            default=False,
            parse_from_config=True,
            help="look at each file alone, without the project around it",
        )
        parser.add_option(
            "--wflint-level",
            default="",
            parse_from_config=True,
            help="set of rules: default, strict or pedantic",
        )

    @classmethod
    def parse_options(cls, options: argparse.Namespace) -> None:
        """Takes the options in."""
        cls._per_file = bool(options.wflint_per_file)
        cls._level = str(options.wflint_level)

    def run(self) -> Iterator[Finding]:
        """The findings of the file."""
        if find_spec("libcst") is None:
            if not Plugin._said:
                Plugin._said = True
                yield 1, 0, _MISSING, Plugin
            return
        for one in self._findings():
            if one.severity != "info":
                yield one.line, one.column - 1, f"{one.code} {one.message}", Plugin

    def _findings(self) -> list[Diagnostic]:
        from wflint.config import find_config

        text = "".join(self._lines)
        if self._filename in ("-", "stdin"):
            return _check_alone(os.path.join(os.getcwd(), "stdin.py"), text, self._level)
        path = os.path.abspath(self._filename)
        if self._per_file:
            return _check_alone(path, text, self._level)
        config = find_config(os.path.dirname(path))
        root = os.path.dirname(config) if config is not None else os.path.dirname(path)
        found = Plugin._known.get(root)
        if found is None:
            found = Plugin._known[root] = _check_project(root, config, self._level)
        return found.get(path, [])


def _check_alone(path: str, text: str, level: str) -> list[Diagnostic]:
    from wflint.config import from_table, load_config
    from wflint.engine import Engine
    from wflint.project import Project

    config = from_table({"level": level} if level else {}, load_config(None))
    project = Project(os.path.dirname(path), (), {path: text}, alone=True)
    found = Engine(project, config).check([path]).report.diagnostics
    # A comment may keep quiet what only the whole program shows.
    return [one for one in found if one.code != "WFL001"]


def _check_project(root: str, config: str | None, level: str) -> dict[str, list[Diagnostic]]:
    """Findings by absolute path. Whoever comes first fills the cache; the rest read it."""
    from wflint.cache import Cache
    from wflint.config import from_table, load_config
    from wflint.engine import Engine
    from wflint.project import Project
    from wflint.syntax._lower import lower

    settings = from_table({"level": level} if level else {}, load_config(config))
    if config is None:
        root = os.path.abspath(root)
    cache = Cache(root)
    project = Project(root, settings.src)
    with cache.locked("flake8"):
        report = Engine(project, settings, lambda text: cache.tree(text, lower)).check().report
        cache.save()
    found: dict[str, list[Diagnostic]] = {}
    for one in report.diagnostics:
        found.setdefault(os.path.join(root, one.path), []).append(one)
    return found
