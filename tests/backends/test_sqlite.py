"""What is SQLite's own: files, locks, errors, migrations, liveness."""

from __future__ import annotations

import asyncio
import json
import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from perdure import (
    BackendError,
    BackendFormatError,
    BackendFullError,
    BackendReadOnlyError,
    InvalidOptionError,
    SchemaVersionError,
    activity,
    workflow,
)
from perdure_backends import _liveness, open_backend
from perdure_backends.conformance import Harness, TestClock
from perdure_backends.sqlite import SqliteBackend, _migrations
from perdure_backends.sqlite._connection import Connection, map_error
from perdure_runtime import Client, Worker, connect


def private(backend: SqliteBackend) -> Connection:
    """The connection behind a store."""
    connection: Connection = getattr(backend, "_connection")  # noqa: B009
    return connection


def opened(path: Path, **options: Any) -> None:
    """Opens and closes a store."""

    async def main() -> None:
        backend = SqliteBackend(str(path), **options)
        try:
            await backend.open()
        finally:
            await backend.aclose()

    asyncio.run(main())


def test_a_file_that_is_no_database(tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    path.write_bytes(b"this is a letter to my aunt " * 100)
    with pytest.raises(BackendFormatError, match="no SQLite database"):
        opened(path)
    assert path.read_bytes().startswith(b"this is a letter")


def test_a_database_of_another_program(tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE recipes (name TEXT)")
    connection.close()
    with pytest.raises(BackendFormatError, match=r"another program.*recipes"):
        opened(path)


def test_a_folder_and_a_missing_folder(tmp_path: Path) -> None:
    with pytest.raises(BackendError, match="it is a folder"):
        opened(tmp_path)
    with pytest.raises(BackendError, match="does not exist"):
        opened(tmp_path / "none" / "x.db")


def test_a_schema_from_a_newer_version(tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    opened(path)
    connection = sqlite3.connect(path)
    connection.execute("UPDATE meta SET value = '99' WHERE key = 'schema_version'")
    connection.commit()
    opened(path)  # still readable for this version
    connection.execute("UPDATE meta SET value = '98' WHERE key = 'oldest_reader'")
    connection.commit()
    connection.close()
    with pytest.raises(SchemaVersionError, match="update perdure"):
        opened(path)


def test_a_store_that_is_not_to_be_migrated(tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    with pytest.raises(SchemaVersionError, match="perdure migrate"):
        opened(path, migrate=False)
    opened(path)
    opened(path, migrate=False)


def test_a_store_that_can_not_be_written(tmp_path: Path) -> None:
    async def main() -> None:
        backend = SqliteBackend(str(tmp_path / "x.db"))
        await backend.open()
        harness = Harness(backend, TestClock())
        await harness.start("before")
        # What a read-only file says; file permissions mean nothing to root.
        await private(backend).run(lambda c: c.execute("PRAGMA query_only = 1").fetchone())
        with pytest.raises(BackendReadOnlyError, match="can't be written to"):
            await harness.start("a")
        assert await harness.state("before") == "running"
        await backend.aclose()

    asyncio.run(main())


@pytest.mark.parametrize(
    ("name", "error"),
    [
        ("SQLITE_FULL", BackendFullError),
        ("SQLITE_READONLY_DBMOVED", BackendReadOnlyError),
        ("SQLITE_CORRUPT_VTAB", BackendFormatError),
        ("SQLITE_IOERR_WRITE", BackendError),
    ],
)
def test_each_error_of_sqlite_is_mapped(name: str, error: type[BackendError]) -> None:
    raised = sqlite3.OperationalError("x")
    raised.sqlite_errorname = name
    assert type(map_error(raised, "x.db")) is error


def test_a_full_disk_loses_nothing_acknowledged(tmp_path: Path) -> None:
    path = tmp_path / "x.db"

    async def main() -> None:
        backend = SqliteBackend(str(path))
        await backend.open()
        harness = Harness(backend, TestClock())
        await harness.start("before")
        limit = private(backend)

        def pages(count: int) -> Callable[[sqlite3.Connection], Any]:
            return lambda c: c.execute(f"PRAGMA max_page_count = {count}").fetchone()

        now = (await limit.run(lambda c: c.execute("PRAGMA page_count").fetchone()))[0]
        await limit.run(pages(now))

        async def fill() -> None:
            for i in range(1000):
                await harness.start(f"more-{i}", started=b"x" * 3000)

        with pytest.raises(BackendFullError, match="make room"):
            await fill()
        assert await harness.state("before") == "running"
        await limit.run(pages(now + 10_000))
        await harness.start("after")
        assert await harness.state("after") == "running"
        await backend.aclose()

    asyncio.run(main())


@activity
async def grows(size: int) -> str:
    return "x" * size


@workflow
async def fills(steps: int) -> int:
    return sum([len(await grows(20_000)) for _ in range(steps)])


def test_work_goes_on_when_a_full_disk_has_room_again(tmp_path: Path) -> None:
    async def main() -> None:
        async with connect(f"sqlite:///{tmp_path / 'x.db'}") as backend:
            assert isinstance(backend, SqliteBackend)

            async def limit(pages: int) -> None:
                await private(backend).run(
                    lambda c: c.execute(f"PRAGMA max_page_count = {pages}").fetchone()
                )

            async with Worker(backend, workflows=[fills], activities=[grows], poll_interval=0.1):
                client = Client(backend)
                await limit(150)
                handle = await client.start(fills, 50)
                async with asyncio.timeout(20):
                    # It gets as far as there is room, and then tries again and again.
                    turn = -1
                    while turn < (turn := (await handle.describe()).turn) or turn < 5:  # noqa: ASYNC110
                        await asyncio.sleep(0.3)
                assert await handle.state() == "running"
                await limit(100_000)
                assert await handle.result(timeout=30) == 50 * 20_000

    asyncio.run(main())


def test_ten_processes_migrate_at_once(tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    command = [
        *(sys.executable, "-m", "perdure_runtime.cli", "migrate"),
        *("--backend", f"sqlite:///{path}", "--json"),
    ]
    processes = [subprocess.Popen(command, stdout=subprocess.PIPE) for _ in range(10)]
    outputs = [process.communicate()[0].decode() for process in processes]
    assert [process.returncode for process in processes] == [0] * 10
    assert sum("0001_initial.sql" in output for output in outputs) == 1


def test_a_locked_database_is_waited_for(tmp_path: Path) -> None:
    path = tmp_path / "x.db"

    async def main() -> None:
        backend = SqliteBackend(str(path), timeout=0.01)
        await backend.open()
        blocker = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        blocker.execute("BEGIN IMMEDIATE")
        harness = Harness(backend, TestClock())
        starting = asyncio.ensure_future(harness.start("a"))
        done, _ = await asyncio.wait([starting], timeout=0.2)
        assert not done
        blocker.execute("COMMIT")
        blocker.close()
        await starting
        await backend.aclose()

    asyncio.run(main())


def test_two_processes_see_each_other(tmp_path: Path) -> None:
    async def main() -> None:
        clock = TestClock()
        one = SqliteBackend(str(tmp_path / "x.db"), clock=clock)
        two = SqliteBackend(str(tmp_path / "x.db"), clock=clock)
        await one.open()
        await two.open()
        with two.wakeups.listen("turns") as waiter:
            await asyncio.sleep(0.05)
            await Harness(one, clock).start("a")
            assert await waiter.wait(5)
        await one.aclose()
        await two.aclose()

    asyncio.run(main())


def test_network_file_systems_are_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    line = f"36 35 98:0 / {tmp_path} rw,noatime master:1 - nfs4 server:/x rw\n"
    monkeypatch.setattr(Path, "read_text", lambda self, **_: line)  # pyright: ignore[reportUnknownLambdaType, reportUnknownArgumentType]
    with pytest.raises(BackendError, match="network file system \\(nfs4"):
        opened(tmp_path / "x.db")


@pytest.mark.parametrize(
    ("url", "match"),
    [
        ("oracle://x", "no store is known for 'oracle'"),
        ("sqlite://", "names no file"),
        ("sqlite:///x.db?colour=red", "unknown option colour"),
        ("sqlite:///x.db?synchronous=OFF", "FULL, NORMAL or EXTRA"),
        ("sqlite:///x.db?migrate=perhaps", "yes or no"),
        ("sqlite:///x.db?timeout=soon", "number of seconds"),
        ("memory://x", "stands where a host would"),
    ],
)
def test_urls_that_are_refused(url: str, match: str) -> None:
    with pytest.raises(InvalidOptionError, match=match):
        open_backend(url)


def test_a_store_opened_before_a_fork_says_so(tmp_path: Path) -> None:
    async def main() -> None:
        backend = SqliteBackend(str(tmp_path / "x.db"))
        await backend.open()
        setattr(private(backend), "_pid", -1)  # noqa: B010  # as after a fork
        with pytest.raises(BackendError, match="before this process was forked"):
            await backend.describe("x")
        await backend.aclose()

    asyncio.run(main())


# --- liveness -------------------------------------------------------------------------------

HOLDER = """
import sys
from pathlib import Path
from perdure_backends import _liveness
print(_liveness.register("theirs", Path(sys.argv[1])), flush=True)
sys.stdin.read()
"""


def test_a_process_is_proven_dead_only_once_it_is(tmp_path: Path) -> None:
    command = [sys.executable, "-c", HOLDER, str(tmp_path)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        proof = process.stdout.readline()
        assert not _liveness.proven_dead("theirs", proof)
        process.kill()
        process.wait()
        assert _liveness.proven_dead("theirs", proof)
        assert _liveness.proven_dead("theirs", proof), "looking does not change the answer"
        for key, value in (("boot", "other"), ("inode", 1), ("path", str(tmp_path / "none"))):
            other = json.dumps({**json.loads(proof), key: value})
            assert not _liveness.proven_dead("theirs", other), f"another {key} proves nothing"
        assert not _liveness.proven_dead("theirs", "{}")


def age(path: Path, seconds: float) -> None:
    then = path.stat().st_mtime - seconds
    os.utime(path, (then, then))


def test_a_dead_processs_file_stays_as_long_as_somebody_may_need_it(tmp_path: Path) -> None:
    command = [sys.executable, "-c", HOLDER, str(tmp_path)]

    def another_starts() -> None:
        subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, check=True)

    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        proof = process.stdout.readline()
        file = Path(json.loads(proof)["path"])
        age(file, 1_000_000)
        another_starts()
        assert not file.read_bytes(), "who lives is not marked, however old the file is"
        process.kill()
        process.wait()
    another_starts()
    assert file.read_bytes() == b"dead"
    another_starts()
    assert _liveness.proven_dead("theirs", proof), "a mark of just now keeps the file"
    age(file, 3601)
    another_starts()
    assert not file.exists()


def test_a_process_that_ends_without_ending_its_session_leaves_the_proof(tmp_path: Path) -> None:
    command = [sys.executable, "-c", HOLDER, str(tmp_path)]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, check=True)
    assert _liveness.proven_dead("theirs", done.stdout.decode())
    ended = HOLDER + "_liveness.unregister('theirs')"
    command = [sys.executable, "-c", ended, str(tmp_path)]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, check=True)
    assert not Path(json.loads(done.stdout)["path"]).exists()


def test_sessions_of_this_process_are_judged_by_the_registry(tmp_path: Path) -> None:
    proof = _liveness.register("mine", tmp_path)
    other = _liveness.register("mine too", tmp_path)
    assert not _liveness.proven_dead("mine", proof)
    _liveness.unregister("mine")
    # Ended in good order, but the process (and its lock) is ours: no proof, and the lock stays.
    assert not _liveness.proven_dead("mine", proof)
    assert not _liveness.proven_dead("mine too", other)
    _liveness.unregister("mine too")


def test_migrations_are_numbered_without_gaps() -> None:
    numbers = [script.number for script in _migrations.missing(0)]
    assert numbers == list(range(1, _migrations.CODE_VERSION + 1))
