"""Every crash that can happen to a scenario, one after the other.

PYTEST_DONT_REWRITE
"""

from __future__ import annotations

import asyncio
import collections
import dataclasses
import logging
import random
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any, Final, Generic, Literal, ParamSpec, TypeVar, cast, overload

from perdure import PerdureError, UsageError, Workflow
from perdure_backends.records import (
    ActivityClaim,
    ActivityResult,
    ActivityTask,
    ClaimedTurns,
    CommitOutcome,
    Message,
    SendResult,
    StartOutcome,
    StartRequest,
    TurnClaim,
    TurnCommit,
)

from ._environment import Environment
from ._store import ObservedStore

_log: Final = logging.getLogger("perdure.runtime")

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")

Fault = Literal["crash before", "crash after", "lost lease at", "repeated"]

_FAULTS: Final[dict[str, tuple[Fault, ...]]] = {
    "commit": ("crash before", "crash after", "lost lease at", "repeated"),
    "settle": ("crash before", "crash after", "repeated"),
    "start": ("repeated",),
    "send": ("repeated",),
}
"""What can go wrong with each call of the store."""

Point = tuple[str, int]
"""A call of the store: its kind, and which one of that kind it is, from 1."""

Plan = dict[Point, Fault]


class CrashFoundError(PerdureError):
    """A scenario does not survive a fault; ``__cause__`` is what it raised, if it did.

    Attributes:
        faults: what was done, such as ``crash before commit 3``; for ``only``.
    """

    def __init__(self, message: str, faults: tuple[str, ...]) -> None:
        super().__init__(message)
        self.faults = faults


@dataclasses.dataclass(frozen=True, slots=True)
class CrashRun(Generic[R]):
    """One run of a scenario.

    Attributes:
        faults: what was done to it, such as ``crash before commit 3``.
        result: what the scenario returned.
        expected: what it returned without any fault.
    """

    faults: tuple[str, ...]
    result: R
    expected: R


@dataclasses.dataclass(frozen=True, slots=True)
class Explored:
    """What was tried.

    Attributes:
        runs: how many, besides the one without faults.
        calls: of the store in that one, by kind: ``commit``, ``settle``, ``start``, ``send``.
    """

    runs: int
    calls: dict[str, int]


@overload
def explore_crashes(
    scenario: Workflow[P, R],
    *args: P.args,
    **kwargs: P.kwargs,
) -> Explored: ...
@overload
def explore_crashes(
    scenario: Callable[[Environment], Awaitable[R]],
    *,
    invariant: Callable[[CrashRun[R]], object] | None = None,
    same_result: bool = True,
    more: int = 0,
    seed: int = 0,
    only: Sequence[str] | None = None,
    timeout: float = 60.0,
    **options: Any,
) -> Explored: ...
def explore_crashes(
    scenario: Any,
    *args: Any,
    **kwargs: Any,
) -> Explored:
    """Runs a scenario again and again, each time with another fault at another place.

    The worker dies before and after each commit of a turn and of an activity's result, and another
    takes over; each message, start, commit and result is delivered twice; each turn loses its lease
    before its commit. All in memory, with time that jumps::

        async def scenario(env: Environment) -> str:
            bank = Bank()
            env.mock(charge).runs(bank.charge)
            handle = await env.start(checkout, 9)
            await handle.signal(approve, True)
            receipt = await handle.result()
            assert bank.charged == 9
            return receipt

        explore_crashes(scenario)

    Args:
        scenario: gets an environment; what it asserts has to hold in each run. Or a workflow with
            its arguments, where nothing has to be mocked.
        invariant: called after each run; raises when something is wrong.
        same_result: the result must be that of the run without faults.
        more: so many runs more with two faults at places drawn by ``seed``.
        seed: ids and random numbers follow from it too.
        only: faults to do, together, in place of all; as an error named them.
        timeout: seconds of real time for one run.
        options: of the :class:`Environment`.

    Raises:
        CrashFoundError: a run went wrong; the first one is told, with what reproduces it.
        UsageError: called in an async test; use ``await asyncio.to_thread(explore_crashes, …)``.
    """
    if isinstance(scenario, Workflow):
        workflow = cast("Workflow[..., Any]", scenario)

        async def run(env: Environment) -> Any:
            return await env.run(workflow, *args, **kwargs)

        return _Exploration(run).explore()
    if args:
        raise UsageError("arguments go with a workflow; a scenario gets an environment only")
    return _Exploration(scenario, **kwargs).explore()


class _Exploration:
    def __init__(
        self,
        scenario: Callable[[Environment], Awaitable[Any]],
        *,
        invariant: Callable[[CrashRun[Any]], object] | None = None,
        same_result: bool = True,
        more: int = 0,
        seed: int = 0,
        only: Sequence[str] | None = None,
        timeout: float = 60.0,
        **options: Any,
    ) -> None:
        self._scenario = scenario
        self._invariant = invariant
        self._same_result = same_result
        self._more = more
        self._seed = seed
        self._only = [only] if isinstance(only, str) else only
        self._timeout = timeout
        self._options = options

    def explore(self) -> Explored:
        """Tries all plans."""
        _refuse_running_loop()
        expected, points = asyncio.run(self._run({}))
        plans = self._plans(points)
        level = _log.level
        _log.setLevel(logging.CRITICAL)  # the worker would warn of each crash
        try:
            for plan in plans:
                self._try(plan, expected)
        finally:
            _log.setLevel(level)
        return Explored(len(plans), dict(collections.Counter(kind for kind, _ in points)))

    def _plans(self, points: Sequence[Point]) -> list[Plan]:
        if self._only is not None:
            return [dict(_parsed(text) for text in self._only)]
        single: list[Plan] = [{point: fault} for point in points for fault in _FAULTS[point[0]]]
        rng = random.Random(self._seed)
        pairs: list[Plan] = []
        while single and len(pairs) < self._more:
            pairs.append(rng.choice(single) | rng.choice(single))
        return [*single, *pairs]

    def _try(self, plan: Plan, expected: Any) -> None:
        faults = tuple(f"{fault} {kind} {number}" for (kind, number), fault in plan.items())
        try:
            result, _ = asyncio.run(self._run(plan))
            if self._same_result and result != expected:
                raise CrashFoundError(
                    self._message(
                        faults, f"the result is {result!r}; without faults it is {expected!r}"
                    ),
                    faults,
                )
            if self._invariant is not None:
                self._invariant(CrashRun(faults, result, expected))
        except CrashFoundError:
            raise
        except Exception as error:
            what = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
            raise CrashFoundError(self._message(faults, what), faults) from error

    def _message(self, faults: tuple[str, ...], what: str) -> str:
        again = f"only={list(faults)!r}"
        if self._seed:
            again += f", seed={self._seed}"
        return f"with {' and '.join(faults)}: {what}\nreproduce it with explore_crashes(…, {again})"

    async def _run(self, plan: Plan) -> tuple[Any, list[Point]]:
        environment = _CrashingEnvironment(plan, seed=self._seed, **self._options)
        async with asyncio.timeout(self._timeout), environment:
            result = await self._scenario(environment)
            return result, environment.faulty.calls


def _parsed(text: str) -> tuple[Point, Fault]:
    fault, _, number = text.rpartition(" ")
    fault, _, kind = fault.rpartition(" ")
    if not number.isdigit() or fault not in _FAULTS.get(kind, ()):
        raise UsageError(f"{text!r} is no fault: name one as `crash before commit 3`")
    return (kind, int(number)), fault


def _refuse_running_loop() -> None:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return
    raise UsageError(
        "explore_crashes runs event loops of its own; in an async test: "
        "await asyncio.to_thread(explore_crashes, …)"
    )


class _CrashingEnvironment(Environment):
    """An environment whose store does harm."""

    def __init__(self, plan: Plan, **options: Any) -> None:
        self._faults = plan
        self._dying: asyncio.Task[None] | None = None
        super().__init__(**options)

    def _make_store(self) -> ObservedStore:
        self.faulty = _FaultyStore(self.clock, dict(self._faults), self._crash_soon)
        return self.faulty

    async def __aexit__(self, *exc_info: Any) -> None:
        if self._dying is not None:  # the last commit's: who takes over is to be ended, too
            await asyncio.wait([self._dying])
        await super().__aexit__(*exc_info)

    def _crash_soon(self) -> None:
        self._crashing += 1  # at once, so that nobody takes the silence for the end
        self._dying = asyncio.get_running_loop().create_task(self._die())

    async def _die(self) -> None:
        try:
            await self.crash()
        finally:
            self._crashing -= 1
            self.faulty.dead = False


class _FaultyStore(ObservedStore):
    """Does what a plan says; what a dying worker calls does not return."""

    def __init__(self, clock: Callable[[], int], plan: Plan, crash: Callable[[], None]) -> None:
        super().__init__(clock)
        self._plan = plan
        self._crash = crash
        self._counts: collections.Counter[str] = collections.Counter()
        self.calls: list[Point] = []
        self.dead = False
        self._hanging: list[asyncio.Future[None]] = []

    async def start(self, requests: Sequence[StartRequest]) -> list[StartOutcome]:
        """See :meth:`Backend.start`."""
        return await self._call("start", lambda: super(_FaultyStore, self).start(requests))

    async def send(self, messages: Sequence[Message]) -> list[SendResult]:
        """See :meth:`Backend.send`."""
        return await self._call("send", lambda: super(_FaultyStore, self).send(messages))

    async def commit(self, commits: Sequence[TurnCommit]) -> list[CommitOutcome]:
        """See :meth:`Backend.commit`."""
        await self._not_dead()
        runs = [one.run_id for one in commits]
        return await self._call("commit", lambda: super(_FaultyStore, self).commit(commits), runs)

    async def settle(self, results: Sequence[ActivityResult]) -> list[bool]:
        """See :meth:`Backend.settle`."""
        await self._not_dead()
        return await self._call("settle", lambda: super(_FaultyStore, self).settle(results))

    async def claim_turns(self, claim: TurnClaim) -> ClaimedTurns:
        """See :meth:`Backend.claim_turns`."""
        await self._not_dead()
        return await super().claim_turns(claim)

    async def claim_activities(self, claim: ActivityClaim) -> list[ActivityTask]:
        """See :meth:`Backend.claim_activities`."""
        await self._not_dead()
        return await super().claim_activities(claim)

    async def _call(
        self, kind: str, call: Callable[[], Awaitable[T]], runs: Iterable[str] = ()
    ) -> T:
        self._counts[kind] += 1
        point = (kind, self._counts[kind])
        self.calls.append(point)
        fault = self._plan.pop(point, None)
        if fault == "crash before":
            await self._die()
        if fault == "lost lease at":
            for run_id in runs:
                self.revoke(run_id)
        result = await call()
        if fault == "repeated":
            result = await call()
        if fault == "crash after":
            await self._die()
        return result

    async def _die(self) -> None:
        self.dead = True
        self._crash()
        await self._not_dead()

    async def _not_dead(self) -> None:
        if self.dead:
            silence: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._hanging.append(silence)  # kept: what waits must not be collected as garbage
            await silence
