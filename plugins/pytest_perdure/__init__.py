"""pytest's fixtures and collectors for Perdure. Loaded by each run of pytest: nothing heavy here.

PYTEST_DONT_REWRITE
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from perdure_runtime.testing import SyncEnvironment, SyncStoreEnvironment

    from ._histories import HistoryFile


def pytest_addoption(parser: pytest.Parser) -> None:
    """Options on the command line and in the configuration."""
    group = parser.getgroup("perdure")
    group.addoption(
        "--perdure-backend",
        action="append",
        default=[],
        metavar="URL",
        help="A store for the fixtures perdure_backend and perdure_worker; may be repeated.",
    )
    parser.addini(
        "perdure_backends",
        "Stores for the fixtures perdure_backend and perdure_worker (memory:// by default).",
        type="linelist",
        default=[],
    )
    parser.addini(
        "perdure_histories",
        "Folders whose .jsonl files are histories that must replay (tests/histories by default).",
        type="linelist",
        default=["tests/histories"],
    )
    parser.addini(
        "perdure_workflows",
        "Modules with the workflows that histories are replayed against.",
        type="linelist",
        default=[],
    )


def pytest_configure(config: pytest.Config) -> None:
    """Makes the marker known."""
    config.addinivalue_line(
        "markers",
        "perdure(**options): options of perdure_runtime.testing.Environment for perdure_env",
    )


# --- fixtures -------------------------------------------------------------------------------


@pytest.fixture
def perdure_env(request: pytest.FixtureRequest) -> Iterator[SyncEnvironment]:
    """Workflows in memory, with time that jumps; ``async with perdure_env as env`` in async tests.

    ``@pytest.mark.perdure(start_time=…, replay_every_turn=True)`` gives it options.
    """
    from perdure_runtime.testing import SyncEnvironment

    options: dict[str, Any] = {}
    for marker in request.node.iter_markers("perdure"):
        options = {**marker.kwargs, **options}
    with SyncEnvironment(**options) as environment:
        request.node.stash[_ENVIRONMENTS] = environment
        yield environment


@pytest.fixture
def perdure_backend(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The URL of an empty store; once for each store that was named."""
    from ._stores import fresh_store

    with fresh_store(request.param, tmp_path) as url:
        yield url


@pytest.fixture
def perdure_worker(perdure_backend: str) -> Iterator[SyncStoreEnvironment]:
    """A worker and a client on :func:`perdure_backend`; it works while one of its methods blocks.

    ``async with perdure_worker as env`` in async tests.
    """
    from perdure_runtime.testing import SyncStoreEnvironment

    with SyncStoreEnvironment(perdure_backend) as environment:
        yield environment


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Repeats tests over the stores."""
    if "perdure_backend" in metafunc.fixturenames:
        config = metafunc.config
        urls = config.getoption("--perdure-backend") or config.getini("perdure_backends")
        urls = urls or ["memory://"]
        names = [url.partition(":")[0] for url in urls]
        metafunc.parametrize("perdure_backend", urls, indirect=True, ids=names)


# --- what a failed test shows ---------------------------------------------------------------

_ENVIRONMENTS = pytest.StashKey[Any]()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Adds the histories of the environment's instances to a failed test's report."""
    report = yield
    environment = item.stash.get(_ENVIRONMENTS, None)
    if environment is not None and report.when == "call" and report.failed:
        from ._failures import sections

        report.sections.extend(sections(environment))
    return report


# --- histories ------------------------------------------------------------------------------


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> HistoryFile | None:
    """Each ``.jsonl`` file in the folders of histories is a test: it must replay."""
    if file_path.suffix != ".jsonl":
        return None
    folders = [parent.config.rootpath / name for name in parent.config.getini("perdure_histories")]
    if not any(folder in file_path.parents for folder in folders):
        return None
    from ._histories import HistoryFile

    make: Any = HistoryFile  # pytest's own factory is not typed
    found: HistoryFile = make.from_parent(parent, path=file_path)
    return found
