"""``wflint init``: what a project needs to use the linter.

PYTEST_DONT_REWRITE
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator

_SECTION = """\
[tool.wflint]
# Import roots besides the project's folder.
src = ["src"]
# "strict": iterating any dictionary of unknown origin is an error. "tainted": only those whose
# order was made by a set. "off": none.
dict-iteration = "strict"
"""

_HOOK = """\
repos:
  - repo: local
    hooks:
      - id: wflint
        name: wflint
        entry: wflint check
        language: system
        types: [python]
        pass_filenames: false
        require_serial: true
"""

_ENTRY = _HOOK.removeprefix("repos:\n")


def init(folder: str, *, force: bool = False) -> Iterator[str]:
    """Writes files in a folder; says what was done."""
    yield _write_config(os.path.join(folder, "pyproject.toml"), force=force)
    yield _write_hook(os.path.join(folder, ".pre-commit-config.yaml"))
    yield _write_ruff(os.path.join(folder, "pyproject.toml"))


def _read(path: str) -> str:
    if not os.path.exists(path):
        return ""
    with open(path, encoding="utf-8") as file:
        return file.read()


def _append(path: str, text: str, more: str) -> None:
    separator = "" if not text else "\n" if text.endswith("\n") else "\n\n"
    with open(path, "w", encoding="utf-8") as file:
        file.write(text + separator + more)


def _write_config(path: str, *, force: bool) -> str:
    text = _read(path)
    if "[tool.wflint]" in text:
        if not force:
            return "pyproject.toml: [tool.wflint] is there already"
        text = re.sub(r"\n?\[tool\.wflint\]\n(?:(?!\[).*\n?)*", "", text)
    _append(path, text, _SECTION)
    return "pyproject.toml: wrote [tool.wflint]"


def _write_hook(path: str) -> str:
    text = _read(path)
    if "wflint" in text:
        return ".pre-commit-config.yaml: wflint is there already"
    if not text.strip():
        with open(path, "w", encoding="utf-8") as file:
            file.write(_HOOK)
        return ".pre-commit-config.yaml: wrote a hook"
    match = re.search(r"^repos:[ \t]*\n", text, re.MULTILINE)
    if match is None:
        return ".pre-commit-config.yaml: has no `repos:`; add the hook by hand"
    rest = text[match.end() :]
    indent = re.match(r"( *)- ", rest)
    spaces = indent[1] if indent else "  "
    entry = "".join(
        f"{spaces}{line[2:]}\n" if line.strip() else "\n" for line in _ENTRY.splitlines()
    )
    with open(path, "w", encoding="utf-8") as file:
        file.write(text[: match.end()] + entry + rest)
    return ".pre-commit-config.yaml: added a hook"


def _write_ruff(path: str) -> str:
    """Without it ruff takes our comments for unknown ones, and deletes them."""
    text = _read(path)
    if "[tool.ruff" not in text:
        return 'ruff: not configured here; if it is used, set lint.external = ["WFL"]'
    if re.search(r"external\s*=.*WFL", text):
        return "ruff: knows WFL already"
    match = re.search(r"^external\s*=\s*\[", text, re.MULTILINE)
    if match is not None:
        text = f'{text[: match.end()]}"WFL", {text[match.end() :]}'
    elif "[tool.ruff.lint]" in text:
        text = text.replace("[tool.ruff.lint]\n", '[tool.ruff.lint]\nexternal = ["WFL"]\n', 1)
    else:
        _append(path, text, '[tool.ruff.lint]\nexternal = ["WFL"]\n')
        return 'pyproject.toml: set ruff\'s lint.external = ["WFL"]'
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)
    return 'pyproject.toml: set ruff\'s lint.external = ["WFL"]'
