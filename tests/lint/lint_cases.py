"""Checking texts, for the linter's tests."""

from __future__ import annotations

from typing import Any

from wflint.config import Config, from_table
from wflint.diagnostics import Diagnostic, Report
from wflint.engine import check_texts

PRELUDE = """\
import perdure
from perdure import activity, workflow

@activity
async def act(value: object = None) -> str: ...

"""


def report(texts: dict[str, str] | str, **options: Any) -> Report:
    """The report on some files; a lone text is ``flow.py``."""
    files = {"flow.py": texts} if isinstance(texts, str) else texts
    table = {key.replace("_", "-"): value for key, value in options.items()}
    return check_texts(files, from_table(table, Config(root="/project"))).report


def findings(texts: dict[str, str] | str, **options: Any) -> list[Diagnostic]:
    """The findings in some files."""
    return report(texts, **options).diagnostics


def codes(texts: dict[str, str] | str, **options: Any) -> list[str]:
    """Codes of the findings, in order."""
    return [one.code for one in findings(texts, **options)]


def flow(body: str, before: str = "", signature: str = "") -> str:
    """A file with a workflow."""
    lines = [PRELUDE, before, "", "@workflow", f"async def flow({signature}) -> None:"]
    return "\n".join([*lines, *(f"    {line}" for line in body.splitlines())]) + "\n"
