"""The pytest plugin, in runs of pytest of its own."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

FLOWS = """\
import asyncio
from perdure import activity, sleep, workflow

@activity
async def greet(name: str) -> str:
    return f"hello {name}"

@workflow
async def greeting(name: str) -> str:
    await sleep(3600)
    return await greet(name)
"""


def run_pytest(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """A run in a folder, without what the surrounding one has set."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PYTEST")}
    plain = ("-q", "-p", "no:randomly", "-p", "no:cacheprovider")
    return subprocess.run(
        [sys.executable, "-m", "pytest", *plain, *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        env={**environment, "PYTHONPATH": str(folder)},
    )


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "flows.py").write_text(FLOWS, encoding="utf-8")
    return tmp_path


def write(project: Path, text: str, name: str = "test_it.py") -> None:
    path = project / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(textwrap.dedent(text), encoding="utf-8")


ASYNC_TESTS = """
import pytest
from flows import greet, greeting

{mark}

async def test_inside(perdure_env):
    async with perdure_env as env:
        mock = env.mock(greet).returns("hi")
        assert await env.run(greeting, "you") == "hi"
        mock.assert_called_once_with("you")

async def test_a_store(perdure_worker):
    async with perdure_worker as env:
        env.mock(greeting).returns("done")
        assert await env.run(greeting, "you") == "done"

def test_plain(perdure_env):
    perdure_env.mock(greet).returns("hi")
    assert perdure_env.run(greeting, "you") == "hi"
"""


ANYIO = """
pytestmark = pytest.mark.anyio

@pytest.fixture
def anyio_backend():
    return "asyncio"
"""


@pytest.mark.parametrize(
    ("mark", "arguments"),
    [
        ("pytestmark = []", ("-p", "no:anyio", "-o", "asyncio_mode=auto")),
        ("pytestmark = pytest.mark.asyncio", ("-p", "no:anyio")),
        (ANYIO, ("-p", "no:asyncio")),
    ],
    ids=["pytest-asyncio auto", "pytest-asyncio strict", "anyio"],
)
def test_beside_plugins_for_async_tests(
    project: Path, mark: str, arguments: tuple[str, ...]
) -> None:
    write(project, ASYNC_TESTS.format(mark=mark))
    done = run_pytest(project, "--perdure-backend", "sqlite://", *arguments)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "3 passed" in done.stdout


def test_plain_and_async_tests(project: Path) -> None:
    write(
        project,
        """
        import asyncio
        import pytest
        from flows import greet, greeting

        def test_plain(perdure_env):
            perdure_env.mock(greet).returns("mocked")
            assert perdure_env.run(greeting, "x") == "mocked"

        def test_async(perdure_env):
            async def main():
                async with perdure_env as env:
                    assert await env.run(greeting, "x") == "hello x"
            asyncio.run(main())

        @pytest.mark.perdure(replay_every_turn=True)
        @pytest.mark.parametrize("name", ["a", "b"])
        def test_options(perdure_env, name):
            assert perdure_env.run(greeting, name) == f"hello {name}"
            assert perdure_env.environment.worker.cached_instances == 0
        """,
    )
    done = run_pytest(project, "--strict-markers")
    assert "4 passed" in done.stdout, done.stdout
    done = run_pytest(project, "-n", "2")
    assert "4 passed" in done.stdout, done.stdout


def test_a_failed_test_shows_the_histories(project: Path) -> None:
    write(
        project,
        """
        from flows import greeting

        def test_fails(perdure_env):
            assert perdure_env.run(greeting.options(id="one"), "x") == "bye"
        """,
    )
    done = run_pytest(project)
    assert done.returncode == 1
    assert "perdure: greeting (one), completed" in done.stdout
    assert "→ activity_scheduled 2" in done.stdout
    assert "2025-01-01 01:00:00  ← timer_fired 1" in done.stdout


def test_the_same_test_on_every_store_that_is_named(project: Path) -> None:
    write(
        project,
        """
        from flows import greet
        from perdure import workflow

        @workflow
        async def at_once(name: str) -> str:
            return await greet(name)

        def test_it(perdure_worker, perdure_backend):
            perdure_worker.mock(greet).returns("mocked")
            assert perdure_worker.run(at_once, "x") == "mocked"
            perdure_worker.mock(greet).assert_called_once_with("x")
            assert perdure_worker.start(at_once, "y").result() == "mocked"
        """,
    )
    write(project, "[pytest]\nperdure_backends =\n    memory://\n    sqlite://\n", "pytest.ini")
    done = run_pytest(project, "-vv")
    assert "2 passed" in done.stdout, done.stdout
    assert "test_it[memory]" in done.stdout
    assert "test_it[sqlite]" in done.stdout
    done = run_pytest(project, "-vv", "--perdure-backend", "sqlite:///:memory:")
    assert "1 passed" in done.stdout, done.stdout


@pytest.mark.parametrize("name", ["POSTGRES", "MYSQL", "REDIS"])
def test_stores_on_servers_are_left_as_they_were(project: Path, name: str) -> None:
    url = os.environ.get(f"PERDURE_TEST_{name}")
    if url is None:
        pytest.skip("no server")
    write(
        project,
        """
        from flows import greet
        from perdure import workflow

        @workflow
        async def at_once(name: str) -> str:
            return await greet(name)

        def test_it(perdure_worker):
            assert perdure_worker.run(at_once.options(id="one"), "x") == "hello x"

        def test_again(perdure_worker):
            assert perdure_worker.run(at_once.options(id="one"), "y") == "hello y"
        """,
    )
    done = run_pytest(project, "--perdure-backend", url)
    assert "2 passed" in done.stdout, done.stdout


def test_histories_are_tests(project: Path) -> None:
    write(
        project,
        """
        import asyncio, sys
        from perdure_runtime import write_history
        from perdure_runtime.testing import Environment
        from flows import greeting

        async def main():
            async with Environment() as env:
                handle = await env.start(greeting.options(id="one"), "x")
                await handle.result()
                await write_history(sys.stdout, await handle.describe(), handle.history())
        asyncio.run(main())
        """,
        "record.py",
    )
    made = subprocess.run(
        [sys.executable, "record.py"], cwd=project, capture_output=True, text=True, check=True
    )
    write(project, made.stdout, "tests/histories/one.jsonl")
    write(project, "{}\n", "elsewhere/other.jsonl")
    done = run_pytest(project)
    assert "no workflow 'greeting' version 1 in the modules of `perdure_workflows`" in done.stdout
    write(project, "[pytest]\nperdure_workflows = flows\n", "pytest.ini")
    done = run_pytest(project, "-vv")
    assert "1 passed" in done.stdout, done.stdout
    assert "tests/histories/one.jsonl::one PASSED" in done.stdout
    (project / "flows.py").write_text(FLOWS.replace("3600", "60"), encoding="utf-8")
    done = run_pytest(project)
    assert done.returncode == 1
    assert "greeting does not fit one.jsonl" in done.stdout
    assert "the duration was edited: timer of 3600 s is timer of 60 s now" in done.stdout
    write(project, "nonsense\n", "tests/histories/broken.jsonl")
    done = run_pytest(project)
    assert "broken.jsonl:1: not JSON" in done.stdout


def test_unused_it_loads_nothing_of_ours(project: Path) -> None:
    write(
        project,
        """
        import sys

        def test_it():
            ours = {name.partition(".")[0] for name in sys.modules}
            assert "pytest_perdure" in ours
            assert not ours & {"perdure", "perdure_runtime", "perdure_backends", "msgspec"}
        """,
    )
    done = run_pytest(project)
    assert "1 passed" in done.stdout, done.stdout


def test_the_page_on_testing_tells_the_truth(tmp_path: Path) -> None:
    page = Path(__file__).parents[2] / "docs" / "testing.md"
    text = page.read_text(encoding="utf-8")
    blocks = [part.partition("```")[0] for part in text.split("```python\n")[1:]]
    for block in blocks:
        name = block.partition("\n")[0].removeprefix("# ")
        assert name.endswith(".py")
        (tmp_path / name).write_text(block, encoding="utf-8")
    done = run_pytest(tmp_path)
    assert "13 passed" in done.stdout, done.stdout
