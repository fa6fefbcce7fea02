"""Commands and their options.

PYTEST_DONT_REWRITE
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any

import click

from .. import baseline as baselines
from ..config import LEVELS, SEVERITIES, ConfigError
from ..explain import explanation
from ..report import FORMATS
from ..rules import all_rules, find_rule
from ._check import Exit, Options, Session, check, colours


class _Group(click.Group):
    """``wflint PATHS`` means ``wflint check PATHS``."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        own = {"--help", "-h", "--version"}
        if not args and ctx.resilient_parsing:
            return super().parse_args(ctx, args)  # the shell asks what may stand here
        if not args or (args[0] not in self.commands and args[0] not in own):
            args = ["check", *args]
        return super().parse_args(ctx, args)


def _version() -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("perdure")
    except PackageNotFoundError:
        return "unknown"


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(_version(), prog_name="wflint")
def app() -> None:
    """Finds code in durable workflows that would not replay.

    `wflint PATHS` is short for `wflint check PATHS`. Exit codes: 0 clean, 1 findings, 2 usage or
    configuration, 3 an error of wflint's own, 4 only files that can't be read.

    For completion in the shell: eval "$(_WFLINT_COMPLETE=bash_source wflint)", or zsh_source,
    fish_source.
    """


@app.command("check")
@click.argument("paths", nargs=-1, type=click.Path())
@click.option("--config", type=click.Path(), help="Configuration file.")
@click.option("--select", help="Rules to use, by code, beginning of code or name; with commas.")
@click.option("--extend-select", help="Rules to use besides.")
@click.option("--ignore", help="Rules not to use.")
@click.option("--level", type=click.Choice(LEVELS), help="Set of rules.")
@click.option(
    "--format", "--output-format", "format", type=click.Choice(list(FORMATS)), default="text"
)
@click.option("--output", "-o", type=click.Path(dir_okay=False), help="File to write to.")
@click.option("--fix", is_flag=True, help="Apply fixes that change nothing for runs in flight.")
@click.option("--unsafe-fixes", is_flag=True, help="With --fix or --diff: others too.")
@click.option("--diff", is_flag=True, help="Show what --fix would do.")
@click.option("--statistics", is_flag=True, help="Numbers of findings by rule.")
@click.option("--exit-zero", is_flag=True, help="Exit 0 even with findings.")
@click.option("--fail-level", type=click.Choice(SEVERITIES), help="Severity that fails the run.")
@click.option("--info", is_flag=True, help="Show findings of severity info.")
@click.option("--include-tests", is_flag=True, help="Findings in tests fail the run too.")
@click.option("--require-resolved", is_flag=True, help="Calls that can't be resolved are errors.")
@click.option("--jobs", "-j", type=click.IntRange(0), default=0, help="Processes; 0: one a core.")
@click.option("--no-cache", is_flag=True, help="Neither read nor write .wflint_cache.")
@click.option("--no-baseline", is_flag=True, help="Show findings of the baseline too.")
@click.option("--stdin-filename", help="Check standard input in place of this file.")
@click.option("--watch", "-w", is_flag=True, help="Check again whenever files change.")
@click.option("--quiet", "-q", is_flag=True, help="Findings only.")
@click.option("--color/--no-color", "colour", default=None, help="Default: on a terminal.")
def check_command(paths: tuple[str, ...], **options: Any) -> None:
    """Check PATHS (default: the working directory) and all that their workflows reach."""
    check(Options(paths=paths or (".",), **options))


@app.command("rules")
@click.option("--json", "as_json", is_flag=True, help="For machines.")
def rules_command(*, as_json: bool) -> None:
    """List all rules."""
    rules = all_rules()
    if as_json:
        rows = [
            {
                "code": rule.code,
                "name": rule.name,
                "family": rule.family,
                "severity": rule.severity,
                "level": rule.level,
                "fix": rule.fix,
                "why": rule.why,
            }
            for rule in rules.values()
        ]
        click.echo(json.dumps(rows, indent=2, ensure_ascii=False))
        return
    family = ""
    for rule in rules.values():
        if rule.family != family:
            family = rule.family
            click.echo(f"\n{family}" if rule.code != "WFL001" else family)
        marks = "" if rule.level == "default" else f"  ({rule.level})"
        fix = "" if rule.fix == "hint" else f"  [{rule.fix} fix]"
        click.echo(f"  {rule.code}  {rule.severity:<7}  {rule.name}{marks}{fix}")


@app.command("explain")
@click.argument("code")
@click.option("--format", type=click.Choice(["text", "md", "json"]), default="text")
def explain_command(code: str, format: str) -> None:
    """Say what a rule is about: why, an example, when it is wrong."""
    rule = find_rule(code)
    if rule is None:
        import difflib

        names = [name for one in all_rules().values() for name in (one.code, one.name)]
        close = difflib.get_close_matches(code, names, 1)
        hint = f"; did you mean {close[0]}?" if close else "; see `wflint rules`"
        raise click.UsageError(f"there is no rule {code!r}{hint}")
    click.echo(explanation(rule, format), nl=False)


@app.command("init")
@click.option("--force", is_flag=True, help="Write over what is there.")
def init_command(*, force: bool) -> None:
    """Write configuration, a pre-commit entry, and what ruff has to know."""
    from ._init import init

    for line in init(os.getcwd(), force=force):
        click.echo(line)


@app.group("baseline")
def baseline_group() -> None:
    """Findings that are known: a file that may only shrink."""


@baseline_group.command("write")
@click.argument("paths", nargs=-1, type=click.Path())
def baseline_write(paths: tuple[str, ...]) -> None:
    """Note all findings of today as known."""
    session = Session(Options(paths=paths or (".",)))
    count = baselines.write(session.baseline_path(), session.check().report)
    click.echo(f"{count} findings are in {os.path.relpath(session.baseline_path())} now")


@baseline_group.command("check")
@click.argument("paths", nargs=-1, type=click.Path())
def baseline_check(paths: tuple[str, ...]) -> None:
    """Fail on new findings, and on known ones that are gone."""
    session = Session(Options(paths=paths or (".",)))
    report = session.check().report
    try:
        gone = baselines.apply(report, baselines.read(session.baseline_path()))
    except baselines.BaselineError as error:
        raise ConfigError(str(error)) from None
    for one in report.diagnostics:
        click.echo(f"{one.path}:{one.line}:{one.column}: new: {one.code} {one.message}")
    for entry in gone:
        click.echo(f"{entry['path']}: gone: {entry['code']} in {entry['scope']}")
    if gone:
        click.echo("run `wflint baseline write` to take them out")
    raise Exit(1 if gone or report.diagnostics else 0)


@app.command("graph")
@click.argument("root")
@click.argument("paths", nargs=-1, type=click.Path())
@click.option("--format", type=click.Choice(["mermaid", "dot"]), default="mermaid")
def graph_command(root: str, paths: tuple[str, ...], format: str) -> None:
    """Draw what the workflow ROOT reaches."""
    from ._graph import graph

    checked = Session(Options(paths=paths or (".",))).check()
    click.echo(graph(checked, root, format), nl=False)


@app.command("why")
@click.argument("place", metavar="FILE:LINE")
@click.argument("paths", nargs=-1, type=click.Path())
def why_command(place: str, paths: tuple[str, ...]) -> None:
    """Say which workflows reach a line, and on which way."""
    from ._graph import why

    path, _, line = place.rpartition(":")
    if not path or not line.isdigit():
        raise click.UsageError("the place has to look like src/flows.py:41")
    session = Session(Options(paths=paths or (".",)))
    click.echo(why(session, path, int(line)), nl=False)


__all__ = ["app", "colours", "sys"]
