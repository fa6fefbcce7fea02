"""Both type checkers find what is wrong, see the right types, and find nothing else."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

CASES = Path(__file__).parent / "cases"
ROOT = CASES.parents[2]
Found = set[tuple[str, int, str]]


def expected(marker: str, pick: Callable[[str], list[str]]) -> Found:
    """What the cases' comments say: (file, line, code or type)."""
    found: Found = set()
    for path in sorted(CASES.glob("*.py")):
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            _, mark, text = line.partition(f"  # {marker}: ")
            if mark:
                found.update((path.name, number, one) for one in pick(text))
    return found


def codes(column: int) -> Callable[[str], list[str]]:
    """Picks the codes of mypy (0) or pyright (1)."""
    return lambda text: [code.strip() for code in text.split("|")[column].split(",")]


def plain(shown: str) -> str:
    """A revealed type without its modules, unions as mypy 2 and pyright write them."""
    shown = re.sub(r"\b(?:\w+\.)+(\w+)", r"\1", shown)
    return shown.replace("CoroutineType", "Coroutine")


@pytest.fixture(scope="module")
def mypy_lines() -> list[tuple[str, int, str, str]]:
    """(file, line, severity, text) of mypy's output."""
    # A cache for each test process: two that write the same one at once break mypy.
    cache = ROOT / ".mypy_cache" / f"cases-{os.environ.get('PYTEST_XDIST_WORKER', 'main')}"
    command = [
        *(sys.executable, "-m", "mypy", "--strict", "--no-error-summary", "--hide-error-context"),
        *("--no-color-output", "--config-file", "", "--cache-dir", str(cache)),
        *sorted(map(str, CASES.glob("*.py"))),
    ]
    done = subprocess.run(command, capture_output=True, text=True, cwd=CASES)
    assert done.returncode in (0, 1), done.stdout + done.stderr
    pattern = re.compile(r"^(?P<file>[\w./-]+):(?P<line>\d+): (?P<kind>\w+): (?P<text>.*)$")
    matches = [pattern.match(line) for line in done.stdout.splitlines()]
    return [(Path(m["file"]).name, int(m["line"]), m["kind"], m["text"]) for m in matches if m]


@pytest.fixture(scope="module")
def pyright_lines(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[str, int, str, str, str]]:
    """(file, line, severity, rule, text) of pyright's output."""
    folder = tmp_path_factory.mktemp("pyright")
    settings = {
        "include": [os.path.relpath(CASES, folder)],
        "extraPaths": [str(CASES), *(str(ROOT / x) for x in ("dsl", "backends", "runtime"))],
        "typeCheckingMode": "strict",
        "reportUnusedCallResult": "none",
        "reportUnusedExpression": "none",
        "pythonVersion": "3.11",
    }
    config = folder / "pyrightconfig.json"
    config.write_text(json.dumps(settings))
    command = [
        *(sys.executable, "-m", "pyright", "--outputjson"),
        *("--pythonpath", sys.executable, "-p", str(config)),
    ]
    done = subprocess.run(command, capture_output=True, text=True)
    report = json.loads(done.stdout)
    assert report["summary"]["filesAnalyzed"] >= 3
    return [
        (
            Path(item["file"]).name,
            item["range"]["start"]["line"] + 1,
            item["severity"],
            item.get("rule", ""),
            item["message"],
        )
        for item in report["generalDiagnostics"]
    ]


@pytest.mark.slow
def test_mypy_finds_the_errors_and_no_others(mypy_lines: list[tuple[str, int, str, str]]) -> None:
    found: Found = set()
    for file, line, kind, text in mypy_lines:
        if kind == "error":
            code = re.search(r"\[([\w-]+)\]$", text)
            found.add((file, line, code[1] if code else text))
    assert found == expected("E", codes(0))


@pytest.mark.slow
def test_pyright_finds_the_errors_and_no_others(
    pyright_lines: list[tuple[str, int, str, str, str]],
) -> None:
    found = {(file, line, rule) for file, line, kind, rule, _ in pyright_lines if kind == "error"}
    assert found == expected("E", codes(1))


@pytest.mark.slow
def test_both_reveal_the_same_types(
    mypy_lines: list[tuple[str, int, str, str]],
    pyright_lines: list[tuple[str, int, str, str, str]],
) -> None:
    wanted = expected("R", lambda text: [text.strip()])
    by_mypy: Found = set()
    for file, line, kind, text in mypy_lines:
        shown = re.match(r'Revealed type is "(.*)"$', text)
        if kind == "note" and shown:
            by_mypy.add((file, line, plain(shown[1])))
    by_pyright: Found = set()
    for file, line, kind, _, text in pyright_lines:
        shown = re.search(r' is "(.*)"$', text)
        if kind == "information" and shown:
            by_pyright.add((file, line, plain(shown[1])))
    assert by_mypy == wanted
    assert by_pyright == wanted
