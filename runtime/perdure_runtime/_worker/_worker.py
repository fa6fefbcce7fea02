"""The worker: claims what it can run, runs it, keeps its lease, and ends in good order.

PYTEST_DONT_REWRITE
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Iterable, Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Literal

from perdure import (
    Activity,
    BackendError,
    DataConverter,
    Duration,
    InvalidOptionError,
    Middleware,
    UsageError,
    Workflow,
)
from perdure.extension import DEFAULT_QUEUE, check_queue
from perdure_backends import Backend, Documents
from perdure_backends._wakeups import ACTIVITIES, TURNS
from perdure_backends.records import QueryTask, TurnTask

from .._client import Client
from .._core import Execution, Spans
from .._durations import as_seconds
from .._guard import Guard, install, uninstall, watch
from .._registry import Registry, Resources, build_id
from .._services import Services
from .._signals import on_signals
from .._telemetry import NOBODY, Telemetry
from ._activities import ActivityRunner
from ._claiming import Claiming
from ._clock import StoreClock
from ._instances import Instances
from ._loading import Loader
from ._queries import QueryRunner
from ._session import Session
from ._showing import Publishing, Showing
from ._turns import Turns
from ._watchdog import Watchdog

if TYPE_CHECKING:
    from .._replay._paranoid import Paranoid
    from .._tally import Tally

_log: Final = logging.getLogger("perdure.runtime")

MismatchPolicy = Literal["park", "fail", "retry"]


class Worker:
    """Runs workflows and activities of a store. Use as ``async with`` or ``await worker.run()``.

    Args:
        backend: an open store.
        workflows: what this worker can run; several versions may stand side by side.
        activities: activities, or instances whose methods are activities.
        queues: queues that it serves, both for workflows and for activities.
        max_turns: instances that are loaded, run or committed at once.
        max_activities: activities that run at once; also the size of the thread pool.
        cache_size: instances kept in memory while nothing happens to them; with 0 each turn is
            replayed from history, and activities go through the store.
        lease: how long the session lives when its process falls silent (15 s by default).
        poll_interval: slow look into the store that backs up every wake-up (1 s by default).
        drain_timeout: how long running activities may go on at the end (30 s by default).
        build: id of the code; a hash of the source of the workflows and what they reach by default.
        on_mismatch: what happens when code and history disagree: ``park``, ``fail`` or ``retry``.
        strict: changed arguments at a replay are a mismatch, not a warning.
        deadlock_timeout: seconds that a turn may run without yielding; ``None`` for no limit.
        exit_when_blocked: end the process when a blocked turn can't be interrupted.
        converter: converts payloads; must fit the clients'.
        middleware: around workflows and activities; the first one is the outermost.
        resources: what activities get by annotation (see :func:`perdure.inject`): objects, or a
            mapping by type.
        max_activities_per_second: how many activities this worker starts in a second; no limit by
            default.
        guard: whether calls that give another answer at a replay (clock, randomness, files,
            threads …) raise ``NonDeterministicCall`` in workflow code.
        guard_allow: modules or packages whose calls the guard does not judge.
        history_limit: events from which on an instance is put aside with advice (200,000 by
            default); ``None`` for no limit.
        paranoid: before a turn is committed, the run is replayed from its start in a helper process
            with another hash seed, time zone and locale; where that goes another way, the instance
            is put aside. Costs a replay for each turn: for tests, and for a canary among workers.
        health: port, or ``"host:port"``, where ``/live``, ``/ready``, ``/backlog`` and
            ``/metrics`` answer over HTTP, on loopback unless the host says otherwise; nowhere by
            default.
        telemetry: told what the worker does, such as
            :class:`perdure_runtime.otel.OpenTelemetry`; nobody by default.
        retention: remove instances that finished so long ago, by a workflow in the store that all
            workers with this option share (``perdure.retention``); never by default.

    Raises:
        RegistrationError: two things with one name, types that can't be converted …
        InvalidOptionError: an option is out of range.
        UsageError: ``paranoid``, and another process can't find a workflow, or get the converter.
    """

    def __init__(
        self,
        backend: Backend,
        *,
        workflows: Iterable[Workflow[..., Any]] = (),
        activities: Iterable[object] = (),
        queues: Sequence[str] = (DEFAULT_QUEUE,),
        max_turns: int = 100,
        max_activities: int = 100,
        cache_size: int = 1000,
        lease: Duration = 15.0,
        poll_interval: Duration = 1.0,
        drain_timeout: Duration = 30.0,
        build: str | None = None,
        on_mismatch: MismatchPolicy = "park",
        strict: bool = False,
        deadlock_timeout: Duration | None = 10.0,
        exit_when_blocked: bool = False,
        converter: DataConverter | None = None,
        middleware: Sequence[Middleware] = (),
        resources: Iterable[object] | Mapping[Any, object] = (),
        max_activities_per_second: float | None = None,
        guard: bool = True,
        guard_allow: Iterable[str] = (),
        history_limit: int | None = 200_000,
        paranoid: bool = False,
        retention: Duration | None = None,
        telemetry: Telemetry | None = None,
        health: str | int | None = None,
        services: Services | None = None,
    ) -> None:
        if isinstance(queues, str):
            raise InvalidOptionError(f"queues is a sequence of names: [{queues!r}]")
        for name, value, least in (
            ("max_turns", max_turns, 1),
            ("cache_size", cache_size, 0),
            ("max_activities", max_activities, 0),
        ):
            if value < least:
                raise InvalidOptionError(f"{name} must be {least} or more, not {value}")
        if on_mismatch not in ("park", "fail", "retry"):
            raise InvalidOptionError(f"on_mismatch is park, fail or retry, not {on_mismatch!r}")
        if max_activities_per_second is not None and not max_activities_per_second > 0:
            raise InvalidOptionError("max_activities_per_second must be more than 0")
        if history_limit is not None and history_limit < 1:
            raise InvalidOptionError("history_limit must be 1 or more, or None")
        workflows = list(workflows)
        self._build = build if build is not None else build_id(workflows)
        self._retention = None if retention is None else as_seconds(retention, "retention")
        if self._retention is not None:
            if self._retention <= 0:
                raise InvalidOptionError("retention must be more than 0")
            from .._retention import prune_finished
            from .._retention import retention as system_workflow

            workflows.append(system_workflow)
            activities = [*activities, prune_finished]
        self._backend = backend
        self._telemetry = telemetry if telemetry is not None else NOBODY
        self._showing = Showing(backend, self._telemetry, health)
        self._ending = False
        self._services = services if services is not None else Services()
        self._middleware = tuple(middleware)
        self._resources = Resources(resources, own=(Client, Worker))
        self._registry = Registry(
            workflows, activities, converter or DataConverter(), self._resources
        )
        self._workflows = workflows
        self._guard = Guard(guard_allow) if guard and self._services.guard else None
        self._checker = self._paranoid() if paranoid else None
        self._rate = max_activities_per_second
        self._history_limit = history_limit
        for queue in queues:
            check_queue(queue)
        # A tuple is kept as it is: a tester's contains every name.
        self._queues = queues if isinstance(queues, tuple) else tuple(queues)
        self._max_turns = max_turns
        self._max_activities = max_activities
        self._cache_size = cache_size
        self._lease = as_seconds(lease, "lease")
        self._poll = as_seconds(poll_interval, "poll_interval")
        self._drain_timeout = as_seconds(drain_timeout, "drain_timeout")
        self._on_mismatch = on_mismatch
        self._strict = strict
        self._deadlock = (
            None if deadlock_timeout is None else as_seconds(deadlock_timeout, "deadlock_timeout")
        )
        self._exit_when_blocked = exit_when_blocked
        self._session: Session | None = None
        self._watchdog: Watchdog | None = None
        self._loops: list[asyncio.Task[None]] = []
        self._publishing: Publishing | None = None
        self._guarding = False
        self._retaining: asyncio.Task[None] | None = None
        self._stop = asyncio.Event()
        self._pid = 0

    @property
    def build(self) -> str:
        """The id of the code that this worker runs."""
        return self._build

    @property
    def session_id(self) -> str | None:
        """The id of the current session; ``None`` while it is not running."""
        return self._session.id if self._session is not None else None

    @property
    def cached_instances(self) -> int:
        """Instances in memory."""
        return len(self._instances) if self._session is not None else 0

    @property
    def queues(self) -> Sequence[str]:
        """The queues that it serves."""
        return self._queues

    @property
    def backend(self) -> Backend:
        """Its store."""
        return self._backend

    @property
    def stopping(self) -> bool:
        """Whether it takes no more work."""
        return self._ending

    @property
    def health_url(self) -> str | None:
        """Where its health is shown, while it is."""
        return self._showing.url

    @property
    def slots(self) -> dict[str, tuple[int, int]]:
        """Slots in use and in all, for ``turns`` and ``activities``."""
        if self._session is None:
            return {"turns": (0, self._max_turns), "activities": (0, self._max_activities)}
        return {
            "turns": (self._turns.busy, self._max_turns),
            "activities": (self._activities.running, self._max_activities),
        }

    # --- for testers ------------------------------------------------------------------------------

    @property
    def registry(self) -> Registry:
        """What it can run."""
        return self._registry

    @property
    def turns(self) -> Turns:
        """What runs their turns."""
        return self._turns

    @property
    def instances(self) -> Instances:
        """The instances that it has in memory."""
        return self._instances

    @property
    def running_activities(self) -> int:
        """Attempts that run now."""
        return self._activities.running

    def put(self, definition: Workflow[..., Any] | Activity[..., Any]) -> None:
        """Adds a definition while it runs, or puts one in the place of another.

        Raises:
            RegistrationError: it is only declared, or its types can't be converted.
        """
        self._registry.put(definition)
        if isinstance(definition, Workflow):
            if self._checker is not None:
                self._checker.admit(definition)
            if self._guard is not None:
                watch(definition)
        self._backend.wakeups.notify(TURNS, ACTIVITIES)

    async def kill(self) -> None:
        """Ends as a process that is killed does: nothing is committed, handed back or ended.

        What activities run is cancelled, which a real kill would not even do. May be entered again.
        """
        session = self._session
        if session is None:
            return
        self._session = None
        await self._give_all_up(session)
        await self._stop_retaining()
        self._stop_watching()

    # --- life -------------------------------------------------------------------------------------

    async def __aenter__(self) -> Worker:
        if self._session is not None:
            raise UsageError("this worker runs already; make another Worker for a second one")
        self._pid = os.getpid()
        self._loop = asyncio.get_running_loop()
        self._ending = False
        try:
            await self._start()
        except BaseException:
            await self._end()
            self._stop_watching()
            raise
        return self

    async def _start(self) -> None:
        self._showing.time_store()
        self._resources.add(Worker, self)
        self._resources.add(
            Client,
            Client(
                self._backend,
                converter=self._registry.converter,
                middleware=self._middleware,
                telemetry=self._telemetry,
                services=self._services,
            ),
        )
        self._clock = StoreClock(self._services.clock)
        self._clock.update(await self._backend.now())
        if self._deadlock is not None and self._services.watchdog:
            self._watchdog = Watchdog(self._deadlock, self._give_up)
            self._watchdog.start()
        await self._begin()
        if self._guard is not None:
            install(self._workflows)
            self._guarding = True
        self._showing.begin(self)
        if self._retention is not None:
            self._retaining = self._loop.create_task(self._keep_retention(self._retention))

    async def _keep_retention(self, age: float) -> None:
        from .._retention import keep_retention

        client = Client(self._backend, converter=self._registry.converter, services=self._services)
        while True:
            try:
                await keep_retention(client, age, self._queues[0])
                return
            except BackendError as error:
                _log.warning("finished instances are not removed so far: %s", error)
                await asyncio.sleep(self._poll)
            except Exception:  # such as codecs that another worker does not have
                _log.exception("finished instances are not removed by this worker")
                return

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._end()

    async def run(self) -> None:
        """Runs until :meth:`stop`, SIGTERM or SIGINT; then drains and returns."""
        self._stop = asyncio.Event()
        with on_signals(self.stop):
            async with self:
                await self._stop.wait()

    def stop(self) -> None:
        """Asks :meth:`run` to drain and return."""
        self._stop.set()

    async def _begin(self) -> None:
        """Opens a session with everything that lives as long as it."""
        self._session = Session(
            self._backend,
            self._services,
            build=self._build,
            lease=self._lease,
            queues=self._queues,
            slots=(self._max_turns, self._max_activities),
            registry=self._registry,
            on_lost=self._session_lost,
        )
        from .._tally import Tally

        tally = Tally(self._clock.now)
        self._instances = Instances(
            self._backend, self._services, size=self._cache_size, telemetry=self._telemetry
        )
        loader = Loader(self._backend, self._execution, self._watchdog)
        self._turns = Turns(
            self._backend,
            self._registry,
            self._clock,
            self._services,
            self._instances,
            loader,
            build=self._build,
            on_mismatch=self._on_mismatch,
            watchdog=self._watchdog,
            checker=self._checker,
            telemetry=self._telemetry,
            tally=tally,
        )
        self._queries = QueryRunner(
            self._backend, self._registry, self._instances, loader, queues=self._queues
        )
        self._activities = ActivityRunner(
            self._backend,
            self._registry,
            self._clock,
            self._services,
            self._turns,
            self._instances,
            slots=self._max_activities,
            queues=self._queues,
            rate=self._rate,
            middleware=self._middleware,
            telemetry=self._telemetry,
            tally=tally,
        )
        self._turns.activities = self._instances.activities = self._activities
        claiming = Claiming(
            self._backend,
            self._registry,
            self._clock,
            self._turns,
            self._instances,
            self._activities,
            self._queries,
            session_id=self._session.id,
            build=self._build,
            queues=self._queues,
            max_turns=self._max_turns,
            poll=self._poll,
            telemetry=self._telemetry,
        )
        await self._session.open()
        self._loops = claiming.loops()
        self._publishing = self._publish(self._backend, self._session.id, tally)
        if self._publishing is not None:
            self._loops.append(
                self._loop.create_task(self._publishing.run(), name="perdure publishes")
            )

    def _publish(self, store: object, session_id: str, tally: Tally) -> Publishing | None:
        if not isinstance(store, Documents) or not self._services.shows_itself:
            return None
        return Publishing(
            store,
            tally,
            self._clock,
            self._workflows,
            session_id=session_id,
            build=self._build,
            queues=self._queues,
        )

    def _paranoid(self) -> Paranoid:
        from .._replay._paranoid import Paranoid

        checker = Paranoid(
            self._backend,
            converter=self._registry.converter,
            middleware=self._middleware,
            guard=self._guard is not None,
            # Where time is the test's own, none of it may pass meanwhile.
            blocking=self._services.clock is not None,
        )
        for workflow in self._workflows:
            checker.admit(workflow)
        return checker

    def _execution(self, task: TurnTask | QueryTask) -> Execution:
        return Execution(
            self._registry.workflow(task.workflow, task.version),
            instance_id=task.instance_id,
            run_id=task.run_id,
            started_at=task.started_at,
            converter=self._registry.converter,
            strict=self._strict,
            middleware=self._middleware,
            history_limit=self._history_limit,
            guard=self._guard,
            spans=self._spans(task.run_id),
        )

    def _spans(self, run_id: str) -> Spans | None:
        telemetry = self._telemetry
        return Spans(run_id, stable_ids=telemetry.stable_ids) if telemetry.traces else None

    async def _end(self) -> None:
        session = self._session
        if session is None:
            return
        if os.getpid() != self._pid:  # a forked child owns nothing of its parent's worker
            return
        self._ending = True
        try:
            self._turns.stopping = True
            self._activities.stop()
            await self._stop_retaining()
            await self._stop_loops()
            await self._queries.stop()
            await self._activities.drain(self._drain_timeout)
            await self._turns.drain()
            if self._publishing is not None:
                await self._publishing.finish()
        finally:
            self._session = None
            self._stop_watching()
            self._activities.close()
            try:
                await session.close()
            except BackendError as error:
                _log.warning("the session could not be ended, it will run out: %s", error)

    def _stop_watching(self) -> None:
        """Nobody guards it any more, or is told of it."""
        if self._guarding:
            self._guarding = False
            uninstall()
        self._showing.end(self)
        if self._watchdog is not None:
            self._watchdog.stop()
            self._watchdog = None

    async def _stop_retaining(self) -> None:
        starting, self._retaining = self._retaining, None
        if starting is not None:
            starting.cancel()
            await asyncio.wait([starting])

    async def _stop_loops(self) -> None:
        for task in self._loops:
            task.cancel()
        if self._loops:
            await asyncio.wait(self._loops)
        self._loops = []

    # --- a lost session ---------------------------------------------------------------------------

    def _session_lost(self) -> None:
        if self._session is not None:
            self._telemetry.session_lost()
            _log.error(
                "session %s was lost (the store was out of reach for %.3g s, or the process was "
                "stopped): all that it ran is given up, a new session begins",
                self._session.id,
                self._lease,
            )
            self._recovery = self._loop.create_task(self._renew())

    async def _renew(self) -> None:
        session = self._session
        if session is None:
            return
        await self._give_all_up(session)
        while True:
            try:
                if not session.given_up:
                    # Who can say so did not die: nothing shall be suspected of having killed it.
                    await self._backend.end_session(session.id)
                await self._begin()
                return
            except BackendError as error:
                _log.warning("no new session yet, trying again: %s", error)
                await asyncio.sleep(self._poll)

    async def _give_all_up(self, session: Session) -> None:
        """Lets go of all that a session had, without a word to the store."""
        await self._stop_loops()
        self._turns.stopping = True
        self._activities.stop()
        self._activities.abandon("lost")
        await self._queries.stop()
        self._instances.close_all()
        self._activities.close()
        await session.stop_renewing()

    def _give_up(self, what: str) -> None:
        """From the watchdog's thread: a turn can't be interrupted."""
        _log.critical("workflow %s blocks its worker and can't be interrupted", what)
        if self._exit_when_blocked:
            os._exit(70)  # EX_SOFTWARE; the session is found dead and taken over
        if self._session is not None:
            self._session.give_up()
