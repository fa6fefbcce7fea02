"""Workflows in tests: a worker, a client and a store in memory, and time that need not be waited
for.

PYTEST_DONT_REWRITE
"""

from __future__ import annotations

import asyncio
import heapq
import inspect
import itertools
import linecache
import random
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from datetime import datetime
from types import TracebackType
from typing import Any, Final, ParamSpec, TypeVar

from perdure import (
    Call,
    DataConverter,
    Duration,
    Middleware,
    PerdureError,
    Signal,
    Update,
    UsageError,
    Workflow,
)
from perdure_backends.records import ListFilter, Park

from .._durations import as_seconds
from .._handle import Handle
from .._services import Services, TaskRun
from ._base import Definitions, EveryQueue
from ._clock import START, VirtualClock, to_datetime, to_microseconds
from ._store import Listener, ObservedStore

P = ParamSpec("P")
R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)
A = TypeVar("A")
T = TypeVar("T")

_QUIET: Final = 4
"""Rounds of the event loop without work after which nothing is on its way."""

_PATIENT: Final = 200
"""Rounds after which what still runs waits for something outside, so that time has to pass."""

_LEASE: Final = 1000 * 365 * 86_400.0
"""Seconds. Longer than any jump: the worker of a test is never taken for dead."""


_TAKEOVER: Final = 15_000_000
"""Microseconds after which a worker that fell silent is replaced: the usual lease."""


class WorkflowBlockedError(PerdureError):
    """Nothing can happen any more, and a workflow that somebody waits for has not ended."""


class WorkflowParkedError(PerdureError):
    """A workflow was put aside: its code and its history disagree, it is stuck, or the like.

    Attributes:
        reason: ``mismatch``, ``nondeterministic``, ``payload``, ``stuck``, ``blocked`` …
        details: the facts by name.
    """

    def __init__(self, message: str, reason: str, details: Mapping[str, str]) -> None:
        super().__init__(message)
        self.reason = reason
        self.details = dict(details)


Callback = Callable[[], object]
"""Called at a time; may be ``async``."""

Planned = tuple[int, int, Callback]
"""When, in which order, and what."""


class TestHandle(Handle[R_co]):
    """An instance in a test: to wait for it is to let time jump."""

    __test__ = False

    def __init__(self, environment: Environment, handle: Handle[R_co]) -> None:
        self.__dict__.update(vars(handle))
        self._environment = environment

    async def result(self, timeout: Duration | None = None) -> R_co:
        """The result, as soon as it can be there; see :meth:`Handle.result`.

        Args:
            timeout: seconds of the test's time.

        Raises:
            WorkflowBlockedError: nothing can happen any more.
            WorkflowParkedError: it was put aside.
            TimeoutError, WorkflowError: as there.
        """
        environment = self._environment
        if timeout is None:
            return await environment.skip_until(super().result())
        end = environment.clock() + round(as_seconds(timeout, "timeout") * 1e6)
        waiting = asyncio.ensure_future(super().result())
        planned = environment.plan(end, lambda: waiting.cancel(_TIMEOUT))
        try:
            return await environment.skip_until(waiting)
        except asyncio.CancelledError as error:
            if error.args == (_TIMEOUT,) or waiting.cancelled():
                raise TimeoutError(
                    f"instance {self.id!r} has not finished within {timeout}"
                ) from None
            raise
        finally:
            environment.unplan(planned)

    async def update(
        self,
        update: Update[A, T],
        argument: A,
        *,
        id: str | None = None,
        timeout: Duration | None = None,
    ) -> T:
        """See :meth:`Handle.update`; time jumps as in :meth:`result`."""
        sent = super().update(update, argument, id=id, timeout=timeout)
        return await self._environment.skip_until(sent)


_TIMEOUT: Final = "the test's time is over"


class Environment(Definitions):
    """Runs workflows as a worker does, in memory, with time that jumps to what comes next.

    ::

        async with Environment() as env:
            env.mock(charge).returns(Receipt("r1"))
            assert await env.run(checkout, order) == "r1"

    Workflows and activities are found where the workflow's code finds them: in its module, in what
    that imports from the project, in enclosing functions. What is not found there is given to
    :meth:`register` or mocked.

    While somebody waits for a result, time stands still as long as anything runs, then jumps to
    the next timer, retry, time-out or callback. While real activities do real work it passes as it
    does outside.

    Args:
        start_time: when the test begins; 2025-01-01 00:00 UTC by default.
        workflows, activities: what the worker has besides what is found.
        replay_every_turn: keep nothing in memory, so that each turn is replayed from the start.
        paranoid: and besides in another process, with another hash seed, time zone and locale; the
            workflows have to be at the top of their modules.
        strict: changed arguments at a replay are a mismatch, not a warning.
        history_limit: events from which on an instance is put aside.
        seed: ids of instances and their random numbers follow from it; others each time by default.
        converter, middleware, resources, guard: as the :class:`Worker`'s.
    """

    __test__ = False

    def __init__(
        self,
        *,
        start_time: datetime = START,
        workflows: Iterable[Workflow[..., Any]] = (),
        activities: Iterable[object] = (),
        replay_every_turn: bool = False,
        paranoid: bool = False,
        strict: bool = True,
        history_limit: int | None = 200_000,
        converter: DataConverter | None = None,
        middleware: Sequence[Middleware] = (),
        resources: Iterable[object] | Mapping[Any, object] = (),
        guard: bool = True,
        seed: int | None = None,
    ) -> None:
        self.clock = VirtualClock(start_time)
        self.store = self._make_store()
        services = _services(self.clock, seed)
        super().__init__(
            self.store,
            workflows=workflows,
            activities=activities,
            queues=EveryQueue(),
            cache_size=0 if replay_every_turn else 1000,
            lease=_LEASE,
            paranoid=paranoid,
            strict=strict,
            history_limit=history_limit,
            converter=converter,
            middleware=middleware,
            resources=resources,
            guard=guard,
            services=services,
        )
        self._planned: list[Planned] = []
        self._serials = itertools.count()
        self._waits: dict[asyncio.Future[Any], PerdureError | None] = {}
        self._driver: asyncio.Task[None] | None = None
        self._callback_error: BaseException | None = None
        self._crashing = 0

    def _make_store(self) -> ObservedStore:
        return ObservedStore(self.clock)

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._driver is not None:
            self._driver.cancel()
            await asyncio.wait([self._driver])
        await super().__aexit__(exc_type, exc, traceback)

    # --- running

    @property
    def now(self) -> datetime:
        """The test's time."""
        return self.clock.now

    async def start(
        self, workflow: Workflow[P, R], *args: P.args, **kwargs: P.kwargs
    ) -> TestHandle[R]:
        """Starts an instance. Raises as :meth:`Client.start`."""
        return TestHandle(self, await super().start(workflow, *args, **kwargs))

    async def signal_with_start(
        self, call: Call[R], signal: Signal[T], payload: T
    ) -> TestHandle[R]:
        """See :meth:`Client.signal_with_start`."""
        return TestHandle(self, await super().signal_with_start(call, signal, payload))

    def handle(self, instance_id: str, workflow: Workflow[P, R]) -> TestHandle[R]:
        """A handle by id: of a sub-workflow, say."""
        return TestHandle(self, super().handle(instance_id, workflow))

    async def settle(self) -> None:
        """Waits until nothing can go on without time passing, and lets none pass.

        Real activities that wait for something outside are not waited for.
        """
        await self._settle()

    async def advance(self, by: Duration) -> None:
        """Lets time pass, with all that happens meanwhile."""
        await self.advance_to(to_datetime(self.clock() + round(as_seconds(by, "by") * 1e6)))

    async def advance_to(self, moment: datetime) -> None:
        """Lets time pass up to a moment."""
        reached: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def reach() -> None:
            if not reached.done():
                reached.set_result(None)

        self.call_at(moment, reach)
        await self.skip_until(reached)
        await self._catch_up()  # what is due at this very moment happens too
        await self._settle()

    async def crash(self) -> None:
        """The worker dies, as of SIGKILL; 15 seconds later another one takes over.

        What was not committed is lost: activities that ran are run again, turns are replayed. Only
        their code in this process is cancelled, which a kill would not do.
        """
        self._crashing += 1
        try:
            session_id = self._worker.session_id or ""
            await self._worker.kill()
            self.clock.jump(self.clock() + _TAKEOVER)
            self.store.lose(session_id)
            await self._worker.__aenter__()
        finally:
            self._crashing -= 1

    # --- what happens at a time

    def call_later(self, delay: Duration, callback: Callback) -> None:
        """Has a function called when so much of the test's time has passed; may be ``async``."""
        self.plan(self.clock() + round(as_seconds(delay, "delay") * 1e6), callback)

    def call_at(self, moment: datetime, callback: Callback) -> None:
        """Has a function called at a time; may be ``async``."""
        self.plan(to_microseconds(moment), callback)

    def plan(self, at: int, callback: Callback) -> Planned:
        """As :meth:`call_at`, in microseconds; gives what :meth:`unplan` takes."""
        entry = (at, next(self._serials), callback)
        heapq.heappush(self._planned, entry)
        return entry

    def unplan(self, entry: Planned) -> None:
        """Takes a callback back; nothing happens if it has been called."""
        if entry in self._planned:
            self._planned.remove(entry)
            heapq.heapify(self._planned)

    def listen(self, listener: Listener) -> None:
        """Has a function told of everything that starts and ends, once it is committed."""
        self.store.listeners.append(listener)

    # --- letting time jump

    async def skip_until(self, awaitable: Awaitable[T]) -> T:
        """Waits for something, and lets time jump whenever nothing else can happen.

        Raises:
            WorkflowBlockedError: nothing can happen any more.
            WorkflowParkedError: a workflow was put aside.
        """
        inner = asyncio.ensure_future(awaitable)
        self._waits[inner] = None
        if self._driver is None:
            self._driver = asyncio.get_running_loop().create_task(self._drive())
        try:
            return await inner
        except asyncio.CancelledError:
            error = self._waits[inner]
            if error is not None:
                raise error from None
            inner.cancel()
            raise
        finally:
            del self._waits[inner]

    async def _drive(self) -> None:
        try:
            while any(not one.done() for one in self._waits):
                await self._settle()
                if self._callback_error is not None:
                    self._fail(self._callback_error)
                elif not await self._step():
                    self._fail(await self._why_blocked())
                await asyncio.sleep(0)
        except Exception as error:
            self._fail(error)
        finally:
            self._driver = None

    def _fail(self, error: BaseException) -> None:
        self._callback_error = None
        if not isinstance(error, PerdureError):
            wrapped = UsageError(f"a callback of the test raised {type(error).__name__}: {error}")
            wrapped.__cause__ = error
            error = wrapped
        for waiting in list(self._waits):
            if not waiting.done():
                self._waits[waiting] = error
                waiting.cancel()

    async def _step(self) -> bool:
        """Goes to what comes next; ``False`` when nothing does, or something was put aside."""
        if all(one.done() for one in self._waits):
            return True
        if self.store.waiting().parked:
            return False
        report = await self.store.sweep(self._worker.session_id or "", 1000)
        if report.fired or report.timed_out or self._busy():
            return True
        planned = self._planned[0][0] if self._planned else None
        if planned is not None and (report.next_due is None or planned <= report.next_due):
            at, _, callback = heapq.heappop(self._planned)
            self.clock.jump(at)
            await self._call(callback)
            return True
        if report.next_due is None:
            return False
        self.clock.jump(report.next_due)
        await self.store.sweep(self._worker.session_id or "", 1000)
        return True

    async def _call(self, callback: Callback) -> None:
        try:
            result = callback()
            if inspect.isawaitable(result):
                await result
        except Exception as error:
            self._callback_error = error

    def _busy(self) -> bool:
        worker, waiting = self._worker, self.store.waiting()
        registry = worker.registry
        return bool(
            self._crashing
            or worker.turns.busy
            or worker.running_activities
            or waiting.queries
            or any(registry.offers_workflow(*one) for one in waiting.turns)
            or any(registry.activity(name) is not None for name in waiting.activities)
        )

    async def _settle(self) -> None:
        quiet = rounds = 0
        pause = 0.001
        try:
            while quiet < _QUIET:
                await asyncio.sleep(0)
                if not self._busy():
                    quiet += 1
                    continue
                quiet, rounds = 0, rounds + 1
                if rounds > _PATIENT:
                    # Something waits for the world outside: time passes there, and so here.
                    self.clock.run()
                    await asyncio.sleep(pause)
                    pause = min(pause * 1.5, 0.02)
                    await self._catch_up()
                    if not self._waits:
                        return
        finally:
            self.clock.stop()

    async def _catch_up(self) -> None:
        """Has happen what has come due while time really passed."""
        await self.store.sweep(self._worker.session_id or "", 1000)
        while self._planned and self._planned[0][0] <= self.clock():
            _, _, callback = heapq.heappop(self._planned)
            await self._call(callback)

    # --- saying why nothing happens

    async def _why_blocked(self) -> PerdureError:
        parked = self.store.waiting().parked
        for run_id, park in parked.items():
            return await self._parked(run_id, park)
        lines = ["nothing can happen any more:"]
        async for record in self._client.list(ListFilter(states=("running", "suspended"))):
            lines.append(f"  workflow {record.workflow!r} ({record.instance_id}) is {record.state}")
            live = self._worker.instances.get(record.run_id)
            execution = None if live is None else live.execution
            for stack in execution.stacks() if execution is not None else ():
                lines.append(f"    {_with_source(stack)}")
            pending = await self.store.pending(record.run_id)
            for activity in pending.activities:
                if self._worker.registry.activity(activity.name) is None:
                    lines.append(
                        f"    activity {activity.name!r} is not known here: mock() it, or "
                        "register() its implementation"
                    )
            if not self._worker.registry.offers_workflow(record.workflow, record.version):
                lines.append(f"    workflow {record.workflow!r} is not known here: register() it")
        return WorkflowBlockedError("\n".join(lines))

    async def _parked(self, run_id: str, park: Park) -> WorkflowParkedError:
        (record,) = await self.store.describe_runs([run_id])
        name = "" if record is None else f"workflow {record.workflow!r} ({record.instance_id}) "
        message = f"{name}was put aside [{park.reason}]: {park.message}"
        location = park.details.get("location", "")
        if location:
            message += f"\n    {_with_source(location)}"
        return WorkflowParkedError(message, park.reason, park.details)


def _services(clock: VirtualClock, seed: int | None) -> Services:
    if seed is None:
        return Services(run_aside=TaskRun, shows_itself=False, clock=clock)
    rng = random.Random(seed)

    def new_id() -> str:
        return f"{rng.getrandbits(128):032x}"

    return Services(run_aside=TaskRun, shows_itself=False, clock=clock, rng=rng, new_id=new_id)


def _with_source(place: str) -> str:
    """``main at file:line`` with what stands there."""
    path, _, number = place.rpartition(":")
    if not number.isdigit():
        return place
    source = linecache.getline(path.partition(" at ")[2] or path, int(number)).strip()
    return f"{place}: {source}" if source else place
