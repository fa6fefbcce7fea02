"""What the stores on servers have in common beyond the contract: URLs, errors, odd ids, poolers."""

from __future__ import annotations

import asyncio
import enum
import json
import secrets
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import servers
from perdure import (
    BackendError,
    BackendFormatError,
    BackendUnavailableError,
    InvalidOptionError,
    SchemaVersionError,
    activity,
    workflow,
)
from perdure_backends import Backend, open_backend
from perdure_backends._relational import ConflictError, RelationalBackend, Teller
from perdure_backends._urls import Location
from perdure_backends.conformance import Harness, TestClock
from perdure_backends.records import CommitResult, ListFilter, Settled
from perdure_backends.redis import RedisBackend
from perdure_runtime import Client, Worker, connect
from stores import make_store, mysql_database, store_url, url_of

SERVERS = ["postgres", "mysql", "redis"]
VARIABLES = {"postgres": servers.POSTGRES, "mysql": servers.MYSQL, "redis": servers.REDIS}


@activity
async def double(value: str) -> str:
    return value * 2


@workflow
async def doubles(value: str) -> str:
    return await double(value)


def opened(url: str) -> None:
    """Opens and closes a store."""

    async def main() -> None:
        async with connect(url):
            pass

    asyncio.run(main())


@pytest.mark.parametrize(
    ("url", "match"),
    [
        ("postgresql://h/d?schema=Upper", "lower-case letters"),
        ("postgresql://h/d?pool_size=0", "pool_size is a whole number, 1 or more, not '0'"),
        ("postgresql://h/d?pooler=session", "pooler is none or transaction"),
        ("mysql://h", "names no database"),
        ("mysql://h/d?colour=red", "unknown option colour; known are tls"),
        ("mysql://h/d?prefix=1x", "begins with no digit"),
        ("mysql://h/d?tls=perhaps", "tls is no, yes or unverified"),
        ("mysql://h:port/d", "'port' is no port"),
        ("redis://h/0?prefix=a:b", "no braces and colons"),
        ("redis://h/0?timeout=soon", "number of seconds"),
    ],
)
def test_urls_that_are_refused(url: str, match: str) -> None:
    with pytest.raises(InvalidOptionError, match=match):
        open_backend(url)


@pytest.mark.parametrize("scheme", ["postgresql", "mysql", "redis"])
def test_secrets_are_not_shown(scheme: str) -> None:
    backend = open_backend(f"{scheme}://ada:s3cret@127.0.0.1:1/0")
    assert "s3cret" not in backend.url
    assert "ada" not in backend.url
    with pytest.raises(BackendUnavailableError, match="does not answer") as caught:
        asyncio.run(backend.open())
    assert "s3cret" not in str(caught.value)


def test_parts_of_urls_are_decoded() -> None:
    location = Location.parse("mysql://a%40b:p%2Fq@[::1]:3307/d?prefix=x_")
    assert (location.user, location.password) == ("a@b", "p/q")
    assert location.nodes(3306) == [("::1", 3307)]
    assert Location.parse("redis://one,two:7000/0").nodes(6379) == [("one", 6379), ("two", 7000)]


@pytest.mark.parametrize("store", ["postgres", "mysql"])
def test_a_database_that_is_not_there(store: str) -> None:
    url = url_of(VARIABLES[store]).rpartition("/")[0] + "/nowhere"
    with pytest.raises(BackendError, match=r"nowhere.*create it"):
        opened(url)


@pytest.mark.parametrize("store", SERVERS)
def test_a_store_that_was_never_migrated(store: str) -> None:
    name = {"postgres": "schema=never", "mysql": "prefix=never_", "redis": "prefix=never"}[store]
    with pytest.raises(SchemaVersionError, match="run `perdure migrate`"):
        opened(f"{url_of(VARIABLES[store])}?{name}&migrate=no")


def test_a_schema_of_another_program() -> None:
    import asyncpg

    url = url_of(servers.POSTGRES)

    async def main() -> None:
        connection = await asyncpg.connect(url)
        await connection.execute("CREATE SCHEMA IF NOT EXISTS recipes")
        await connection.execute("CREATE TABLE IF NOT EXISTS recipes.cakes (name text)")
        await connection.close()

    asyncio.run(main())
    with pytest.raises(BackendFormatError, match=r"another program \(cakes\)"):
        opened(f"{url}?schema=recipes")


def test_ten_open_an_empty_store_at_once() -> None:
    name = f"ten_{secrets.token_hex(4)}"

    async def main() -> None:
        for url in (
            f"{url_of(servers.POSTGRES)}?schema={name}",
            f"{url_of(servers.MYSQL)}?prefix={name}_",
            f"{url_of(servers.REDIS)}?prefix={name}",
        ):
            stores = [open_backend(url) for _ in range(10)]
            await asyncio.gather(*(store.open() for store in stores))
            await asyncio.gather(*(store.aclose() for store in stores))

    asyncio.run(main())


ODD_IDS = [
    *("a", "A", "á", "a ", " a", "ä", "a\u0308", "x" * 512, "😀" * 512, "%", "_", "a%", "*", "?"),
    *("'; DROP TABLE runs; --", '"', "\\", "\\'", "{a}", "[a]", "a:b", "\n", "\x01", "0", "null"),
]


@pytest.mark.parametrize("store", SERVERS)
def test_ids_are_compared_as_bytes(store: str, tmp_path: Path) -> None:
    async def main() -> None:
        clock = TestClock()
        backend: Any = make_store(store, tmp_path, clock)
        await backend.open()
        harness = Harness(backend, clock)
        for name in ODD_IDS:
            assert (await harness.start(name)).result == "created", name
        for name in ODD_IDS:
            record = await backend.describe(name)
            assert record is not None
            assert record.instance_id == name
            assert (await harness.signal(name, "x", message_id=name)) == "accepted"
        page = await backend.list_instances(ListFilter(), None, 100)
        assert sorted(r.instance_id for r in page.instances) == sorted(ODD_IDS)
        for prefix in ("a", "😀", "%", "\\", "'"):
            page = await backend.list_instances(ListFilter(id_prefix=prefix), None, 100)
            found = sorted(r.instance_id for r in page.instances)
            assert found == sorted(name for name in ODD_IDS if name.startswith(prefix))
        await backend.aclose()

    asyncio.run(main())


@pytest.mark.parametrize("store", SERVERS)
def test_any_text_comes_back(store: str, tmp_path: Path) -> None:
    text = "NUL \x00, quotes ' \" \\, ünïcödé, 漢字, 😀, \u2028 " * 100

    async def main() -> None:
        async with (
            connect(store_url(store, tmp_path)) as backend,
            Worker(backend, workflows=[doubles], activities=[double]),
        ):
            assert await Client(backend).run(doubles, text) == text * 2

    asyncio.run(main())


def test_a_redis_that_may_throw_keys_away_is_refused() -> None:
    import redis

    url = url_of(servers.REDIS)
    make: Any = getattr(redis.Redis, "from_url")  # noqa: B009  (partly untyped)
    with tempfile.TemporaryDirectory() as folder:
        server, own = servers.redis(Path(folder), "--maxmemory-policy", "allkeys-lru")
        server.start()
        try:
            with pytest.raises(BackendError, match=r"allkeys-lru.*noeviction"):
                opened(own)
        finally:
            server.kill(signal.SIGKILL)
    with make(url) as client:
        assert client.config_get("maxmemory-policy") == {"maxmemory-policy": "noeviction"}


def test_scripts_that_the_server_forgot_are_sent_again(tmp_path: Path) -> None:
    import redis

    make: Any = getattr(redis.Redis, "from_url")  # noqa: B009  (partly untyped)

    async def main() -> None:
        async with (
            connect(store_url("redis", tmp_path)) as backend,
            Worker(backend, workflows=[doubles], activities=[double]),
        ):
            assert await Client(backend).run(doubles, "a") == "aa"
            with make(url_of(servers.REDIS)) as client:
                client.script_flush()
            assert await Client(backend).run(doubles, "b") == "bb"

    asyncio.run(main())


def test_around_a_client_and_a_pool_of_the_users(tmp_path: Path) -> None:
    import asyncpg
    import redis.asyncio
    from perdure_backends.postgres import PostgresBackend

    make: Any = getattr(redis.asyncio.Redis, "from_url")  # noqa: B009  (partly untyped)
    store_url("postgres", tmp_path)
    schema = store_url("postgres", tmp_path).partition("schema=")[2].partition("&")[0]

    async def use(backend: Backend) -> None:
        await backend.open()
        async with Worker(backend, workflows=[doubles], activities=[double]):
            assert await Client(backend).run(doubles, "a") == "aa"
        await backend.aclose()

    async def main() -> None:
        async with make(url_of(servers.REDIS)) as client:
            store_url("redis", tmp_path)
            await use(RedisBackend(client=client, prefix="own", migrate=True))
            assert await client.ping()
        async with asyncpg.create_pool(url_of(servers.POSTGRES)) as pool:
            await use(PostgresBackend(pool=pool, schema=schema))
            assert await pool.fetchval("SELECT 1") == 1

    asyncio.run(main())


@pytest.fixture
def pooled() -> Iterator[str]:
    """The URL of a PgBouncer in transaction mode before the PostgreSQL server."""
    target = Location.parse(url_of(servers.POSTGRES))
    ((host, server_port),) = target.nodes(5432)
    try:
        binary = servers.program("pgbouncer", "/usr/sbin")
    except servers.MissingError as error:
        pytest.skip(str(error))
    port = servers.free_port()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder)
        path.chmod(0o755)
        settings = path / "pgbouncer.ini"
        settings.write_text(
            f"[databases]\npostgres = host={host} port={server_port} user={target.user}\n"
            f"[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\n"
            "auth_type = any\npool_mode = transaction\nmax_client_conn = 200\n"
        )
        ready = ["pg_isready", "-h", "127.0.0.1", "-p", str(port)]
        ready[0] = servers.program("pg_isready", "/usr/lib/postgresql/*/bin")
        server = servers.Server(
            [binary, str(settings)],
            lambda: subprocess.run(ready, capture_output=True).returncode == 0,
            path / "log",
            servers.other_user(),
        )
        server.start()
        try:
            yield f"postgresql://{target.user}@127.0.0.1:{port}/postgres"
        finally:
            server.kill(signal.SIGKILL)


def test_behind_a_pooler_of_transactions(pooled: str, tmp_path: Path) -> None:
    schema = store_url("postgres", tmp_path).partition("schema=")[2].partition("&")[0]
    url = f"{pooled}?schema={schema}&pooler=transaction"

    async def main() -> None:
        async with (
            connect(url) as one,
            connect(url) as other,  # as in another process: only looks tell
            Worker(one, workflows=[doubles], activities=[double]),
        ):
            client = Client(other)
            runs = (client.run(doubles, str(n)) for n in range(20))
            assert await asyncio.gather(*runs) == [str(n) * 2 for n in range(20)]

    asyncio.run(main())


@pytest.mark.parametrize("kind", SERVERS)
def test_after_an_outage_nobody_is_found_dead_for_a_moment(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = TestClock()

    async def main() -> None:
        backend = make_store(kind, tmp_path, clock)
        await backend.open()
        assert isinstance(backend, RelationalBackend)
        harness = Harness(backend, clock)
        await harness.session("one", lease=5.0)
        await harness.session("other", lease=5.0)
        clock.advance(10.0)
        database: Any = backend._database  # pyright: ignore[reportPrivateUsage]

        async def gone(*_: Any) -> Any:
            raise BackendUnavailableError("gone")

        for grace, lost in ((60.0, ()), (0.0, ("one",))):
            monkeypatch.setattr("perdure_backends._relational._glances._GRACE", grace)
            with monkeypatch.context() as patched:
                patched.setattr(database, "look", gone)
                with pytest.raises(BackendUnavailableError):
                    await backend.sweep("other", 10)
            assert (await backend.sweep("other", 10)).sessions_lost == lost
        await backend.aclose()

    asyncio.run(main())


@pytest.mark.parametrize("kind", ["postgres", "mysql"])
def test_a_commit_is_compared_with_what_others_did_meanwhile(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker commits in one step on what it knows; where that is no longer so, with locks."""
    clock = TestClock()

    async def main() -> None:
        url = store_url(kind, tmp_path)
        mine, theirs = open_backend(url), open_backend(url)
        assert isinstance(mine, RelationalBackend)
        assert isinstance(theirs, RelationalBackend)
        for backend in (mine, theirs):
            backend.use_clock(clock)
            await backend.open()
        database: Any = mine._database  # pyright: ignore[reportPrivateUsage]
        write_compared, conflicts = database.write_compared, [0, 0]

        async def counted(*writes: Any) -> None:
            conflicts[0] += 1
            try:
                await write_compared(*writes)
            except ConflictError:
                conflicts[1] += 1
                raise

        monkeypatch.setattr(database, "write_compared", counted)
        t, other = Harness(mine, clock), Harness(theirs, clock)
        await t.session()
        await mine.sweep("s1", 10)  # as every worker does; it tells that there are no limits
        for name in "abcd":
            await t.start(name)
        tasks = {task.instance_id: task for task in (await t.claim()).tasks}
        # Several at once, with activities that the same session runs.
        activities = (t.activity(1, token="t1"), t.activity(2, token="t2"))
        for out in await t.commit_items(
            *(t.turn(one, activities=activities) for one in tasks.values())
        ):
            assert out.result == CommitResult.APPLIED
        assert conflicts == [1, 0]
        # A signal of another process, beside an instance that nobody touched.
        await other.signal("a", "go")
        settled = (Settled(1, "t1"),)
        again = [t.turn(tasks[one], turn=2, settled=settled) for one in "ab"]
        assert [out.result for out in await t.commit_items(*again)] == [CommitResult.APPLIED] * 2
        assert conflicts == [2, 1]
        record = await theirs.describe("a")
        assert record is not None
        assert (record.turn, len((await theirs.pending(record.run_id)).activities)) == (2, 1)
        # An activity was handed back behind our back, and runs elsewhere.
        tokens = [task.token for task in tasks.values()]
        assert await theirs.retain("s1", tokens, ["t1"]) == 4
        await other.session("s2")
        assert len(await other.claim_activities("s2")) == 4
        late = t.turn(tasks["c"], turn=2, settled=(Settled(2, "t2"),))
        assert [out.result for out in await t.commit_items(late)] == [CommitResult.STALE]
        assert conflicts == [3, 2]
        described = await theirs.describe("c")
        assert described is not None
        assert described.turn == 1
        # With nobody in between, an end goes through in one step too.
        await t.applied(tasks["d"], turn=2, finish=t.finish(tasks["d"]))
        assert conflicts == [4, 2]
        assert await other.state("d") == "completed"
        for backend in (mine, theirs):
            await backend.aclose()

    asyncio.run(main())


def test_a_claim_that_had_to_wait_shows_what_came_meanwhile(tmp_path: Path) -> None:
    """A claim is one statement, and sees inboxes as they were when it began."""
    import asyncpg

    clock = TestClock()

    async def main() -> None:
        url = store_url("postgres", tmp_path)
        dsn, _, rest = url.partition("?schema=")
        schema = rest.partition("&")[0]
        backend = open_backend(url)
        assert isinstance(backend, RelationalBackend)
        backend.use_clock(clock)
        await backend.open()
        t = Harness(backend, clock)
        await t.session()
        await t.start("a")
        await t.start("b")
        raw, watch = await asyncpg.connect(dsn), await asyncpg.connect(dsn)
        async with raw.transaction():
            await raw.execute(f"SELECT 1 FROM {schema}.sessions FOR UPDATE")
            claiming = asyncio.create_task(t.claim())
            waits = (
                "SELECT count(*) FROM pg_stat_activity "
                f"WHERE wait_event_type = 'Lock' AND query LIKE '%{schema}.%'"
            )
            # The session is locked, the run is not: a message comes in while the claim waits.
            while not await watch.fetchval(waits):  # noqa: ASYNC110
                await asyncio.sleep(0.01)
            await t.signal("a", "late")
        tasks = {task.instance_id: task for task in (await claiming).tasks}
        assert [entry.seq for entry in tasks["a"].inbox] == [1, 2]
        assert [entry.seq for entry in tasks["b"].inbox] == [1]
        for task in tasks.values():
            await t.applied(task, finish=t.finish(task))
        for connection in (raw, watch):
            await connection.close()
        await backend.aclose()

    asyncio.run(main())


def test_literals_of_mysql() -> None:
    from perdure_backends.mysql._statements import literal

    class Word(enum.StrEnum):
        QUOTED = "it's"

    values = [None, True, 7, 0.5, "abc1", 'a"\\', Word.QUOTED, b"\x00a", ["x", 1], ()]
    assert [literal(value) for value in values] == [
        *("NULL", "1", "7", "0.5", "'abc1'", "'a\\\"\\\\'", "'it\\'s'", "x'0061'"),
        *("('x', 1)", "(NULL)"),
    ]
    with pytest.raises(TypeError, match="no SQL literal for object"):
        literal(object())


def test_others_are_told_at_once_and_then_of_all_that_has_gathered() -> None:
    async def main() -> None:
        sent: list[Any] = []

        async def send(message: str) -> None:
            sent.append(json.loads(message))

        teller = Teller("me", send)
        teller.tell(["turns"], [])
        await asyncio.sleep(0)
        assert sent == [["me", ["turns"], []]]
        for number in range(3):
            teller.tell(["turns"], [f"run {number}"])
        assert teller.task is not None
        await teller.task
        assert [[name, topics, sorted(ended)] for name, topics, ended in sent[1:]] == [
            ["me", ["turns"], ["run 0", "run 1", "run 2"]]
        ]

    asyncio.run(main())


def test_what_older_code_leaves_in_the_index_by_state_is_mended(tmp_path: Path) -> None:
    """Code of before ends runs on Redis and does not know of the index."""
    import redis

    url = store_url("redis", tmp_path)
    prefix = url.partition("prefix=")[2].partition("&")[0]
    make: Any = getattr(redis.Redis, "from_url")  # noqa: B009  (partly untyped)

    async def main() -> None:
        clock = TestClock()
        backend = make_store("redis", tmp_path, clock)
        await backend.open()
        try:
            t = Harness(backend, clock)
            await t.session()
            await t.run_to_end("ended")
            await t.start("runs")
            index = f"{{{prefix}:0}}:in:running"
            with make(url.partition("?")[0]) as client:
                serials = [int(one) for one in client.zrange(f"{{{prefix}:0}}:started", 0, -1)]
                for serial in (*serials, 999_999):
                    client.zadd(index, {f"{serial:016d}": clock.time})
                assert isinstance(backend, RedisBackend)
                chosen = ListFilter(states=("running",))
                for _ in range(2):
                    page = await backend.list_instances(chosen, None, 10)
                    assert [one.instance_id for one in page.instances] == ["runs"]
                assert client.zcard(index) == 1
            assert (await backend.overview(10)).states == {"completed": 1, "running": 1}
        finally:
            await backend.aclose()

    asyncio.run(main())


@pytest.mark.parametrize("kind", SERVERS)
def test_a_glance_that_is_over_answers_nobody_who_asks_after_it(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def main() -> None:
        backend = make_store(kind, tmp_path, TestClock())
        await backend.open()
        assert isinstance(backend, RelationalBackend)
        look, asked = await backend.glance(), 0
        database: Any = backend._database  # pyright: ignore[reportPrivateUsage]
        share = backend._glances._shared_glance  # pyright: ignore[reportPrivateUsage]

        async def at_once(*_: Any) -> Any:
            nonlocal asked
            asked += 1
            return look

        monkeypatch.setattr(database, "look", at_once)
        first = asyncio.ensure_future(share())
        await asyncio.sleep(0)  # it asks for a glance,
        await asyncio.sleep(0)  # which is over now: its callbacks come after us
        assert asked == 1
        await share()
        assert asked == 2
        await first
        await backend.aclose()

    asyncio.run(main())


def test_a_connection_that_was_closed_makes_room_for_those_who_wait() -> None:
    async def main() -> None:
        database = mysql_database(url_of(servers.MYSQL))  # with one connection
        await database.open()
        link: Any = await database.link()
        await link.fetch("now")
        waiting = [asyncio.ensure_future(database.ask("SELECT 1")) for _ in range(3)]
        given_up = asyncio.ensure_future(database.ask("SELECT 1"))
        await asyncio.sleep(0)
        given_up.cancel()  # at once, and not when its turn would have come
        with pytest.raises(asyncio.CancelledError):
            await given_up
        link._raw.close()
        await link.abandon()
        async with asyncio.timeout(20):
            assert [list(rows) for rows in await asyncio.gather(*waiting)] == [[(1,)]] * 3
        await database.aclose()

    asyncio.run(main())


def test_who_is_in_the_way_costs_nobody_a_connection() -> None:
    async def main() -> None:
        database = mysql_database(url_of(servers.MYSQL))
        await database.open()
        mine = "SELECT CONNECTION_ID()"
        connection = list(await database.ask(mine))
        link: Any = await database.link()
        locked = "SIGNAL SQLSTATE '40001' SET MYSQL_ERRNO = 1213, MESSAGE_TEXT = 'deadlock'"
        with pytest.raises(ConflictError):
            await link.send(["BEGIN", "DO 1", locked, "DO 2"])
        await link.abandon()
        assert list(await database.ask(mine)) == connection
        await database.aclose()

    asyncio.run(main())
