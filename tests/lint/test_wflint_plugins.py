"""wflint in flake8 and in pre-commit, as their users run them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from lint_cases import PRELUDE, flow

ROOT = Path(__file__).parents[2]
HELPED = f"{PRELUDE}from helper import work\n\n@workflow\nasync def flow() -> None:\n    work()\n"
HELPER = "import time\n\n\ndef work() -> float:\n    return time.time()\n"


def run(folder: Path, *command: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, cwd=folder, capture_output=True, text=True, env={**os.environ, **environment}
    )


def flake8(folder: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = (sys.executable, "-m", "flake8", "--select", "WFL", *arguments)
    return run(folder, *command, **environment)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "pyproject.toml").write_text("[tool.wflint]\n", encoding="utf-8")
    (tmp_path / "flow.py").write_text(HELPED, encoding="utf-8")
    (tmp_path / "helper.py").write_text(HELPER, encoding="utf-8")
    return tmp_path


def test_the_whole_program_in_any_number_of_processes(project: Path) -> None:
    for number in range(8):
        (project / f"more{number}.py").write_text(flow("open('x')"), encoding="utf-8")
    first = flake8(project, "-j", "1", ".")
    assert "./helper.py:5:12: WFL201 `time.time` reads the clock" in first.stdout
    assert first.stdout.count("WFL301") == 8
    assert first.returncode == 1
    shutil.rmtree(project / ".wflint_cache")
    several = flake8(project, "-j", "3", ".")
    assert sorted(several.stdout.splitlines()) == sorted(first.stdout.splitlines())


def test_a_file_by_itself(project: Path) -> None:
    (project / "flow.py").write_text(HELPED + "    open('x')\n", encoding="utf-8")
    done = flake8(project, "--wflint-per-file", ".")
    assert "WFL301" in done.stdout
    assert "WFL201" not in done.stdout
    (project / ".flake8").write_text("[flake8]\nwflint-per-file = true\n", encoding="utf-8")
    assert flake8(project, ".").stdout == done.stdout


def test_flake8s_own_comments_hold(project: Path) -> None:
    quiet = HELPER.replace("time.time()", "time.time()  # noqa: WFL201")
    (project / "helper.py").write_text(quiet, encoding="utf-8")
    assert flake8(project, ".").stdout == ""


def test_without_libcst_it_says_what_to_install(project: Path) -> None:
    (project / "sitecustomize.py").write_text(
        "import importlib.util as u\nfind = u.find_spec\n"
        "u.find_spec = lambda name, package=None: "
        "None if name == 'libcst' else find(name, package)\n",
        encoding="utf-8",
    )
    done = flake8(project, "-j", "1", "flow.py", "helper.py", PYTHONPATH=str(project))
    assert done.stdout.count("WFL000") == 1
    assert "pip install 'perdure[lint]'" in done.stdout


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_pre_commit_installs_and_runs_it(tmp_path: Path) -> None:
    """Over a local clone, in an environment of pre-commit's own making."""

    def git(folder: Path, *arguments: str) -> str:
        done = run(folder, "git", "-c", "user.name=x", "-c", "user.email=x@example.org", *arguments)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    source = tmp_path / "source"
    files = run(ROOT, "git", "ls-files", "-co", "--exclude-standard").stdout.splitlines()
    wanted = ("dsl/", "backends/", "runtime/", "lint/", "plugins/")
    for name in files:
        if name.startswith(wanted) or "/" not in name:
            path = ROOT / name
            if path.is_file():
                (source / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(path, source / name)
    git(source, "init", "-q")
    git(source, "add", "-A")
    git(source, "commit", "-qm", "all")
    sample = tmp_path / "sample"
    sample.mkdir()
    git(sample, "init", "-q")
    (sample / "flow.py").write_text(HELPED, encoding="utf-8")
    (sample / "helper.py").write_text(HELPER, encoding="utf-8")
    (sample / ".pre-commit-config.yaml").write_text(
        f"repos:\n- repo: {source}\n  rev: {git(source, 'rev-parse', 'HEAD')}\n"
        "  hooks:\n  - id: wflint\n  - id: wflint-files\n",
        encoding="utf-8",
    )
    git(sample, "add", "-A")
    command = (sys.executable, "-m", "pre_commit", "run", "--all-files", "--verbose")
    done = run(sample, *command, PRE_COMMIT_HOME=str(tmp_path / "home"))
    assert done.returncode == 1, done.stdout + done.stderr
    assert done.stdout.count("helper.py:5:12: error WFL201") == 2, done.stdout + done.stderr
    (sample / "helper.py").write_text(HELPER.replace("time.time()", "1.0"), encoding="utf-8")
    git(sample, "add", "-A")
    done = run(sample, *command, PRE_COMMIT_HOME=str(tmp_path / "home"))
    assert done.returncode == 0, done.stdout + done.stderr
