"""What tests cost: ``python tests/benchmarks/testing_bench.py`` prints a table."""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from perdure import activity, sleep, workflow
from perdure_runtime.testing import Environment, SyncEnvironment, explore_crashes

RUNS = 1000


@activity
async def greet(name: str) -> str:
    return f"hello {name}"


@workflow
async def simple(name: str) -> str:
    return await greet(name)


@workflow
async def sleeps(times: int) -> None:
    for _ in range(times):
        await sleep(86_400)


def in_one() -> None:
    """Many runs in one environment."""
    with SyncEnvironment() as env:
        for _ in range(RUNS):
            env.run(simple, "x")


def each_anew() -> None:
    """An environment for each run, as in many tests."""
    for _ in range(RUNS):
        with SyncEnvironment() as env:
            env.run(simple, "x")


def jumps() -> None:
    """Many jumps of time."""
    with SyncEnvironment() as env:
        env.run(sleeps, RUNS)


def explored() -> int:
    """Every crash of a workflow with an activity and a timer, and pairs of them."""
    return explore_crashes(scenario, more=200).runs


async def scenario(env: Environment) -> None:
    await env.run(simple, "x")
    await env.run(sleeps, 3)


def turns(*, paranoid: bool) -> Callable[[], None]:
    """Runs of a dozen turns, which a helper replays or does not."""

    def work() -> None:
        with SyncEnvironment(paranoid=paranoid) as env:
            for _ in range(50):
                env.run(sleeps, 10)

    return work


def seconds(work: Callable[[], None]) -> float:
    """The median of three."""
    taken: list[float] = []
    for _ in range(3):
        start = time.perf_counter()
        work()
        taken.append(time.perf_counter() - start)
    return statistics.median(taken)


def pytest_seconds(*arguments: str) -> float:
    """An empty run of pytest."""
    with tempfile.TemporaryDirectory() as name:
        (Path(name) / "test_it.py").write_text("def test_it(): pass\n", encoding="utf-8")
        command = [sys.executable, "-m", "pytest", "-q", *arguments]
        taken: list[float] = []
        for _ in range(9):
            start = time.perf_counter()
            subprocess.run(command, cwd=name, check=True, capture_output=True)
            taken.append(time.perf_counter() - start)
    return statistics.median(taken)


def main() -> None:
    print(f"{RUNS:,} simple runs in one environment: {seconds(in_one):.2f} s (asked: 1)")
    print(f"{RUNS:,} simple runs, an environment each: {seconds(each_anew):.2f} s")
    print(f"{RUNS:,} jumps of time in one workflow: {seconds(jumps):.2f} s")
    start = time.perf_counter()
    runs = explored()
    print(f"a run under a crash: {(time.perf_counter() - start) / runs * 1000:.1f} ms ({runs})")
    plain, watched = seconds(turns(paranoid=False)), seconds(turns(paranoid=True))
    print(f"paranoid: {watched / plain:.1f} times the time of plain turns")
    cost = pytest_seconds() - pytest_seconds("-p", "no:perdure")
    print(f"an unused plugin: {cost * 1000:.0f} ms a run of pytest (asked: 20)")


if __name__ == "__main__":
    main()
