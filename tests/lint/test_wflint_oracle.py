"""What the rules of order and of ambient inputs say, shown on the replay core itself."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from wflint.rules import Case, all_rules

HERE = Path(__file__).parent

CANNOT_BE_SHOWN = {
    "WFL109-bad-0": "objects may happen to lie in the same order in both",
    "WFL110-bad-1": "entry points are those of one environment here",
    "WFL212-bad-1": "numpy is not installed",
    "WFL222-bad-0": "both processes run on one host",
    "WFL223-bad-0": "django is not installed",
    "WFL231-bad-0": "both processes use one C library",
}
"""Bad examples whose divergence does not show between two processes of one machine, and why."""

FAMILIES = ("WFL1", "WFL2")


def runnable(case: Case) -> str | None:
    """An example as a module that can be run; ``None`` where it is of another framework."""
    if case.whole or case.options:
        return None
    text = case.text().replace("value: object", "value: Any")
    return "from typing import Any\n" + text.replace("-> str: ...", "-> str: return 'x'")


def examples() -> dict[str, tuple[str, Case]]:
    found: dict[str, tuple[str, Case]] = {}
    for code, rule in all_rules().items():
        if code.startswith(FAMILIES):
            for kind, cases in (("bad", rule.bad), ("good", rule.good)):
                for number, case in enumerate(cases):
                    text = runnable(case)
                    if text is not None:
                        found[f"{code}-{kind}-{number}"] = (text, case)
    return found


EXAMPLES = examples()


def module_name(name: str) -> str:
    return name.lower().replace("-", "_")


def run(verb: str, folder: Path, **environment: str) -> dict[str, str]:
    done = subprocess.run(
        [sys.executable, str(HERE / "oracle.py"), verb, str(folder)],
        capture_output=True,
        text=True,
        cwd="/" if verb == "replay" else folder,
        env={**os.environ, **environment},
    )
    assert done.returncode == 0, done.stderr[-3000:]
    found: dict[str, str] = json.loads(done.stdout.splitlines()[-1])
    return found


@pytest.fixture(scope="module")
def outcome(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, str], dict[str, str]]:
    """What could not be run, and what has diverged."""
    folder = tmp_path_factory.mktemp("oracle")
    for name, (text, case) in EXAMPLES.items():
        (folder / f"{module_name(name)}.py").write_text(text, encoding="utf-8")
        for path, other in case.others.items():
            (folder / path).write_text(other, encoding="utf-8")
    names = [module_name(name) for name in EXAMPLES]
    (folder / "names.json").write_text(json.dumps(names), encoding="utf-8")
    recorded = {"LIMIT": "3", "FAST": "1", "URL": "a", "DEBUG": "1", "X": "1"}
    problems = run("record", folder, PYTHONHASHSEED="1", TZ="UTC", **recorded)
    names = [name for name in names if name not in problems]
    (folder / "names.json").write_text(json.dumps(names), encoding="utf-8")
    replayed = {"LIMIT": "5", "FAST": "0", "URL": "b", "DEBUG": "0", "X": "0"}
    diverged: dict[str, str] = {}
    for seed in ("2", "3"):
        diverged |= run("replay", folder, PYTHONHASHSEED=seed, TZ="Asia/Tokyo", **replayed)
    return problems, diverged


@pytest.mark.parametrize("name", EXAMPLES)
def test_examples_diverge_or_do_not(
    name: str, outcome: tuple[dict[str, str], dict[str, str]]
) -> None:
    problems, diverged = outcome
    if name in CANNOT_BE_SHOWN:
        return
    assert module_name(name) not in problems, problems[module_name(name)]
    assert (module_name(name) in diverged) == ("-bad-" in name), diverged.get(module_name(name))


def test_reasons_are_of_examples() -> None:
    assert set(CANNOT_BE_SHOWN) <= set(EXAMPLES)
