"""Finished instances go after a time, by a workflow that workers share."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from perdure import InstanceNotFoundError, InvalidOptionError, activity, workflow
from perdure_backends import open_backend
from perdure_runtime import Client, Handle, InstanceRecord, Worker, connect, local
from perdure_runtime._retention import INSTANCE, changed_age, prune_finished, retention
from perdure_runtime.testing import SyncEnvironment


@activity
async def one() -> int:
    return 1


@workflow
async def quick() -> int:
    return await one()


async def until_gone(client: Client, *ids: str) -> None:
    async with asyncio.timeout(20):
        for name in ids:
            while [r async for r in client.list() if r.instance_id == name]:  # noqa: ASYNC110
                await asyncio.sleep(0.01)


def test_workers_remove_what_has_finished(url: str) -> None:
    async def main() -> None:
        async with connect(url) as backend:
            client = Client(backend)
            both: dict[str, Any] = {"workflows": [quick], "activities": [one]}
            async with Worker(backend, **both):
                for number in range(3):
                    await (await client.start(quick.options(id=f"q-{number}"))).result()
            async with (
                Worker(backend, retention=0.001, **both),
                Worker(backend, retention=0.001, **both),
            ):
                await until_gone(client, "q-0", "q-1", "q-2")
                (record,) = [r async for r in client.list()]
                assert (record.instance_id, record.state) == (INSTANCE, "running")
            assert (await client.handle_by_id(INSTANCE).describe()).failure is None

    asyncio.run(main())


def test_it_goes_on_for_years_and_follows_another_age() -> None:
    with SyncEnvironment(activities=[prune_finished]) as env:
        env.register(prune_finished)
        env.start(retention.options(id=INSTANCE), 86_400.0)
        env.run(quick.options(id="early"))
        env.advance(timedelta(hours=20))
        assert env.handle("early", quick).state() == "completed"
        env.advance(timedelta(hours=8))
        ids = [r.instance_id for r in env.call(_all(env.environment.client))]
        assert ids == [INSTANCE]
        env.run(quick.options(id="late"))
        env.call(env.environment.handle(INSTANCE, retention).signal(changed_age, 3600.0))
        env.advance(timedelta(hours=2))
        ids = [r.instance_id for r in env.call(_all(env.environment.client))]
        assert ids == [INSTANCE]
        env.advance(timedelta(days=30))
        assert env.handle(INSTANCE, retention).state() == "running"


async def _all(client: Client) -> list[InstanceRecord]:
    return [record async for record in client.list()]


def test_a_worker_with_another_age_is_followed() -> None:
    async def main() -> None:
        async with local(workflows=[quick], activities=[one], retention=3600) as app:
            handle = app.client.handle(INSTANCE, retention)
            await _published(handle, 3600.0)
            async with Worker(app.backend, workflows=[quick], retention=7200):
                await _published(handle, 7200.0)

    asyncio.run(main())


async def _published(handle: Handle[None], age: float) -> None:
    async with asyncio.timeout(20):
        while True:
            try:
                state = await handle.published(dict[str, float])
            except InstanceNotFoundError:
                state = None  # the worker is about to start it
            if state is not None and state["age"] == age:
                return
            await asyncio.sleep(0.01)


def test_an_age_that_makes_no_sense() -> None:
    with pytest.raises(InvalidOptionError):
        Worker(open_backend("memory://"), retention=0)
