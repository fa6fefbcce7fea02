"""Wrong deploys, wrong code, wrong data: nothing is lost, and the worker goes on."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from conftest import Run
from perdure import (
    BackendUnavailableError,
    DataConverter,
    JsonConverter,
    PayloadError,
    RegistrationError,
    Retry,
    Serializer,
    Signal,
    WorkflowFailedError,
    activity,
    workflow,
)
from perdure_backends import history as h
from perdure_runtime import Client, Handle, Worker, connect, local
from process_activities import in_process
from test_end_to_end import eventually

go = Signal("go", int)


@activity
async def a(x: int) -> int:
    return x + 1


@activity
async def b(x: int) -> int:
    return x * 10


@workflow(name="flow")
async def old_code() -> int:
    one = await a(1)
    await go.receive()
    return await b(one)


@workflow(name="flow")
async def new_code() -> int:
    one = await b(1)
    await go.receive()
    return await a(one)


@workflow
async def other() -> int:
    return await a(1)


async def parked(handle: Handle[Any]) -> None:
    async def is_parked() -> bool:
        return await handle.state() == "parked"

    await eventually(is_parked)


def test_changed_code_parks_and_old_code_goes_on(url: str) -> None:
    async def main() -> None:
        async with connect(url) as backend:
            client = Client(backend)
            common: dict[str, Any] = {"activities": [a, b], "drain_timeout": 1}
            async with Worker(backend, workflows=[old_code], build="1", **common):
                handle = await client.start(old_code)

                async def waits() -> bool:
                    return (await handle.describe()).turn == 2

                await eventually(waits)
            async with Worker(backend, workflows=[new_code, other], build="2", **common):
                await handle.signal(go, 1)
                await parked(handle)
                park = (await handle.describe()).park
                assert park is not None
                assert (park.reason, park.build) == ("mismatch", "2")
                assert park.details["expected"].startswith("activity 'a'")
                assert park.details["actual"].startswith("activity 'b'")
                assert park.details["position"] == "0"
                assert Path(park.details["location"].rpartition(":")[0]) == Path(__file__)
                assert await client.run(other) == 2  # the worker goes on
            async with Worker(backend, workflows=[old_code], build="1", **common):
                assert await handle.result(timeout=30) == 20  # by itself

    asyncio.run(main())


def test_a_mismatch_can_fail_the_instance_where_that_is_wanted(url: str) -> None:
    async def main() -> None:
        async with connect(url) as backend:
            client = Client(backend)
            common: dict[str, Any] = {"activities": [a, b], "drain_timeout": 1}
            async with Worker(backend, workflows=[old_code], build="1", **common):
                handle = await client.start(old_code)
                await handle.signal(go, 1, request_id="x")
                await asyncio.sleep(0)

                async def begun() -> bool:
                    return (await handle.describe()).turn >= 1

                await eventually(begun)
                await handle.result(timeout=30)
                second = await client.start(old_code)

                async def waits() -> bool:
                    return (await second.describe()).turn == 2

                await eventually(waits)
            async with Worker(
                backend, workflows=[new_code], build="2", on_mismatch="fail", **common
            ):
                await second.signal(go, 1)
                with pytest.raises(WorkflowFailedError, match="NonDeterminismError"):
                    await second.result(timeout=30)

    asyncio.run(main())


def test_what_nobody_offers_waits_and_is_shown(url: str) -> None:
    async def main() -> None:
        async with connect(url) as backend:
            client = Client(backend)
            async with Worker(backend, workflows=[other], activities=[b]):
                unknown = await client.start(old_code)
                waiting = await client.start(other)

                async def scheduled() -> bool:
                    return bool((await waiting.pending()).activities)

                await eventually(scheduled)
                pending = await waiting.pending()
                assert pending.activities[0].state == "waiting"
                missing = await client.unoffered(await waiting.describe(), pending)
                assert missing == ["no worker offers 'a' on queue 'default'"]
                missing = await client.unoffered(await unknown.describe(), await unknown.pending())
                assert missing == ["no worker offers workflow 'flow' version 1 on queue 'default'"]
                assert await unknown.state() == "running"
                assert (await unknown.describe()).turn == 0
            async with Worker(backend, workflows=[old_code], activities=[a, b]):
                assert await waiting.state() == "running"
                await unknown.signal(go, 1)
                assert await unknown.result(timeout=30) == 20

                async def ran() -> bool:
                    return not (await waiting.pending()).activities

                await eventually(ran)
            async with Worker(backend, workflows=[other], activities=[]):
                assert await waiting.result(timeout=30) == 2

    asyncio.run(main())


@workflow(version=2, name="other")
async def other_version() -> int:
    return 2


def test_versions_and_workers_of_different_age(url: str) -> None:
    async def main() -> None:
        async with connect(url) as backend:
            client = Client(backend)
            async with Worker(backend, workflows=[other], activities=[a]):
                second = await client.start(other_version)
                assert await client.run(other) == 2
                assert (await second.describe()).turn == 0
                async with Worker(backend, workflows=[other_version]):
                    assert await second.result(timeout=30) == 2

    asyncio.run(main())


@workflow
async def endless() -> None:
    while True:
        pass


@workflow
async def in_c() -> None:
    time.sleep(0.7)  # noqa: ASYNC251  (the point: it can't be interrupted, but ends)


@workflow
async def waits_for_nothing() -> None:
    await asyncio.get_running_loop().create_future()


@workflow
async def returns_nonsense() -> int:
    return "x"  # type: ignore[return-value]  # pyright: ignore[reportReturnType]  # the point


@pytest.mark.parametrize(
    ("flow", "reason"),
    [
        (endless, "blocked"),
        (in_c, "blocked"),
        (waits_for_nothing, "stuck"),
        (returns_nonsense, "payload"),
    ],
    ids=["endless", "in-c", "stuck", "nonsense"],
)
def test_wrong_code_parks_and_the_worker_goes_on(run: Run, flow: Any, reason: str) -> None:
    async def main() -> None:
        async with run(
            workflows=[flow, other], activities=[a], deadlock_timeout=0.3, guard=False
        ) as app:
            handle = await app.start(flow)
            await parked(handle)
            park = (await handle.describe()).park
            assert park is not None
            assert park.reason == reason, park.message
            assert await app.run(other) == 2

    asyncio.run(main())


@activity
async def eats(text: str) -> None: ...


@workflow
async def writes_too_much() -> None:
    await asyncio.gather(*(eats("x" * 1_900_000) for _ in range(10)))


def test_a_turn_that_is_too_large_parks(url: str) -> None:
    async def main() -> None:
        async with local(url, workflows=[writes_too_much, other], activities=[eats, a]) as app:
            handle = await app.start(writes_too_much)
            await parked(handle)
            park = (await handle.describe()).park
            assert park is not None
            assert "over the limit" in park.message
            assert await app.run(other) == 2

    asyncio.run(main())


def test_an_undecodable_payload_parks(run: Run) -> None:
    async def main() -> None:
        async with run(workflows=[old_code, other], activities=[a, b]) as app:
            handle = await app.client.start_by_name("flow", b'["one too many"]')
            await parked(handle)
            second = await app.start(old_code)
            await second.signal(Signal("go", str), "not a number")
            await parked(second)
            assert await app.run(other) == 2

    asyncio.run(main())


def test_a_newer_history_format_parks(url: str) -> None:
    async def main() -> None:
        async with connect(url) as backend:
            client = Client(backend)
            async with Worker(backend, workflows=[old_code], activities=[a, b]):
                handle = await client.start(old_code)

                async def waits() -> bool:
                    return (await handle.describe()).turn == 2

                await eventually(waits)
            original = h.FORMAT_VERSION
            h.FORMAT_VERSION = 0  # type: ignore[misc]  # pyright: ignore[reportConstantRedefinition]  # as if this code were older
            try:
                async with Worker(backend, workflows=[old_code], activities=[a, b], build="x"):
                    await handle.signal(go, 1)
                    await parked(handle)
            finally:
                h.FORMAT_VERSION = original  # type: ignore[misc]  # pyright: ignore[reportConstantRedefinition]
            async with Worker(backend, workflows=[old_code], activities=[a, b], build="y"):
                assert await handle.result(timeout=30) == 20

    asyncio.run(main())


gates: list[asyncio.Event] = []


@activity(retry=Retry.never)
async def long_running(x: int) -> int:
    gates.append(asyncio.Event())
    await gates[-1].wait()
    return x


@workflow
async def needs_long() -> int:
    return await long_running(5)


def test_draining_hands_back_at_once_and_uncounted(url: str) -> None:
    async def main() -> None:
        gates.clear()
        async with connect(url) as backend:
            client = Client(backend)
            common: dict[str, Any] = {"workflows": [needs_long], "activities": [long_running]}

            async def begun() -> bool:
                return len(gates) == count

            async with Worker(backend, lease=100, drain_timeout=0.05, **common):
                handle = await client.start(needs_long)
                count = 1
                await eventually(begun)
            async with Worker(backend, lease=100, **common):
                count = 2
                await eventually(begun)
                pending = await handle.pending()
                assert pending.activities[0].attempt == 1
                gates[-1].set()
                assert await handle.result(timeout=30) == 5

    asyncio.run(main())


def test_several_workers_share_the_work(url: str) -> None:
    async def main() -> None:
        async with connect(url) as backend:
            client = Client(backend)
            common: dict[str, Any] = {"workflows": [other], "activities": [a]}
            async with Worker(backend, **common), Worker(backend, **common):
                results = await asyncio.gather(*(client.run(other) for _ in range(200)))
            assert results == [2] * 200

    asyncio.run(main())


@activity(name="same")
async def first_same() -> None: ...


@activity(name="same")
async def second_same() -> None: ...


@workflow
async def unconvertible(x: object) -> None: ...


@activity
async def lock(x: asyncio.Lock) -> None: ...


@activity.declare
async def only_declared() -> None: ...


class Methods:
    @activity
    async def method(self) -> None: ...


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"activities": [first_same, second_same]}, "test_trouble.py:.*test_trouble.py:"),
        ({"activities": [lock]}, "x: values of type Lock can't be stored"),
        ({"activities": [only_declared]}, "only declared"),
        ({"activities": [Methods]}, "is a class; give the worker an instance"),
        ({"activities": [Methods.method]}, "is a method"),
        ({"activities": [5]}, "neither an activity nor"),
        ({"workflows": [first_same]}, "is not a workflow"),
    ],
)
def test_registration_errors_say_how_to_mend_it(options: dict[str, Any], match: str) -> None:
    async def main() -> None:
        async with connect("memory://") as backend:
            with pytest.raises(RegistrationError, match=match):
                Worker(backend, **options)

    asyncio.run(main())


class Reversing:
    """A codec: not encryption, but as unreadable."""

    name = "reverse"

    def wrap(self, payload: bytes, /) -> bytes:
        return payload[::-1]

    def unwrap(self, stored: bytes, /) -> bytes:
        return stored[::-1]


def test_codecs_wrap_everything_stored(url: str) -> None:
    async def main() -> None:
        converter = DataConverter(codecs=[Reversing()])
        async with local(url, workflows=[other], activities=[a], converter=converter) as app:
            handle = await app.start(other)
            assert await handle.result() == 2
            record = await handle.describe()
            assert record.result == b"\x00reverse\x002"
            with pytest.raises(PayloadError, match="codec 'reverse', which is not configured"):
                await Client(app.backend).handle(handle.id, other).result()

    asyncio.run(main())


class Prefixed:
    """A converter of the user's own: not JSON any more, for there is a letter in front."""

    def serializer(self, annotation: Any, what: str) -> Serializer:
        return PrefixedSerializer(JsonConverter().serializer(annotation, what))


class PrefixedSerializer:
    def __init__(self, inner: Serializer) -> None:
        self.inner = inner

    def encode(self, value: Any, /) -> bytes:
        return b"P" + self.inner.encode(value)

    def encode_checked(self, value: Any, /) -> bytes:
        return b"P" + self.inner.encode_checked(value)

    def decode(self, payload: bytes, /) -> Any:
        assert payload[:1] == b"P"
        return self.inner.decode(payload[1:])


@workflow
async def through_a_process(number: int) -> str:
    return await in_process(number)


def test_a_converter_of_ones_own_works_everywhere() -> None:
    async def main() -> None:
        converter = DataConverter(Prefixed())
        async with local(
            workflows=[through_a_process, other],
            activities=[in_process, a],
            converter=converter,
        ) as app:
            handle = await app.start(through_a_process, 7)
            assert await handle.result() == "7 in SpawnProcess"
            assert (await handle.describe()).result == b'P"7 in SpawnProcess"'
            assert await app.run(other) == 2

    asyncio.run(main())


def test_a_lost_session_is_replaced(url: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL, "perdure.runtime")

    async def main() -> None:
        async with (
            connect(url) as backend,
            Worker(
                backend, workflows=[other], activities=[a], lease=0.3, poll_interval=0.05
            ) as worker,
        ):
            first = worker.session_id
            assert first is not None
            await backend.end_session(first)  # as if the lease had run out

            async def renewed() -> bool:
                return worker.session_id not in (None, first)

            await eventually(renewed)
            assert await Client(backend).run(other) == 2

    asyncio.run(main())


def test_a_worker_that_could_not_begin_leaves_nothing_and_may_try_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def main() -> None:
        async with connect("memory://") as backend:
            worker = Worker(backend, workflows=[old_code], activities=[a, b])
            open_session = backend.open_session
            for out_of_reach in ("open_session", "now"):
                with monkeypatch.context() as patched:

                    async def fails(*_: Any) -> Any:
                        raise BackendUnavailableError("gone")

                    patched.setattr(backend, out_of_reach, fails)
                    with pytest.raises(BackendUnavailableError, match="gone"):
                        async with worker:
                            pass
                assert worker.session_id is None
                assert not [one for one in threading.enumerate() if "perdure" in one.name]
            assert backend.open_session == open_session
            async with worker:
                client = Client(backend)
                handle = await client.start(old_code)
                await handle.signal(go, 3)
                assert await handle.result() == 20

    asyncio.run(main())
