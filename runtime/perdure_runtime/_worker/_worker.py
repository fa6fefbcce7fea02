"""The worker: claims what it can run, runs it, keeps its lease, and ends in good order.

PYTEST_DONT_REWRITE
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Literal

from perdure import (
    Activity,
    BackendError,
    BackendUnavailableError,
    DataConverter,
    Duration,
    InvalidOptionError,
    Middleware,
    UsageError,
    Workflow,
)
from perdure.extension import DEFAULT_QUEUE, check_queue
from perdure_backends import Backend, Documents
from perdure_backends._wakeups import ACTIVITIES, DUE, TURNS, Waiter
from perdure_backends.records import (
    ActivityClaim,
    ActivityTask,
    ClaimedTurns,
    QueryTask,
    TurnClaim,
    TurnTask,
)

from .._client import Client
from .._core import Execution, Spans
from .._durations import as_seconds
from .._guard import Guard, install, uninstall, watch
from .._registry import Registry, Resources, build_id
from .._services import Services
from .._signals import on_signals
from .._telemetry import NOBODY, Telemetry
from ._activities import BEATS, ActivityRunner
from ._clock import StoreClock
from ._queries import QueryRunner
from ._session import Session
from ._turns import Turns, log_fields
from ._watchdog import Watchdog

if TYPE_CHECKING:
    from .._health import HealthServer
    from .._replay._paranoid import Paranoid

_log: Final = logging.getLogger("perdure.runtime")

MismatchPolicy = Literal["park", "fail", "retry"]

_SWEEP_BATCH: Final = 1000
_PARKED_INTERVAL: Final = 5.0
_LATE_CALL: Final = 10.0
_SHOW_INTERVAL: Final = 15.0


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
        if health is not None:
            from .._health import parse_address

            parse_address(health)
        self._health_at = health
        self._health: HealthServer | None = None
        self._ending = False
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
        self._stop_timing: Callable[[], None] = lambda: None
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
        return self._turns.cached if self._session is not None else 0

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
        return None if self._health is None else self._health.url

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
        """The instances that it has in memory."""
        return self._turns

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
        await self._stop_retaining()
        await self._give_all_up(session)
        self._stop_guarding()
        self._stop_telling()
        if self._watchdog is not None:
            self._watchdog.stop()
            self._watchdog = None

    # --- life -------------------------------------------------------------------------------------

    async def __aenter__(self) -> Worker:
        if self._session is not None:
            raise UsageError("this worker runs already; make another Worker for a second one")
        self._pid = os.getpid()
        self._loop = asyncio.get_running_loop()
        self._ending = False
        if self._telemetry.times_store:
            from .._timing import time_store

            self._stop_timing = time_store(self._backend, self._telemetry)
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
        self._telemetry.worker_began(self)
        if self._health_at is not None:
            await self._show_health(self._health_at)
        if self._retention is not None:
            self._retaining = self._loop.create_task(self._keep_retention(self._retention))
        return self

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

        self._tally = Tally(self._clock.now)
        self._turns = Turns(
            self._backend,
            self._registry,
            self._clock,
            self._services,
            build=self._build,
            cache_size=self._cache_size,
            on_mismatch=self._on_mismatch,
            make_execution=self._execution,
            watchdog=self._watchdog,
            checker=self._checker,
            telemetry=self._telemetry,
            tally=self._tally,
        )
        self._queries = QueryRunner(
            self._backend, self._registry, self._turns, self._execution, queues=self._queues
        )
        self._activities = ActivityRunner(
            self._backend,
            self._registry,
            self._clock,
            self._services,
            self._turns,
            slots=self._max_activities,
            queues=self._queues,
            rate=self._rate,
            middleware=self._middleware,
            telemetry=self._telemetry,
            tally=self._tally,
        )
        self._turns.activities = self._activities
        self._turns.on_forgotten = self._activities.on_forgotten = self._note_lost_answer
        self._suspects = False
        self._alone = False
        self._suspects_again = float("-inf")
        self._claiming = asyncio.Lock()
        self._reconcile: list[float] = []
        self._turns_full = _Capacity()
        self._activities_full = _Capacity()
        await self._session.open()
        self._loops = [
            self._spawn("turns", TURNS, self._claim_turns),
            self._spawn("activities", ACTIVITIES, self._claim_activities),
            self._spawn("sweep", DUE, self._sweep),
            self._spawn("beats", BEATS, self._beat),
        ]
        if isinstance(self._backend, Documents) and self._services.shows_itself:
            self._loops.append(
                self._loop.create_task(self._show(self._backend), name="perdure shows itself")
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

    def _spawn(
        self,
        name: str,
        topic: str,
        step: Callable[[], Coroutine[Any, Any, float | None]],
    ) -> asyncio.Task[None]:
        return self._loop.create_task(self._repeat(topic, step), name=f"perdure {name}")

    async def _repeat(
        self, topic: str, step: Callable[[], Coroutine[Any, Any, float | None]]
    ) -> None:
        """Takes ``step`` again when woken, or after the seconds that it returns."""
        with self._backend.wakeups.listen(topic) as waiter:
            if topic == TURNS:
                self._turns.on_capacity = self._turns_full.attach(waiter)
            elif topic == ACTIVITIES:
                self._activities.on_capacity = self._activities_full.attach(waiter)
            while True:
                try:
                    pause = await step()
                except BackendError as error:
                    _log.warning("the store does not answer: %s", error)
                    pause = self._poll
                except Exception:
                    _log.exception("internal error in a worker's loop; please report it")
                    pause = self._poll
                await waiter.wait(self._poll if pause is None else pause)

    async def _end(self) -> None:
        session = self._session
        if session is None:
            return
        if os.getpid() != self._pid:  # a forked child owns nothing of its parent's worker
            return
        self._ending = True
        try:
            self._turns.stopping = True
            self._activities.stopping = True
            await self._stop_retaining()
            await self._stop_loops()
            await self._queries.stop()
            await self._activities.drain(self._drain_timeout)
            await self._turns.drain()
            await self._save_rates(session.id)
        finally:
            self._session = None
            self._stop_guarding()
            self._stop_telling()
            self._activities.close()
            try:
                await session.close()
            except BackendError as error:
                _log.warning("the session could not be ended, it will run out: %s", error)
            if self._watchdog is not None:
                self._watchdog.stop()
                self._watchdog = None

    async def _show_health(self, address: str | int) -> None:
        from .._health import HealthServer

        health = HealthServer(self, address)
        try:
            health.start()
        except BaseException:
            await self._end()
            raise
        self._health = health

    def _stop_telling(self) -> None:
        self._telemetry.worker_ended(self)
        self._stop_timing()
        if self._health is not None:
            self._health.stop()
            self._health = None

    def _stop_guarding(self) -> None:
        if self._guarding:
            self._guarding = False
            uninstall()

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
        self._activities.stopping = True
        self._activities.abandon("lost")
        await self._queries.stop()
        self._turns.drop_all()
        self._activities.close()
        await session.stop_renewing()

    def _give_up(self, what: str) -> None:
        """From the watchdog's thread: a turn can't be interrupted."""
        _log.critical("workflow %s blocks its worker and can't be interrupted", what)
        if self._exit_when_blocked:
            os._exit(70)  # EX_SOFTWARE; the session is found dead and taken over
        if self._session is not None:
            self._session.give_up()

    # --- the loops --------------------------------------------------------------------------------

    async def _claim_turns(self) -> float | None:
        session = self._session
        free = self._max_turns - self._turns.busy
        if session is None or not self._registry.offers:
            return None
        if self._suspects or self._alone:
            return await self._quarantine(session.id)
        if free <= 0:
            self._turns_full.wanted = True
            await self._queries.take(session.id)
            return None
        claimed = await self._claim(self._turn_claim(session.id, free))
        if claimed.queries:
            await self._queries.take(session.id)
        if not claimed.tasks:
            await self._try_parked(session.id)
        if claimed.suspects and self._loop.time() >= self._suspects_again:
            self._suspects = True
            return 0.0
        return 0.0 if len(claimed.tasks) >= free else None

    async def _claim(self, claim: TurnClaim) -> ClaimedTurns:
        """Claims turns and takes them in."""
        async with self._claiming:
            await self._hand_back_unknown(claim.session_id)
            try:
                claimed = await self._backend.claim_turns(claim)
            except BackendUnavailableError:
                self._note_lost_answer()
                raise
            for task in claimed.tasks:
                self._clock.update(task.time)
                self._turns.admit(task)
        return claimed

    async def _claim_some_activities(self, claim: ActivityClaim) -> list[ActivityTask]:
        """Claims activities and starts them."""
        async with self._claiming:
            await self._hand_back_unknown(claim.session_id)
            try:
                tasks = await self._backend.claim_activities(claim)
            except BackendUnavailableError:
                self._note_lost_answer()
                raise
            for task in tasks:
                self._activities.start_claimed(task)
        return tasks

    def _note_lost_answer(self) -> None:
        # At once, and again later: the call that was given up may still be on its way.
        now = self._loop.time()
        self._reconcile = [now, now + _LATE_CALL]

    async def _hand_back_unknown(self, session_id: str) -> None:
        """After a lost answer this session may own what it never heard of."""
        if not self._reconcile or self._loop.time() < self._reconcile[0]:
            return
        count = await self._backend.retain(
            session_id, self._turns.tokens(), self._activities.tokens()
        )
        del self._reconcile[0]
        if count:
            _log.info("handed back %d leases whose claim got no answer", count)

    def _turn_claim(self, session_id: str, limit: int, **more: bool) -> TurnClaim:
        return TurnClaim(
            session_id=session_id,
            build=self._build,
            queues=self._queues,
            offers=self._registry.offers,
            limit=limit,
            **more,
        )

    _parked_looked = float("-inf")
    _suspects_again = float("-inf")

    async def _try_parked(self, session_id: str) -> None:
        """Parked instances that this build has not tried yet get their chance."""
        now = self._loop.time()
        if now - self._parked_looked < _PARKED_INTERVAL:
            return
        self._parked_looked = now
        claimed = await self._claim(self._turn_claim(session_id, 20, parked=True))
        for task in claimed.tasks:
            _log.info(
                "%r was parked; this build tries it", task.instance_id, extra=log_fields(task)
            )
        if claimed.tasks:
            self._parked_looked = float("-inf")

    async def _quarantine(self, session_id: str) -> float | None:
        """Runs what may have killed a worker, one at a time, with nothing else beside it."""
        if self._turns.busy or self._activities.running:
            self._turns_full.wanted = True
            return 0.05
        self._suspects, self._alone = False, True
        try:
            claimed = await self._claim(self._turn_claim(session_id, 1, alone=True))
            for task in claimed.tasks:
                _log.warning(
                    "%r may have killed its worker; it runs alone",
                    task.instance_id,
                    extra=log_fields(task),
                )
            if not claimed.tasks:
                for activity in await self._claim_some_activities(
                    self._activity_claim(session_id, 1, alone=True)
                ):
                    _log.warning("activity %r runs alone", activity.name)
            if self._turns.busy or self._activities.running:
                return 0.0  # comes back here until it has ended
            self._alone = False
            self._backend.wakeups.notify(ACTIVITIES)
            # What is left is for other workers: no need to pause for it again and again.
            self._suspects_again = self._loop.time() + _PARKED_INTERVAL
        except BackendError:
            self._alone = False
            raise
        return 0.0

    def _activity_claim(self, session_id: str, limit: int, *, alone: bool = False) -> ActivityClaim:
        return ActivityClaim(
            session_id=session_id,
            queues=self._queues,
            names=self._registry.activity_names,
            limit=limit,
            alone=alone,
        )

    async def _claim_activities(self) -> float | None:
        session, free = self._session, self._activities.allowed
        if session is None or not self._registry.activity_names or not self._max_activities:
            return None
        if self._suspects or self._alone:
            return 0.05
        if free <= 0:
            self._activities_full.wanted = True
            return self._activities.pause
        tasks = await self._claim_some_activities(self._activity_claim(session.id, free))
        return 0.0 if len(tasks) >= free else None

    async def _sweep(self) -> float | None:
        session = self._session
        if session is None:
            return None
        report = await self._backend.sweep(session.id, _SWEEP_BATCH)
        for lost in report.sessions_lost:
            _log.warning("session %s is gone; its work goes on elsewhere", lost)
        if report.sessions_lost:
            self._telemetry.others_lost(len(report.sessions_lost))
            # What they owned may have to run alone, which only a claim finds out.
            self._backend.wakeups.notify(TURNS, ACTIVITIES)
        if report.fired + report.timed_out >= _SWEEP_BATCH:
            return 0.0
        if report.next_due is None:
            return self._poll  # nothing is planned and nobody else is there
        longest = min(self._poll, 0.5)
        return min(longest, max(0.0, (report.next_due - self._clock.now()) / 1e6) + 0.0005)

    async def _show(self, store: Documents) -> None:
        """Publishes schemas, and then what is done in each minute."""
        from .._schemas import documents_of

        build, queues = self._build, list(self._queues)
        documents = documents_of(self._workflows, build=build, queues=queues, at=self._clock.now())
        while True:
            session = self._session
            try:
                if documents:
                    await store.put_documents(documents)
                    documents = []
                if session is not None:
                    await self._tally.save(store, session.id)
            except BackendError as error:
                _log.debug("schemas and rates are not stored so far: %s", error)
            await asyncio.sleep(_SHOW_INTERVAL)

    async def _save_rates(self, session_id: str) -> None:
        if isinstance(self._backend, Documents) and self._services.shows_itself:
            try:
                await self._tally.save(self._backend, session_id)
            except BackendError as error:
                _log.debug("the last rates are not stored: %s", error)

    async def _beat(self) -> float | None:
        await self._activities.beat()
        return min(self._poll, 1.0, self._activities.shortest_heartbeat / 3)


class _Capacity:
    """Wakes a claim loop when something has ended, if it could not take all that was there."""

    def __init__(self) -> None:
        self.wanted = False

    def attach(self, waiter: Waiter) -> Callable[[], None]:
        """The callback for the end of a turn or an activity."""

        def ended() -> None:
            if self.wanted:
                self.wanted = False
                waiter.wake()

        return ended
