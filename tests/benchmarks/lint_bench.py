"""What the linter costs, beside LibCST's parser in the same run.

``python tests/benchmarks/lint_bench.py`` prints a table. The trees are generated: modules of
ordinary code (those of the standard library, under other names) around a few workflows.
"""

from __future__ import annotations

import gc
import os
import statistics
import subprocess
import sys
import sysconfig
import tempfile
import textwrap
import time
from collections.abc import Callable
from pathlib import Path

LIBRARY = Path(sysconfig.get_paths()["stdlib"])

WORKFLOW = """\
from perdure import activity, workflow
{imports}

@activity
async def act(value: object = None) -> str: ...

@workflow
async def flow(names: list[str]) -> None:
    for name in names:
        await act(name)
{calls}
"""


def library(count: int) -> list[str]:
    """Texts of modules of the standard library."""
    found: list[str] = []
    for path in sorted(LIBRARY.glob("*.py")):
        if 2_000 < path.stat().st_size < 120_000:
            found.append(path.read_text(encoding="utf-8", errors="replace"))
    return [found[n % len(found)] for n in range(count)]


def write_project(folder: Path, files: int, workflows: int, reached: int) -> int:
    """A project in which each workflow calls what is in some other files; lines in all."""
    texts = library(files)
    lines = 0
    (folder / "pyproject.toml").write_text("[tool.wflint]\n", encoding="utf-8")
    for number, text in enumerate(texts):
        (folder / f"module{number}.py").write_text(text, encoding="utf-8")
        lines += text.count("\n")
    for number in range(workflows):
        mine = [number * reached + n for n in range(reached)]
        imports = "\n".join(f"import module{n}" for n in mine)
        calls: list[str] = []
        for n in mine:
            names = [
                line[4:].partition("(")[0]
                for line in texts[n % len(texts)].splitlines()
                if line.startswith("def ")
            ]
            calls += [f"    module{n}.{name}(1, 2)" for name in names[:20]]
        body = WORKFLOW.format(imports=imports, calls="\n".join(calls))
        (folder / f"flow{number}.py").write_text(body, encoding="utf-8")
        lines += body.count("\n")
    return lines


def seconds(work: Callable[[], object], times: int = 3) -> float:
    """The median of some runs."""
    taken: list[float] = []
    for _ in range(times):
        start = time.perf_counter()
        work()
        taken.append(time.perf_counter() - start)
    return statistics.median(taken)


def process(folder: Path, *arguments: str) -> float:
    start = time.perf_counter()
    command = [sys.executable, "-m", "wflint", "--exit-zero", *arguments]
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
    return time.perf_counter() - start


def cold_ratio(folder: Path) -> tuple[float, float, int]:
    """All of the analysis beside parsing the same files, in one process."""
    import libcst
    from wflint.config import Config
    from wflint.engine import Checked, Engine
    from wflint.project import Project

    lines = write_project(folder, 60, 6, 10)
    root = str(folder)

    def analyse() -> Checked:
        return Engine(Project(root), Config(root=root)).check()

    modules = [one for one in analyse().program.modules.values() if one is not None]
    lines = sum(module.text.count("\n") for module in modules)

    def parse() -> None:
        for module in modules:
            libcst.parse_module(module.text)

    gc.disable()
    return seconds(parse), seconds(analyse), lines


PEAK = """
import resource, sys
from wflint.engine import Engine
from wflint.config import Config
from wflint.project import Project
root = sys.argv[1]
found = Engine(Project(root), Config(root=root)).check().report
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024, found.parsed, found.files)
"""


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        alone, all_of_it, lines = cold_ratio(Path(name))
    print(f"cold, all files reached, {lines:,} lines: parse {alone:.2f} s, all {all_of_it:.2f} s")
    print(f"  {all_of_it / alone:.2f} x libcst.parse_module (asked: 2.0, goal 1.6)")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_project(folder, 990, 10, 2)
        process(folder)
        warm = statistics.median(process(folder) for _ in range(5))
        print(f"warm, 1,000 files: {warm * 1000:.0f} ms (asked: 150)")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_project(folder, 2_494, 6, 1)
        cold = statistics.median(process(folder, "--no-cache") for _ in range(3))
        print(f"cold, 2,500 files of which 12 hold or reach workflows: {cold:.2f} s (asked: 1.5)")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        lines = write_project(folder, 830, 12, 1)
        done = subprocess.run(
            [sys.executable, "-c", textwrap.dedent(PEAK), str(folder)],
            capture_output=True,
            text=True,
            check=True,
            env={**os.environ},
        )
        peak, parsed, files = done.stdout.split()
        print(f"memory, {lines:,} lines: {peak} MiB, {parsed} of {files} files parsed (asked: 400)")


if __name__ == "__main__":
    main()
