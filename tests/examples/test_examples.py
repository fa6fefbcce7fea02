"""Every example prints what its docstring says, on each store."""

from __future__ import annotations

import ast
import asyncio
import importlib
import sys
import textwrap
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"
SCRIPTS = sorted(path.stem for path in EXAMPLES.glob("*.py") if path.stem != "runner")


def promised(name: str) -> list[str]:
    """The lines under ``Prints:`` in an example's docstring."""
    source = (EXAMPLES / f"{name}.py").read_text(encoding="utf-8")
    _, found, block = (ast.get_docstring(ast.parse(source)) or "").partition("Prints:\n")
    assert found, f"{name} does not say what it prints"
    return textwrap.dedent(block).splitlines()


@pytest.mark.parametrize("store", ["memory", "sqlite"])
@pytest.mark.parametrize("name", SCRIPTS)
def test_an_example_prints_what_it_promises(
    name: str, store: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    url = "memory://" if store == "memory" else f"sqlite:///{tmp_path}/x.db?synchronous=NORMAL"
    module = importlib.import_module(name)
    asyncio.run(asyncio.wait_for(module.main(url), 30))
    assert capsys.readouterr().out.splitlines() == promised(name)


def test_no_example_hides_a_module_of_the_standard_library() -> None:
    assert [name for name in [*SCRIPTS, "runner"] if name in sys.stdlib_module_names] == []
