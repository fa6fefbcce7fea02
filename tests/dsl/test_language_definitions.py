"""What decorators and options of the language refuse, and what works without a worker."""

from __future__ import annotations

import asyncio
from typing import Any

import perdure
import pytest
from perdure import (
    ArgumentsError,
    Channel,
    DefinitionError,
    InvalidOptionError,
    OutsideWorkflowError,
    Query,
    RegistrationError,
    Signal,
    Update,
    UsageError,
    activity,
    complete_later,
    durable_error,
    fan_out,
    inject,
    instance,
    publish,
    select,
    workflow,
)
from perdure_backends.memory import MemoryBackend
from perdure_runtime import Client, Worker


def test_errors_need_annotations_and_a_name_of_their_own() -> None:
    with pytest.raises(DefinitionError, match="no annotation"):

        @durable_error
        class Bare(Exception):  # noqa: N818  # pyright: ignore[reportUnusedClass]
            def __init__(self, code) -> None:  # type: ignore[no-untyped-def]  # pyright: ignore
                self.code = code

    with pytest.raises(DefinitionError, match="can't be stored"):

        @durable_error
        class Greedy(Exception):  # noqa: N818  # pyright: ignore[reportUnusedClass]
            def __init__(self, *codes: str) -> None: ...

    @durable_error(name="taken")
    class One(Exception):  # noqa: N818  # pyright: ignore[reportUnusedClass]
        pass

    with pytest.raises(RegistrationError, match="two exception classes"):

        @durable_error(name="taken")
        class Two(Exception):  # noqa: N818  # pyright: ignore[reportUnusedClass]
            pass

    no_class: Any = "text"
    with pytest.raises(DefinitionError):
        durable_error(no_class)


def test_injected_parameters_are_keyword_only_and_annotated() -> None:
    with pytest.raises(DefinitionError, match="keyword-only"):

        @activity
        async def one(db: int = inject()) -> None: ...

    with pytest.raises(DefinitionError, match="no annotation"):

        @activity
        async def two(*, db=inject()) -> None: ...  # type: ignore[no-untyped-def]  # pyright: ignore

    with pytest.raises(DefinitionError, match="only activities"):

        @workflow
        async def three(*, db: int = inject()) -> None: ...

    with pytest.raises(DefinitionError, match="another process"):

        @activity(executor="process")
        def four(*, db: int = inject()) -> None: ...


class Database:
    pass


class Special(Database):
    pass


@activity
async def stores(*, db: Database = inject()) -> None: ...


def test_a_worker_says_what_it_can_not_inject() -> None:
    backend = MemoryBackend()
    with pytest.raises(RegistrationError, match="asks for a Database"):
        Worker(backend, activities=[stores])
    with pytest.raises(RegistrationError, match="2 resources are one"):
        Worker(backend, activities=[stores], resources=[Special(), Special()])
    Worker(backend, activities=[stores], resources=[Special()])
    Worker(backend, activities=[stores], resources=[Database(), Special()])
    Worker(backend, activities=[stores], resources={Database: object()})


def test_options_that_exclude_each_other() -> None:
    with pytest.raises(InvalidOptionError, match="no queue"):
        stores.options(local=True, queue="x")
    wrong: Any = "hope"
    with pytest.raises(InvalidOptionError, match="unfinished_handlers"):
        workflow(unfinished_handlers=wrong)
    backend = MemoryBackend()
    with pytest.raises(InvalidOptionError):
        Worker(backend, max_activities_per_second=0)
    with pytest.raises(InvalidOptionError):
        Worker(backend, history_limit=0)


def test_calls_by_name_take_positional_arguments() -> None:
    with pytest.raises(ArgumentsError, match="positional"):
        workflow.named("x").bind(a=1)


def test_what_needs_a_workflow_says_so() -> None:
    async def main() -> None:
        query, update, signal = Query("q", int), Update("u", int, int), Signal("s", int)
        with pytest.raises(OutsideWorkflowError, match="Query"):
            query.handler(lambda: 1)
        with pytest.raises(OutsideWorkflowError, match="Update"):
            update.handler(lambda value: value)
        with pytest.raises(OutsideWorkflowError, match="validator"):
            update.validator(lambda value: None)
        with pytest.raises(OutsideWorkflowError):
            publish(1)
        with pytest.raises(OutsideWorkflowError, match="select"):
            await select()
        with pytest.raises(OutsideWorkflowError, match="cancel"):
            instance("x").cancel()
        with pytest.raises(OutsideWorkflowError):
            signal.send("x", 1)
        with pytest.raises(UsageError, match="activity"):
            complete_later()

    asyncio.run(main())


def test_channels_and_fan_out_work_on_any_loop() -> None:
    async def main() -> None:
        with pytest.raises(InvalidOptionError):
            Channel[int](-1)
        with pytest.raises(InvalidOptionError):
            await fan_out(asyncio.sleep, [0.0], limit=0)
        channel: Channel[int] = Channel(1)
        sender = asyncio.create_task(_send_all(channel))
        assert [value async for value in channel] == [0, 1, 2]
        await sender
        waiting = asyncio.create_task(channel.receive())
        await asyncio.sleep(0)
        with pytest.raises(perdure.ChannelClosedError):
            await waiting
        assert await fan_out(_double, [1, 2, 3], limit=2) == [2, 4, 6]
        assert await fan_out(_double, []) == []

    asyncio.run(main())


async def _send_all(channel: Channel[int]) -> None:
    for number in range(3):
        await channel.send(number)
    channel.close()
    channel.close()


async def _double(value: int) -> int:
    return 2 * value


def test_tokens_and_limits_are_checked_by_the_client() -> None:
    async def main() -> None:
        client = Client(MemoryBackend())
        with pytest.raises(UsageError, match="token"):
            client.activity("nonsense", stores)
        with pytest.raises(InvalidOptionError):
            await client.limit_queue("x", -1)
        with pytest.raises(UsageError, match="id"):
            await client.signal_with_start(_flow.bind(), Signal("s", int), 1)

    asyncio.run(main())


@workflow
async def _flow() -> None: ...


def test_names_that_are_loaded_later_are_there() -> None:
    assert {"Saga", "select", "Channel"} <= set(dir(perdure))
    with pytest.raises(AttributeError, match="no attribute"):
        perdure.nothing  # noqa: B018
