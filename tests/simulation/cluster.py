"""A whole cluster on one simulated loop: workload, faults, and what must hold afterwards."""

from __future__ import annotations

import asyncio
import collections
import dataclasses
import logging
import random
from typing import Any, cast

from network import Faults, Link, Process
from perdure import (
    ActivityError,
    BackendError,
    DataConverter,
    Query,
    Retry,
    Signal,
    Update,
    activity,
    activity_info,
    now,
    sleep,
    wait_until,
    workflow,
)
from perdure_backends import Backend
from perdure_backends import history as h
from perdure_backends.memory import MemoryBackend
from perdure_backends.records import InstanceRecord, ListFilter
from perdure_runtime import Client, Handle, Services, Worker
from perdure_runtime._core import Execution
from perdure_runtime._services import TaskRun
from sim_loop import SimLoop

EPOCH = 1_700_000_000_000_000


class BrokenPromiseError(AssertionError):
    """A promise does not hold."""


# --- the workload ---------------------------------------------------------------------------

ran: collections.Counter[tuple[str, int]] = collections.Counter()
"""How often each attempt of each activity ran, by idempotency key and attempt."""

numbers = Signal("numbers", int)
RETRY = Retry(attempts=4, interval=0.5)


@activity(retry=RETRY)
async def work(value: int) -> int:
    info = activity_info()
    ran[info.idempotency_key, info.attempt] += 1
    # Short against the time between two kills of a worker: what dies three times in a row while
    # it runs alone is taken for the culprit, and these are innocent.
    await asyncio.sleep((value % 7) * 0.04)
    if value % 5 == 0 and info.attempt < 3:
        raise ValueError(f"attempt {info.attempt}")
    return value + 1


@activity(retry=Retry(attempts=2, interval=0.1))
async def fails() -> int:
    raise RuntimeError("always")


@workflow
async def chain(length: int) -> list[int]:
    results: list[int] = []
    for i in range(length):
        results.append(await work(i))
        if i % 3 == 2:
            before = now()
            await sleep(20)
            if (now() - before).total_seconds() < 20:
                raise AssertionError("the timer fired early")
    return results


@workflow
async def fan(width: int) -> int:
    return sum(await asyncio.gather(*(work(i) for i in range(width))))


@workflow
async def collect(count: int) -> list[int]:
    return [await numbers.receive() for _ in range(count)]


@workflow
async def parent(width: int) -> list[int]:
    children = [chain(i) for i in range(width)]
    results = [len(await child) for child in children]
    try:
        await fails()
    except ActivityError:
        results.append(-1)
    return results


@workflow
async def continues(rounds: int, total: int) -> int:
    if rounds == 0:
        return total
    value = await numbers.receive()
    await work(1)
    return continues.continue_as_new(rounds - 1, total * 10 + value)


deposit = Update("deposit", int, int)
balance = Query("balance", int)


@activity(local=True, retry=RETRY)
async def weigh(value: int) -> int:
    await asyncio.sleep(0.01)
    if value % 4 == 0 and activity_info().attempt < 2:
        raise ValueError("again")
    return value


@workflow
async def account(left: int, total: int) -> int:
    taken = 0

    @deposit.handler
    async def _(value: int) -> int:
        nonlocal taken, total
        total += await weigh(value)
        taken += 1
        return total

    @balance.handler
    def _() -> int:
        return total

    await wait_until(lambda: taken >= min(2, left))
    if taken < left:
        account.continue_as_new(left - taken, total)
    return total


WORKFLOWS: list[Any] = [chain, fan, collect, parent, continues, account]
ACTIVITIES: list[Any] = [work, fails, weigh]


@dataclasses.dataclass(frozen=True)
class Scenario:
    """One simulation: the same values give the same run."""

    seed: int
    workflows: int = 10
    workers: int = 3
    seconds: float = 60.0
    faults: Faults = Faults()


class Simulation:
    """Runs a scenario and checks what must hold."""

    def __init__(self, scenario: Scenario) -> None:
        self.scenario = scenario
        self.rng = random.Random(scenario.seed)
        self.trace: list[str] = []
        self.loop = SimLoop()
        drift = scenario.faults.drift
        self.rate = 1 + self.rng.uniform(-drift, drift)
        self.store = MemoryBackend(clock=self._store_clock, new_token=self._token)
        self.expected: dict[str, Any] = {}
        self.accepted: set[str] = set()
        self.processes: list[Process] = []

    def _store_clock(self) -> int:
        # The store's clock runs a little faster or slower than the processes'.
        return EPOCH + int(self.loop.now * self.rate * 1e6)

    def _token(self) -> str:
        return f"{self.rng.getrandbits(64):016x}"

    def services(self) -> Services:
        """Ids, randomness and leases from the seed."""
        return Services(
            shows_itself=False,
            new_id=lambda: f"{self.rng.getrandbits(128):032x}",
            rng=random.Random(self.rng.getrandbits(64)),
            run_aside=TaskRun,
            watchdog=False,
            guard=False,
        )

    def note(self, text: str) -> None:
        """A line of the trace."""
        self.trace.append(f"{self.loop.now:9.3f} {text}")

    def run(self) -> None:
        """Runs and checks. Raises :class:`BrokenPromiseError`."""
        ran.clear()
        logging.getLogger("perdure").setLevel(logging.CRITICAL)
        asyncio.set_event_loop(self.loop)
        try:
            self.loop.run_until_complete(self._main())
        finally:
            logging.getLogger("perdure").setLevel(logging.NOTSET)
            self._reap()
            asyncio.set_event_loop(None)
            self.loop.close()

    def _reap(self) -> None:
        """Ends what hangs in dead processes, so that nothing is left for the next simulation."""
        self.loop.set_exception_handler(lambda loop, context: None)
        for _ in range(200):
            tasks = asyncio.all_tasks(self.loop)
            if not tasks:
                return
            for task in tasks:
                task.cancel()
            self.loop.run_until_complete(asyncio.sleep(0))

    # --- what happens

    def link(self, process: Process) -> Backend:
        """The store as a process sees it."""
        link = Link(
            self.store,
            process,
            random.Random(self.rng.getrandbits(64)),
            self.scenario.faults,
            self.note,
        )
        return cast("Backend", link)

    async def _main(self) -> None:
        clients = asyncio.ensure_future(self._clients())
        chaos = asyncio.ensure_future(self._chaos())
        await chaos
        # Peace: one sound worker must be able to finish everything.
        backend = cast("Backend", self.store)
        worker = Worker(
            backend,
            workflows=WORKFLOWS,
            activities=ACTIVITIES,
            services=self.services(),
            build="b",
        )
        async with worker:
            await clients
            await self._settled()
        await self._check()

    async def _clients(self) -> None:
        process = Process("client")
        client = Client(self.link(process), services=self.services(), patience=1e6)
        await asyncio.gather(*(self._client(client, i) for i in range(self.scenario.workflows)))

    async def _client(self, client: Client, i: int) -> None:
        rng = random.Random(self.rng.getrandbits(64))
        await asyncio.sleep(rng.uniform(0, self.scenario.seconds / 2))
        flow, arguments, expected, signals = _job(rng)
        instance_id = f"{flow.name}-{i}"
        handle = await client.start(flow.options(id=instance_id), *arguments)
        self.accepted.add(instance_id)
        self.expected[instance_id] = expected
        self.note(f"client: {instance_id} accepted")
        if flow is account:
            await self._deposit(client.handle(instance_id, account), signals)
            return
        hasty = rng.random() < 0.5
        for value in signals:
            await asyncio.sleep(0 if hasty else rng.expovariate(1.0))
            await handle.signal(numbers, value)

    async def _deposit(self, handle: Handle[int], values: list[int]) -> None:
        """Each update twice under one id: carried out once, answered twice alike."""
        total = 0
        for number, value in enumerate(values):
            total += value
            answers = await asyncio.gather(
                *(handle.update(deposit, value, id=f"{handle.id}/{number}") for _ in range(2))
            )
            if answers != [total, total]:
                raise BrokenPromiseError(f"{handle.id}: update answered {answers}, not {total}")
            seen = await handle.query(balance, timeout=100_000)
            if seen != total:
                raise BrokenPromiseError(f"{handle.id}: query says {seen}, not {total}")

    async def _chaos(self) -> None:
        """Workers come, freeze, die; others take their place."""
        faults = self.scenario.faults
        workers = [self._worker(i) for i in range(self.scenario.workers)]
        count = len(workers)
        end = self.loop.now + self.scenario.seconds
        while self.loop.now < end:
            await asyncio.sleep(1)
            for index, (process, task) in enumerate(workers):
                roll = self.rng.random()
                if roll < faults.kills:
                    self.note(f"{process.name} is killed")
                    process.kill()
                    task.cancel()
                    workers[index] = self._worker(count)
                    count += 1
                elif roll < faults.kills + faults.freezes:
                    self.note(f"{process.name} freezes")
                    process.freeze()
                    self.loop.call_later(self.rng.uniform(1, 20), process.thaw)
        for process, task in workers:
            process.kill()
            task.cancel()

    def _worker(self, index: int) -> tuple[Process, asyncio.Task[None]]:
        process = Process(f"worker{index}")
        self.processes.append(process)
        services = self.services()
        return process, self.loop.create_task(self._run_worker(process, services))

    async def _run_worker(self, process: Process, services: Services) -> None:
        while True:
            worker = Worker(
                self.link(process),
                workflows=WORKFLOWS,
                activities=ACTIVITIES,
                services=services,
                max_activities=5,
                cache_size=3,
                lease=5,
                build="b",
            )
            self.note(f"{process.name} starts")
            try:
                await worker.run()
            except BackendError as error:
                self.note(f"{process.name}: {error}")

    # --- what must hold

    async def _settled(self) -> None:
        states: list[str] = []
        for _ in range(2000):
            await asyncio.sleep(5)
            states = [
                record.status.value
                for record in (
                    await self.store.list_instances(ListFilter(), None, 10_000)
                ).instances
                if record.park is None
            ]
            if "running" not in states:
                return
        raise BrokenPromiseError(f"something does not end: {collections.Counter(states)}")

    async def _check(self) -> None:
        records = (
            await self.store.list_instances(ListFilter(all_runs=True), None, 10_000)
        ).instances
        current: dict[str, InstanceRecord] = {}
        for record in reversed(records):
            current[record.instance_id] = record
        for instance_id in sorted(self.accepted):
            if instance_id not in current:
                raise BrokenPromiseError(f"{instance_id} was accepted and is not there")
            record = current[instance_id]
            if record.park is not None:
                raise BrokenPromiseError(
                    f"{instance_id} is parked: {record.park.reason} {record.park.message}"
                )
            if record.result is None:
                raise BrokenPromiseError(
                    f"{instance_id} ended as {record.status}: {record.failure}"
                )
            value = h.payload_to_jsonable(record.result)
            if value != self.expected[instance_id]:
                raise BrokenPromiseError(
                    f"{instance_id}: {value!r} in place of {self.expected[instance_id]!r}"
                )
        for record in records:
            await self._check_history(record)

    async def _check_history(self, record: Any) -> None:
        """The history must be one that the code could have produced."""
        turns = await self.store.read_history(record.run_id, 0, 1_000_000)
        if [h.decode_turn(turn).number for turn in turns] != list(range(1, record.turn + 1)):
            raise BrokenPromiseError(f"{record.instance_id}: turns with gaps")
        flow = next(f for f in WORKFLOWS if f.name == record.workflow)
        execution = Execution(
            flow,
            instance_id=record.instance_id,
            run_id=record.run_id,
            started_at=record.started_at,
            converter=DataConverter(),
            strict=True,
        )
        outcomes: collections.Counter[int] = collections.Counter()
        for stored in turns:
            turn = h.decode_turn(stored)
            fault = execution.replay(turn)
            if fault is not None:
                raise BrokenPromiseError(f"{record.instance_id} can't be replayed: {fault.message}")
            for event in turn.events:
                if isinstance(event, (h.ActivityCompleted, h.ActivityFailed, h.TimerFired)):
                    outcomes[event.number] += 1
        doubled = [number for number, count in outcomes.items() if count > 1]
        if doubled:
            raise BrokenPromiseError(f"{record.instance_id}: outcomes applied twice: {doubled}")
        execution.close()


def _job(rng: random.Random) -> tuple[Any, list[Any], Any, list[int]]:
    """A workflow, its arguments, the right result, and signals to send."""
    kind = rng.choice(["chain", "fan", "collect", "parent", "continues", "account"])
    size = rng.randint(1, 6)
    if kind == "chain":
        return chain, [size], [i + 1 for i in range(size)], []
    if kind == "fan":
        return fan, [size], sum(i + 1 for i in range(size)), []
    values = [rng.randint(1, 9) for _ in range(size)]
    if kind == "collect":
        return collect, [size], values, values
    if kind == "account":
        return account, [size, 0], sum(values), values
    if kind == "continues":
        total = 0
        for value in values:
            total = total * 10 + value
        return continues, [size, 0], total, values
    width = min(size, 3)
    return parent, [width], [*range(width), -1], []


def shrink(scenario: Scenario) -> tuple[Scenario, BaseException, list[str]]:
    """The smallest failing relative of a failing scenario, with its error and trace."""
    best = scenario
    error, trace = _failure_of(scenario) or (AssertionError("it does not fail again"), [])
    relatives: list[dict[str, Any]] = [
        *({"workflows": count} for count in (1, 2, 4)),
        *({"workers": count} for count in (1, 2)),
        *({"quiet": field.name} for field in dataclasses.fields(Faults) if field.name != "delay"),
    ]
    for relative in relatives:
        smaller = _changed(best, **relative)
        failed = _failure_of(smaller)
        if failed is not None:
            best, (error, trace) = smaller, failed
    return best, error, trace


def _changed(scenario: Scenario, *, quiet: str | None = None, **fields: Any) -> Scenario:
    if quiet is None:
        return dataclasses.replace(scenario, **fields)
    faults = dataclasses.replace(scenario.faults, **{quiet: 0.0})
    return dataclasses.replace(scenario, faults=faults)


def _failure_of(scenario: Scenario) -> tuple[BaseException, list[str]] | None:
    simulation = Simulation(scenario)
    try:
        simulation.run()
    except Exception as error:
        return error, simulation.trace
    return None
