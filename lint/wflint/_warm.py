"""The quick way out: nothing has changed since the last run, so its output is printed again.

Neither LibCST nor click is imported, which alone would take longer than all of this.

PYTEST_DONT_REWRITE
"""

from __future__ import annotations

import os
import sys
from typing import Any, cast

from ._where import find_config

_UNCACHED = (
    *("--fix", "--unsafe-fixes", "--diff", "--watch", "-w", "--no-cache", "--stdin-filename"),
    *("--config", "--help", "--version"),
)

_COMMANDS = ("explain", "rules", "init", "baseline", "graph", "why")


def result_name(argv: list[str]) -> str:
    """What an output depends on besides the files."""
    from .cache import digest

    terminal = (
        sys.stdout.isatty(),
        os.environ.get("NO_COLOR"),
        os.environ.get("FORCE_COLOR"),
        os.environ.get("TERM"),
    )
    options = {key: value for key, value in os.environ.items() if key.startswith("WFLINT_")}
    parts = (argv, os.getcwd(), terminal, sorted(options.items()))
    return digest(repr(parts).encode("utf-8", "surrogateescape"))


def may_be_kept(argv: list[str]) -> bool:
    """Whether a command line is one whose output depends on files alone."""
    if (argv[:1] and argv[0] in _COMMANDS) or "_WFLINT_COMPLETE" in os.environ:
        return False
    return not any(one.partition("=")[0] in _UNCACHED for one in argv)


def stamp(path: str) -> tuple[int, int] | None:
    """What changes when a file does."""
    try:
        stat = os.stat(path)
    except OSError:
        return None
    return stat.st_mtime_ns, stat.st_size


def replay(argv: list[str]) -> int | None:
    """Prints the last output if it still holds, and gives its exit code; else ``None``."""
    if not may_be_kept(argv):
        return None
    config = find_config(os.getcwd())
    root = os.getcwd() if config is None else os.path.dirname(config)
    from .cache import FOLDER, Cache

    if not os.path.isdir(os.path.join(root, FOLDER)):
        return None
    kept: Any = Cache(root).result(result_name(argv))
    if not isinstance(kept, dict):
        return None
    found = cast("dict[str, Any]", kept)
    try:
        if found["config"] != config or not _holds(found):
            return None
        out, err, code = found["out"], found["err"], found["code"]
    except (KeyError, TypeError, ValueError):
        return None
    sys.stderr.write(err)
    sys.stdout.write(out)
    return int(code)


def _holds(found: dict[str, Any]) -> bool:
    """Whether the same files are there, unchanged."""
    from .project import Project

    stamps: dict[str, Any] = found["stamps"]
    for path, before in stamps.items():
        now = stamp(path)
        if now is None or tuple(before) != now:
            return False
    for path in found["absent"]:
        if os.path.exists(path):
            return False
    project = Project(found["root"], found["src"])
    return list(project.discover(found["paths"], found["exclude"])) == list(found["files"])
