"""Rules of the project itself: what is public, what packages hold, what the README says."""

from __future__ import annotations

import ast
import importlib
import re
import subprocess
import sys
from pathlib import Path

import perdure
import perdure.extension
import perdure_backends
import perdure_backends.conformance
import perdure_runtime
import perdure_runtime.otel
import perdure_runtime.testing
import perdure_runtime.ui
import pytest

ROOT = Path(__file__).parent.parent
SOURCES = [
    path
    for folder in ("dsl", "backends", "runtime", "lint", "plugins")
    for path in sorted((ROOT / folder).rglob("*.py"))
]
PUBLIC = [
    perdure,
    perdure.extension,
    perdure_backends,
    perdure_backends.conformance,
    perdure_runtime,
    perdure_runtime.otel,
    perdure_runtime.testing,
    perdure_runtime.ui,
]

DOCUMENTED = [
    perdure,
    perdure_runtime,
    perdure_runtime.otel,
    perdure_runtime.testing,
    perdure_runtime.ui,
]


@pytest.mark.parametrize("module", PUBLIC, ids=lambda module: module.__name__)
def test_all_lists_what_is_exported(module: object) -> None:
    source = Path(str(getattr(module, "__file__", ""))).read_text(encoding="utf-8")
    exported = set(re.findall(r"^ *from .* import \w+ as (\w+)$", source, re.M))
    names: list[str] = getattr(module, "__all__", [])
    assert set(names) == exported
    assert len(names) == len(set(names))


@pytest.mark.parametrize("module", DOCUMENTED, ids=lambda module: module.__name__)
def test_the_reference_lists_what_is_public(module: object) -> None:
    reference = (ROOT / "docs" / "reference.md").read_text(encoding="utf-8")
    missing = [name for name in getattr(module, "__all__", []) if f"`{name}`" not in reference]
    assert missing == []


def test_product_code_has_no_assert_and_is_not_rewritten() -> None:
    for path in SOURCES:
        text = path.read_text(encoding="utf-8")
        asserts = [n.lineno for n in ast.walk(ast.parse(text)) if isinstance(n, ast.Assert)]
        assert asserts == [], path
        # Pytest looks for it in the docstring, and nowhere else.
        assert "PYTEST_DONT_REWRITE" in (ast.get_docstring(ast.parse(text)) or ""), path


def test_packages_are_typed() -> None:
    for package in (
        *("dsl/perdure", "backends/perdure_backends", "runtime/perdure_runtime"),
        *("lint/wflint", "plugins/flake8_wflint"),
    ):
        assert (ROOT / package / "py.typed").is_file()


def test_each_layer_imports_only_what_it_may() -> None:
    allowed = {
        "dsl": {"perdure"},
        "backends": {"perdure", "perdure_backends"},
        "runtime": {"perdure", "perdure_backends", "perdure_runtime"},
        "lint": set[str](),
        "plugins": {"perdure", "perdure_backends", "perdure_runtime"},  # what they adapt
    }
    for path in SOURCES:
        folder = path.relative_to(ROOT).parts[0]
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.level == 0:
                names = [node.module or ""]
            elif isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            else:
                continue
            for name in names:
                package = name.partition(".")[0]
                if package.startswith("perdure"):
                    assert package in allowed[folder], f"{path} imports {name}"
                if folder == "runtime" and "testing" not in path.parts:  # that is in memory
                    assert not name.startswith(
                        ("perdure_backends.sqlite", "perdure_backends.memory")
                    ), f"{path} names a concrete store"


def test_names_of_errors_are_in_the_tree_of_the_docstring() -> None:
    errors = importlib.import_module("perdure._errors")
    classes = {
        name
        for name, value in vars(errors).items()
        if isinstance(value, type) and issubclass(value, BaseException) and name[0] != "_"
    }
    drawn = errors.__doc__ or ""
    assert [name for name in sorted(classes) if name not in drawn] == []


def test_the_readme_snippet_runs(tmp_path: Path) -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    snippet = re.search(r"```python\n(.*?)```", readme, re.S)
    assert snippet is not None
    (tmp_path / "snippet.py").write_text(snippet[1])
    done = subprocess.run(
        [sys.executable, "snippet.py"], cwd=tmp_path, capture_output=True, text=True, timeout=60
    )
    assert done.stdout.strip() == "receipt for Ada: 4200", done.stderr


@pytest.mark.slow
def test_the_quickstart_runs() -> None:
    done = subprocess.run(
        [sys.executable, str(ROOT / "examples/quickstart/quickstart.py")],
        capture_output=True,
        text=True,
        timeout=90,
    )
    assert done.returncode == 0, done.stderr
    assert "35 + 12 = 47, 2 * 6 = 12" in done.stdout
    assert "was killed with SIGKILL" in done.stdout
    assert "every box was packed, in order" in done.stdout


@pytest.mark.slow
def test_starter_and_worker_run_as_separate_programs(tmp_path: Path) -> None:
    folder = ROOT / "examples/processes"
    url = f"sqlite:///{tmp_path / 'orders.db'}"
    with subprocess.Popen([sys.executable, str(folder / "order_worker.py"), url]) as worker:
        done = subprocess.run(
            [sys.executable, str(folder / "order_starter.py"), url],
            capture_output=True,
            text=True,
            timeout=60,
        )
        worker.terminate()
        assert worker.wait(30) == 0
    assert done.stdout.splitlines() == [
        "Ada pays 119.00 (approved by None)",
        "Grace pays 5950.00 (approved by Hedy)",
    ]
