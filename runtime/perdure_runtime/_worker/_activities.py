"""Activities of a worker: slots, attempts, outcomes.

PYTEST_DONT_REWRITE
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Callable, Container, Sequence
from typing import TYPE_CHECKING, Final

from perdure import CompletesLater, Failure, Middleware
from perdure_backends import Backend
from perdure_backends import history as h
from perdure_backends._policies import Bucket
from perdure_backends.records import (
    ActivityResult,
    ActivityTask,
    Heartbeat,
    HeartbeatResult,
    NewActivity,
    QueueLimit,
)

from .._batcher import Batcher
from .._registry import Registry
from .._services import Services
from .._telemetry import NOBODY, Telemetry
from ._attempts import Attempts, Outcome, cancelled
from ._clock import StoreClock
from ._instances import Instances
from ._live import Arrival, Live
from ._local import LocalActivities
from ._running import Attempt, UndecodableArgumentsError
from ._turns import Turns

if TYPE_CHECKING:
    from .._tally import Tally

_log: Final = logging.getLogger("perdure.runtime")

_UNDECODABLE_PAUSE: Final = 10_000_000

BEATS: Final = "beats"
"""Wake-up within the worker: an attempt that has to heartbeat has started."""


class ActivityRunner:
    """Runs attempts in slots.

    Args:
        slots: how many attempts run at once.
        rate: how many start in a second; no limit by default.
        middleware: around each attempt.
        queues: queues whose activities may be started without a trip through the store.
    """

    def __init__(
        self,
        backend: Backend,
        registry: Registry,
        clock: StoreClock,
        services: Services,
        turns: Turns,
        instances: Instances,
        *,
        slots: int,
        queues: Container[str],
        rate: float | None = None,
        middleware: Sequence[Middleware] = (),
        telemetry: Telemetry = NOBODY,
        tally: Tally | None = None,
    ) -> None:
        self.on_capacity: Callable[[], None] = lambda: None
        self.on_forgotten: Callable[[], None] = lambda: None
        self._backend = backend
        self._registry = registry
        self._clock = clock
        self._services = services
        self._turns = turns
        self._instances = instances
        self._slots = slots
        self._queues = queues
        self._bucket: Bucket | None = None
        if rate is not None:
            limit = QueueLimit(queue="", per_second=rate, burst=max(1, round(rate)))
            self._bucket = Bucket(limit)
        self._reserved: set[str] = set()
        self._unsettled: set[str] = set()
        self._attempts = Attempts(
            registry,
            clock,
            services,
            slots=slots,
            middleware=middleware,
            telemetry=telemetry,
            tally=tally,
        )
        self._local = LocalActivities(
            registry, self._attempts, slots=slots, on_capacity=lambda: self.on_capacity()
        )
        self.start_local: Final = self._local.start
        self._settles: Batcher[ActivityResult, bool] = Batcher(backend.settle)
        self._loop = asyncio.get_running_loop()

    @property
    def running(self) -> int:
        """Attempts that run now."""
        return len(self._attempts.running)

    @property
    def shortest_heartbeat(self) -> float:
        """The shortest heartbeat time-out among running attempts, in seconds."""
        limits = [
            attempt.task.heartbeat
            for attempt in self._attempts.running.values()
            if attempt.task.heartbeat is not None and not attempt.local
        ]
        return min(limits) / 1e6 if limits else math.inf

    @property
    def free(self) -> int:
        """Slots that are neither used nor reserved."""
        return self._slots - len(self._attempts.running) - len(self._reserved)

    @property
    def slots(self) -> int:
        """How many run at once, at most."""
        return self._slots

    @property
    def allowed(self) -> int:
        """How many may be claimed now."""
        if self._bucket is None:
            return self.free
        return min(self.free, self._bucket.available(self._micros()))

    @property
    def pause(self) -> float | None:
        """Seconds until the worker's rate allows the next start; ``None`` without a rate."""
        if self._bucket is None:
            return None
        now = self._micros()
        at = self._bucket.next_at(now)
        return None if at is None else (at - now) / 1e6

    def _micros(self) -> int:
        return int(self._loop.time() * 1e6)

    # --- starting ---------------------------------------------------------------------------------

    def reserve(self, new: NewActivity) -> str | None:
        """See :class:`._ports.Activities`."""
        if (
            self._attempts.stopping
            or self.allowed <= 0
            or new.queue not in self._queues
            or self._registry.activity(new.name) is None
        ):
            return None
        if self._bucket is not None:
            self._bucket.take(1)
        token = self._services.new_id()[:16]
        self._reserved.add(token)
        return token

    def unreserve(self, tokens: Sequence[str]) -> None:
        """See :class:`._ports.Activities`."""
        self._reserved.difference_update(tokens)

    def tokens(self) -> list[str]:
        """Attempts that this worker knows of, running, reserved or not yet settled."""
        running = [a.task.token for a in self._attempts.running.values() if not a.local]
        return [*running, *self._reserved, *self._unsettled, *self._instances.result_tokens()]

    def start_reserved(self, live: Live, task: ActivityTask) -> None:
        """See :class:`._ports.Activities`."""
        self._reserved.discard(task.token)
        self.start(task, live)

    def start_claimed(self, task: ActivityTask) -> None:
        """Starts an attempt that came from the store."""
        self._reserved.discard(task.token)
        if self._bucket is not None:
            pause = self.pause
            if pause is not None:
                # A turn has used the rate up while the claim was on its way.
                self._reserved.add(task.token)
                self._loop.call_later(pause, self._start_late, task)
                return
            self._bucket.take(1)
        self.start(task)

    def _start_late(self, task: ActivityTask) -> None:
        if not self._attempts.stopping:  # else the end of the session hands it back
            self.start_claimed(task)

    def start(self, task: ActivityTask, live: Live | None = None) -> None:
        """Starts an attempt whose record is claimed by this worker's session."""
        activity = self._registry.activity(task.name)
        if activity is None:  # claims name what this worker has
            self._finish(
                task,
                ActivityResult(
                    run_id=task.run_id, number=task.number, token=task.token, hand_back=True
                ),
            )
            return
        if live is None and not task.alone:
            live = self._instances.owned(task.run_id)
        if live is not None:
            live.running_here += 1
        attempt = Attempt(task, activity, self._registry.resources_for(activity))
        self._attempts.running[task.run_id, task.number] = attempt
        if task.heartbeat is not None:
            self._backend.wakeups.notify(BEATS)
        attempt.job = self._loop.create_task(self._run(attempt, live), name=f"activity {task.name}")

    # --- running ----------------------------------------------------------------------------------

    async def _run(self, attempt: Attempt, live: Live | None) -> None:
        task = attempt.task
        outcome: Outcome
        began = self._attempts.began()
        try:
            result = await self._attempts.run(attempt)
            outcome = h.ActivityCompleted(task.number, result, task.attempt)
        except asyncio.CancelledError as error:
            outcome = self._cancelled(attempt, error)
        except CompletesLater:
            outcome = ActivityResult(
                run_id=task.run_id, number=task.number, token=task.token, detach=True
            )
        except UndecodableArgumentsError as error:
            outcome = self._again(task, Failure.of(error, with_stack=False), _UNDECODABLE_PAUSE)
        except BaseException as error:  # SystemExit too: no activity ends its worker
            outcome = self._failed(task, error)
        finally:
            del self._attempts.running[task.run_id, task.number]
            attempt.job = None  # it holds this very coroutine
            if live is not None:
                live.running_here -= 1
        self._attempts.tell(task, outcome, began)
        self._report(attempt, live, outcome)
        self.on_capacity()

    def _report(
        self,
        attempt: Attempt,
        live: Live | None,
        outcome: Outcome,
    ) -> None:
        task = attempt.task
        if isinstance(outcome, ActivityResult):
            self._finish(task, outcome)
        elif live is None or not self._turns.deliver(
            live, Arrival(0, outcome, task.number, task.token)
        ):
            self._finish(task, _to_inbox(task.run_id, task.number, task.token, outcome))
        else:
            return
        if live is not None:
            self._instances.release_if_idle(live)

    def _failed(
        self, task: ActivityTask, error: BaseException
    ) -> h.ActivityFailed | ActivityResult:
        failure = self._attempts.record(error)
        delay = self._attempts.next_delay(task, failure, error)
        if delay is None:
            _log.info(
                "activity %r of %r failed for good at attempt %d: %s: %s",
                task.name,
                task.instance_id,
                task.attempt,
                failure.type,
                failure.message,
                extra=_log_fields(task),
            )
            return h.ActivityFailed(task.number, failure, attempt=task.attempt)
        return self._again(task, failure, round(delay * 1e6))

    def _again(self, task: ActivityTask, failure: Failure, delay: int) -> ActivityResult:
        _log.info(
            "activity %r of %r failed at attempt %d and is tried again in %.3g s: %s: %s",
            task.name,
            task.instance_id,
            task.attempt,
            delay / 1e6,
            failure.type,
            failure.message,
            extra=_log_fields(task),
        )
        return ActivityResult(
            run_id=task.run_id,
            number=task.number,
            token=task.token,
            failure=failure,
            retry_in=delay,
        )

    def _cancelled(
        self, attempt: Attempt, error: asyncio.CancelledError
    ) -> h.ActivityFailed | ActivityResult:
        task = attempt.task
        if attempt.unwanted:
            return cancelled(task)
        if attempt.cancel_sent or self._attempts.stopping:
            return ActivityResult(
                run_id=task.run_id, number=task.number, token=task.token, hand_back=True
            )
        return self._failed(task, error)  # the activity cancelled itself

    # --- outcomes ---------------------------------------------------------------------------------

    def settle_lost(self, run_id: str, arrivals: Sequence[Arrival]) -> None:
        """See :class:`._ports.Activities`."""
        for arrival in arrivals:
            entry = arrival.entry
            encoded = entry if isinstance(entry, bytes) else h.encode_event(entry)
            self._settles.submit(
                ActivityResult(
                    run_id=run_id, number=arrival.number, token=arrival.token, entry=encoded
                ),
                self._settled_late,
            )

    def _settled_late(self, accepted: bool | BaseException) -> None:
        if isinstance(accepted, BaseException):
            self.on_forgotten()

    def _finish(self, task: ActivityTask, result: ActivityResult) -> None:
        self._unsettled.add(task.token)

        def answer(accepted: bool | BaseException) -> None:
            self._unsettled.discard(task.token)
            if accepted is True:
                return
            if accepted is False:
                _log.debug("the outcome of activity %r came too late", task.name)
            else:
                _log.warning("the outcome of activity %r is not stored: %s", task.name, accepted)
                self.on_forgotten()

        self._settles.submit(result, answer)

    # --- cancelling -------------------------------------------------------------------------------

    def cancel(self, run_id: str, numbers: Sequence[int] | None) -> None:
        """See :class:`._ports.Activities`."""
        self._attempts.cancel(run_id, numbers)

    async def beat(self) -> None:
        """Asks the store which running attempts are still wanted, and leaves their details."""
        attempts = [a for a in self._attempts.running.values() if not a.local]
        if not attempts:
            return
        beats: list[Heartbeat] = []
        for attempt in attempts:
            details, attempt.details = attempt.details, None
            alive, attempt.beaten = attempt.beaten, False
            task = attempt.task
            beats.append(
                Heartbeat(
                    run_id=task.run_id,
                    number=task.number,
                    token=task.token,
                    details=details,
                    alive=alive,
                )
            )
        answers = await self._backend.heartbeat(beats)
        for attempt, answer in zip(attempts, answers, strict=True):
            if answer is HeartbeatResult.CANCEL:
                self._attempts.unwanted(attempt, "cancelled")
            elif answer is HeartbeatResult.GONE:
                late = attempt.task.deadline is not None and (
                    self._clock.now() >= attempt.task.deadline
                )
                self._attempts.unwanted(attempt, "timed out" if late else "lost")

    # --- ending -----------------------------------------------------------------------------------

    def stop(self) -> None:
        """Starts nothing any more."""
        self._attempts.stopping = True

    async def drain(self, limit: float) -> None:
        """Waits for running attempts up to ``limit`` seconds, then cancels and hands them back."""
        self.stop()
        jobs = [a.job for a in self._attempts.running.values() if a.job is not None]
        if jobs:
            await asyncio.wait(jobs, timeout=limit)
        self.abandon("stopping")
        jobs = [
            attempt.job
            for attempt in self._attempts.running.values()
            if attempt.job is not None and attempt.activity.definition.is_async
        ]
        if jobs:
            await asyncio.wait(jobs, timeout=5.0)
        await self._settles.idle()

    def abandon(self, reason: str) -> None:
        """Cancels what runs: the session has ended, or is about to."""
        self._attempts.abandon(reason)

    def close(self) -> None:
        """Ends the pools."""
        self._attempts.close()


def _log_fields(task: ActivityTask) -> dict[str, object]:
    return {
        "instance_id": task.instance_id,
        "run_id": task.run_id,
        "activity": task.name,
        "number": task.number,
        "attempt": task.attempt,
        "queue": task.queue,
    }


def _to_inbox(
    run_id: str, number: int, token: str, outcome: h.ActivityCompleted | h.ActivityFailed
) -> ActivityResult:
    return ActivityResult(run_id=run_id, number=number, token=token, entry=h.encode_event(outcome))
