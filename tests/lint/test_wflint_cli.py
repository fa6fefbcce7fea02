"""The command line, as users meet it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import jsonschema
import pytest
from lint_cases import PRELUDE, flow

BAD = flow(
    "time.sleep(1)\nfor name in names:\n    await act(name)", "import time", "names: set[str]"
)
HELPED = f"{PRELUDE}from helper import work\n\n@workflow\nasync def flow() -> None:\n    work()\n"
HELPER = "import time\n\ndef work() -> float:\n    return time.time()\n"


def wflint(folder: Path, *arguments: str, **more: Any) -> subprocess.CompletedProcess[str]:
    """Runs the command in a folder."""
    environment = {k: v for k, v in os.environ.items() if k not in ("FORCE_COLOR",)}
    return subprocess.run(
        [sys.executable, "-m", "wflint", *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        env={**environment, **more.pop("env", {})},
        **more,
    )


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "pyproject.toml").write_text("[tool.wflint]\n", encoding="utf-8")
    (tmp_path / "flow.py").write_text(HELPED, encoding="utf-8")
    (tmp_path / "helper.py").write_text(HELPER, encoding="utf-8")
    return tmp_path


def test_text_shows_place_way_and_help(project: Path) -> None:
    done = wflint(project)
    assert done.returncode == 1
    assert done.stdout.splitlines()[0] == "helper.py:4:12: error WFL201 `time.time` reads the clock"
    assert "flow.py:11  flow  calls work" in done.stdout
    assert "use perdure.now() · --fix · wflint explain WFL201" in done.stdout
    assert done.stdout.endswith("1 error in 1 workflow in 2 files. 1 can be fixed by --fix.\n")


def test_exit_codes(project: Path) -> None:
    assert wflint(project, "check", ".").returncode == 1
    assert wflint(project, "--exit-zero").returncode == 0
    assert wflint(project, "--ignore", "WFL2").returncode == 0
    assert wflint(project, "nowhere").returncode == 2
    assert wflint(project, "--select", "WFL999").returncode == 2
    assert wflint(project, "--nonsense").returncode == 2
    (project / "helper.py").write_text("def (:\n", encoding="utf-8")
    assert wflint(project).returncode == 4
    (project / "helper.py").write_text("def work(): print(1)\n", encoding="utf-8")
    assert wflint(project).returncode == 0
    assert wflint(project, "--fail-level", "warning").returncode == 1


def test_json(project: Path) -> None:
    found = json.loads(wflint(project, "--format", "json").stdout)
    assert found["version"] == 1
    (one,) = found["diagnostics"]
    assert (one["code"], one["name"], one["severity"]) == ("WFL201", "wall-clock", "error")
    assert (one["path"], one["line"], one["column"]) == ("helper.py", 4, 12)
    assert (one["end_line"], one["end_column"]) == (4, 23)
    assert one["roots"] == ["flow.flow"]
    assert [(s["path"], s["line"], s["symbol"]) for s in one["chain"]] == [
        ("flow.py", 11, "flow"),
        ("helper.py", 4, "work"),
    ]
    assert one["fix"]["safety"] == "safe"
    assert found["summary"]["errors"] == 1


SARIF = Path(__file__).parent / "_vendor" / "sarif-schema-2.1.0.json"
"""The schema of the standard itself."""


def test_sarif(project: Path) -> None:
    found = json.loads(wflint(project, "--format", "sarif").stdout)
    schema = json.loads(SARIF.read_text(encoding="utf-8"))
    jsonschema.validate(found, schema, jsonschema.Draft7Validator)
    (result,) = found["runs"][0]["results"]
    flows = result["codeFlows"][0]["threadFlows"][0]["locations"]
    assert [one["location"]["physicalLocation"]["artifactLocation"]["uri"] for one in flows] == [
        "flow.py",
        "helper.py",
    ]


def test_other_formats(project: Path) -> None:
    github = wflint(project, "--format", "github").stdout
    assert github.startswith("::error file=helper.py,line=4,col=12,endLine=4,endColumn=23,title=")
    (one,) = json.loads(wflint(project, "--format", "gitlab").stdout)
    assert one["severity"] == "major"
    assert one["location"]["positions"]["begin"] == {"line": 4, "column": 12}
    suites = ElementTree.fromstring(wflint(project, "--format", "junit").stdout)
    assert suites.get("failures") == "1"
    reviewdog = json.loads(wflint(project, "--format", "rdjson").stdout)
    assert reviewdog["diagnostics"][0]["location"]["range"]["start"] == {"line": 4, "column": 12}
    concise = wflint(project, "--format", "concise").stdout.splitlines()
    assert len(concise) == 2
    assert wflint(project, "--statistics").stdout.split() == ["1", "WFL201", "wall-clock"]


def test_output_goes_to_a_file(project: Path) -> None:
    done = wflint(project, "--format", "json", "-o", "out.json")
    assert (done.returncode, done.stdout) == (1, "")
    assert json.loads((project / "out.json").read_text(encoding="utf-8"))["version"] == 1


def test_fix_touches_nothing_else(project: Path) -> None:
    text = BAD.replace("time.sleep(1)", "time.sleep( 1 )  # a comment  ")
    (project / "helper.py").unlink()
    (project / "flow.py").write_text(text, encoding="utf-8")
    shown = wflint(project, "--diff").stdout
    assert "+    await sleep(1)  # a comment  " in shown
    assert (project / "flow.py").read_text(encoding="utf-8") == text
    done = wflint(project, "--fix")
    assert "fixed 2 findings in 1 file" in done.stderr
    new = (project / "flow.py").read_text(encoding="utf-8")
    expected = text.replace("time.sleep( 1 )", "await sleep(1)")
    expected = expected.replace("in names:", "in sorted(names):")
    expected = expected.replace(
        "from perdure import activity, workflow", "from perdure import activity, workflow, sleep"
    )
    assert new == expected
    left = json.loads(wflint(project, "--format", "json").stdout)["diagnostics"]
    assert [one["code"] for one in left] == ["WFL703"]
    wflint(project, "--fix", "--unsafe-fixes")
    assert "names: list[str]" in (project / "flow.py").read_text(encoding="utf-8")


def test_stdin_stands_for_a_file(project: Path) -> None:
    source = HELPED.replace("work()", "open('x')")
    done = wflint(project, "--stdin-filename", "flow.py", "--format", "concise", input=source)
    assert done.returncode == 1
    assert "flow.py:11:5: error WFL301" in done.stdout


def test_rules_explain_and_completion(project: Path) -> None:
    rules = json.loads(wflint(project, "rules", "--json").stdout)
    assert len(rules) > 70
    assert "WFL101  error    set-iteration  [safe fix]" in wflint(project, "rules").stdout
    page = wflint(project, "explain", "set-iteration").stdout
    assert page.startswith("WFL101: set-iteration\n")
    assert json.loads(wflint(project, "explain", "WFL101", "--format", "json").stdout)["bad"]
    unknown = wflint(project, "explain", "set-iterate")
    assert unknown.returncode == 2
    assert "did you mean set-iteration?" in unknown.stderr
    wflint(project)
    words = {"COMP_WORDS": "wflint exp", "COMP_CWORD": "1"}
    done = wflint(project, env={"_WFLINT_COMPLETE": "bash_complete", **words})
    assert done.stdout == "plain,explain\n"


def test_init_writes_what_is_needed(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text(
        '[project]\nname = "x"\n\n[tool.ruff.lint]\nselect = ["E"]\n', encoding="utf-8"
    )
    (tmp_path / ".pre-commit-config.yaml").write_text(
        "repos:\n- repo: local\n  hooks: []\n", encoding="utf-8"
    )
    first = wflint(tmp_path, "init")
    assert first.returncode == 0, first.stderr
    text = (tmp_path / "pyproject.toml").read_text(encoding="utf-8")
    assert "[tool.wflint]" in text
    assert 'external = ["WFL"]' in text
    hooks = (tmp_path / ".pre-commit-config.yaml").read_text(encoding="utf-8")
    assert "wflint check" in hooks
    again = wflint(tmp_path, "init").stdout
    assert again.count("already") == 3
    assert (tmp_path / "pyproject.toml").read_text(encoding="utf-8") == text
    assert wflint(tmp_path, ".").returncode == 0


def test_a_baseline_only_shrinks(project: Path) -> None:
    assert "1 findings" in wflint(project, "baseline", "write").stdout
    assert wflint(project).returncode == 0
    assert wflint(project, "--no-baseline").returncode == 1
    assert wflint(project, "baseline", "check").returncode == 0
    moved = f"# moved\n\n{HELPER}"
    (project / "helper.py").write_text(moved, encoding="utf-8")
    assert wflint(project).returncode == 0
    (project / "helper.py").write_text(f"{moved}    open('x')\n", encoding="utf-8")
    (project / "helper.py").write_text(moved.replace("time.time()", "1.0"), encoding="utf-8")
    gone = wflint(project, "baseline", "check")
    assert gone.returncode == 1
    assert "gone: WFL201" in gone.stdout
    (project / ".wflint-baseline.json").write_text("{", encoding="utf-8")
    assert wflint(project).returncode == 2


def test_graph_and_why(project: Path) -> None:
    drawn = wflint(project, "graph", "flow").stdout
    assert drawn.startswith("flowchart LR\n")
    assert 'n1["helper.work<br/>WFL201"]' in drawn
    assert "digraph" in wflint(project, "graph", "flow.flow", "--format", "dot").stdout
    assert wflint(project, "graph", "nobody").returncode == 2
    why = wflint(project, "why", "helper.py:4").stdout
    assert "flow.flow reaches work:" in why
    assert "No workflow reaches" in wflint(project, "why", "helper.py:1").stdout
    assert wflint(project, "why", "helper.py").returncode == 2


def test_settings_come_from_files_environment_and_options(project: Path) -> None:
    settings = project / "pyproject.toml"
    settings.write_text('[tool.wflint]\nignore = ["wall-clock"]\n', encoding="utf-8")
    assert wflint(project).returncode == 0
    settings.write_text('[tool.wflint]\nignor = ["WFL201"]\n', encoding="utf-8")
    done = wflint(project)
    assert done.returncode == 2
    assert "did you mean 'ignore'?" in done.stderr
    settings.write_text("[tool.wflint\n", encoding="utf-8")
    assert wflint(project).returncode == 2
    settings.unlink()
    (project / ".wflint.toml").write_text('severity.WFL201 = "info"\n', encoding="utf-8")
    assert wflint(project).returncode == 0
    assert "WFL201" in wflint(project, "--info").stdout
    assert wflint(project, env={"WFLINT_FAIL_LEVEL": "info"}, check=False).returncode == 0
    assert wflint(project, "--config", "nowhere.toml").returncode == 2


WARM = """
import sys, time
sys.argv = ["wflint", {arguments}]
from wflint.__main__ import main
try:
    main()
except SystemExit as end:
    code = end.code
names = [name for name in ("libcst", "click", "tomllib", "wflint.engine") if name in sys.modules]
sys.stderr.write(f"{{code}} {{names}}")
"""


def test_an_unchanged_project_needs_neither_libcst_nor_click(project: Path) -> None:
    def run(arguments: str = '"."') -> tuple[str, str]:
        done = subprocess.run(
            [sys.executable, "-c", WARM.format(arguments=arguments)],
            cwd=project,
            capture_output=True,
            text=True,
        )
        return done.stdout, done.stderr

    first, _ = run()
    again, state = run()
    assert first == again
    assert state == "1 []"
    assert "libcst" in run('"--format", "concise"')[1]
    helper = project / "helper.py"
    before = helper.stat()
    helper.write_text(HELPER.replace("time.time()", "1.0      "), encoding="utf-8")
    os.utime(helper, ns=(before.st_atime_ns, before.st_mtime_ns + 1))
    changed, state = run()
    assert "libcst" in state
    assert changed.startswith("No findings")
    run()
    (project / "new.py").write_text(flow("open('x')"), encoding="utf-8")
    assert "WFL301" in run()[0]


@pytest.mark.parametrize("name", ["trees.marshal", "results.marshal"])
@pytest.mark.parametrize("junk", [b"", b"\x00" * 64, b"not marshal", b"{"])
def test_a_corrupt_cache_is_made_anew(project: Path, name: str, junk: bytes) -> None:
    first = wflint(project)
    (project / ".wflint_cache" / name).write_bytes(junk)
    again = wflint(project)
    assert (again.stdout, again.returncode) == (first.stdout, 1)
    assert again.stderr == ""


def test_a_cache_that_cannot_be_written_is_no_failure(project: Path) -> None:
    (project / ".wflint_cache").write_text("in the way", encoding="utf-8")
    done = wflint(project)
    assert (done.returncode, done.stderr) == (1, "")


def test_many_files_in_several_processes(tmp_path: Path) -> None:
    for n in range(60):
        (tmp_path / f"flow{n}.py").write_text(flow("open('x')"), encoding="utf-8")
    several = wflint(tmp_path, "-j", "2", "--format", "json").stdout
    one = wflint(tmp_path, "-j", "1", "--no-cache", "--format", "json").stdout
    assert several == one
    assert json.loads(one)["summary"]["errors"] == 60


def test_colours(project: Path) -> None:
    assert "\x1b[" not in wflint(project).stdout
    assert "\x1b[31;1merror WFL201\x1b[0m" in wflint(project, env={"FORCE_COLOR": "1"}).stdout
    assert "\x1b[" not in wflint(project, "--no-color", env={"FORCE_COLOR": "1"}).stdout


def test_our_examples_are_clean() -> None:
    root = Path(__file__).parents[2]
    done = wflint(root, "--no-cache", "--fail-level", "warning", "examples")
    assert done.returncode == 0, done.stdout
