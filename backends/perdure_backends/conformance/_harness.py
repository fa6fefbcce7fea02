"""What the cases are written with: a clock, a store, and short ways to say what happens.

PYTEST_DONT_REWRITE
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeAlias

from perdure import Retry

from ..contract import Backend
from ..history import (
    ActivityCompleted,
    Parent,
    SignalReceived,
    WorkflowStarted,
    encode_event,
    encode_turn,
)
from ..records import (
    ActivityClaim,
    ActivityTask,
    ClaimedTurns,
    CommitOutcome,
    CommitResult,
    Finish,
    Message,
    NewActivity,
    Offer,
    SendResult,
    SessionStart,
    StartOutcome,
    StartRequest,
    Status,
    TurnClaim,
    TurnCommit,
    TurnTask,
)

SECOND: Final = 1_000_000
START: Final = 1_700_000_000 * SECOND


class ConformanceError(Exception):
    """The store does not do what the contract says."""


def expect(actual: Any, wanted: Any, what: str) -> None:
    """Raises unless both are equal."""
    if actual != wanted:
        raise ConformanceError(f"{what}: expected {wanted!r}, got {actual!r}")


def expect_true(condition: object, what: str) -> None:
    """Raises unless the condition holds."""
    if not condition:
        raise ConformanceError(what)


class TestClock:
    """A store's clock that stands still until it is moved. Microseconds."""

    __test__ = False

    def __init__(self) -> None:
        self.time = START

    def __call__(self) -> int:
        return self.time

    def advance(self, seconds: float) -> None:
        """Moves the time forward."""
        self.time += round(seconds * SECOND)


Make: TypeAlias = Callable[[TestClock], Backend]


class Harness:
    """A fresh store, its clock, and short forms of the contract's calls."""

    def __init__(self, backend: Backend, clock: TestClock) -> None:
        self.backend = backend
        self.clock = clock
        self._ids = itertools.count(1)

    def fresh(self, prefix: str) -> str:
        """An id that was not used yet."""
        return f"{prefix}-{next(self._ids)}"

    async def session(self, name: str = "s1", *, lease: float = 15.0) -> str:
        """Opens a session."""
        await self.backend.open_session(
            SessionStart(id=name, build="b1", lease=round(lease * SECOND))
        )
        return name

    def request(self, instance_id: str, **more: Any) -> StartRequest:
        """A start of workflow ``flow`` version 1 on queue ``default``."""
        run_id = str(more.pop("run_id", None) or self.fresh("run"))
        queue = str(more.pop("queue", "default"))
        workflow = str(more.pop("workflow", "flow"))
        version = int(more.pop("version", 1))
        parent: Parent | None = more.get("parent")
        started = WorkflowStarted(workflow, version, queue, b"[]", 7, parent)
        fields: dict[str, Any] = {
            "instance_id": instance_id,
            "run_id": run_id,
            "request_id": run_id,
            "workflow": workflow,
            "version": version,
            "queue": queue,
            "started": encode_event(started),
        }
        return StartRequest(**{**fields, **more})

    async def start(self, instance_id: str, **more: Any) -> StartOutcome:
        """Starts one instance."""
        return (await self.backend.start([self.request(instance_id, **more)]))[0]

    async def signal(
        self, instance_id: str, name: str, *, message_id: str | None = None
    ) -> SendResult:
        """Sends one signal without a payload."""
        message = Message(
            instance_id=instance_id,
            message_id=message_id or self.fresh("message"),
            entry=encode_event(SignalReceived(name, b"null")),
        )
        return (await self.backend.send([message]))[0]

    async def claim(
        self,
        session: str = "s1",
        *,
        queues: tuple[str, ...] = ("default",),
        offers: tuple[tuple[str, int], ...] = (("flow", 1),),
        limit: int = 10,
        build: str = "b1",
        alone: bool = False,
        parked: bool = False,
    ) -> ClaimedTurns:
        """Claims turns."""
        return await self.backend.claim_turns(
            TurnClaim(
                session_id=session,
                build=build,
                queues=queues,
                offers=tuple(Offer(*offer) for offer in offers),
                limit=limit,
                alone=alone,
                parked=parked,
            )
        )

    async def claim_one(self, session: str = "s1", **more: Any) -> TurnTask:
        """Claims turns and insists on exactly one."""
        claimed = await self.claim(session, **more)
        expect(len(claimed.tasks), 1, "tasks claimed")
        return claimed.tasks[0]

    async def claim_none(self, session: str = "s1", **more: Any) -> None:
        """Insists that there is nothing to claim."""
        claimed = await self.claim(session, **more)
        expect(claimed.tasks, (), "tasks claimed")

    def turn(self, task: TurnTask, **more: Any) -> TurnCommit:
        """A commit of one turn that consumes everything the task brought."""
        number = int(more.pop("turn", task.turn + 1))
        fields: dict[str, Any] = {
            "instance_id": task.instance_id,
            "run_id": task.run_id,
            "token": task.token,
            "commit_id": self.fresh("commit"),
            "turn": number,
            "record": encode_turn(number, self.clock.time, []),
            "events": 1,
            "consumed": tuple(entry.seq for entry in task.inbox),
        }
        return TurnCommit(**{**fields, **more})

    async def commit(self, task: TurnTask, **more: Any) -> CommitResult:
        """Commits one turn; see :meth:`turn`."""
        return (await self.commit_items(self.turn(task, **more)))[0].result

    async def commit_items(self, *items: TurnCommit) -> list[CommitOutcome]:
        """Commits several."""
        return await self.backend.commit(items)

    async def applied(self, task: TurnTask, **more: Any) -> None:
        """Commits one turn and insists that it is applied."""
        expect(await self.commit(task, **more), CommitResult.APPLIED, "commit")

    def finish(self, task: TurnTask, **more: Any) -> Finish:
        """A completion that has seen everything that the task brought."""
        seen = max((entry.seq for entry in task.inbox), default=0)
        fields: dict[str, Any] = {"status": Status.COMPLETED, "seen": seen, "result": b"1"}
        return Finish(**{**fields, **more})

    async def run_to_end(self, instance_id: str, session: str = "s1") -> None:
        """Starts an instance and finishes it in its first turn."""
        await self.start(instance_id)
        task = await self.claim_one(session)
        await self.applied(task, finish=self.finish(task))

    def activity(self, number: int = 1, **more: Any) -> NewActivity:
        """A record of activity ``act`` on queue ``default``."""
        fields: dict[str, Any] = {
            "number": number,
            "name": "act",
            "queue": "default",
            "input": b"[1]",
            "scheduled_at": self.clock.time,
            "retry": Retry(),
        }
        return NewActivity(**{**fields, **more})

    async def claim_activities(
        self, session: str = "s1", *, limit: int = 10, alone: bool = False, **more: Any
    ) -> list[ActivityTask]:
        """Claims activities."""
        return await self.backend.claim_activities(
            ActivityClaim(
                session_id=session,
                queues=tuple(more.get("queues", ("default",))),
                names=tuple(more.get("names", ("act",))),
                limit=limit,
                alone=alone,
            )
        )

    async def claim_activity(self, session: str = "s1", **more: Any) -> ActivityTask:
        """Claims activities and insists on exactly one."""
        tasks = await self.claim_activities(session, **more)
        expect(len(tasks), 1, "activities claimed")
        return tasks[0]

    async def scheduled(self, instance_id: str, **activity: Any) -> TurnTask:
        """An instance whose first turn scheduled one activity; its lease is handed back."""
        await self.start(instance_id)
        task = await self.claim_one()
        await self.applied(task, activities=(self.activity(**activity),), release=True)
        return task

    async def state(self, instance_id: str) -> str:
        """The state of the current run, in a word."""
        record = await self.backend.describe(instance_id)
        return record.state if record is not None else "none"

    def completed(self, number: int = 1) -> bytes:
        """The inbox entry of a completed activity."""
        return encode_event(ActivityCompleted(number, b"2"))


@dataclasses.dataclass(frozen=True)
class Case:
    """One thing that the contract says."""

    name: str
    check: Callable[[Harness], Awaitable[None]]

    def __str__(self) -> str:
        return self.name


CASES: Final[list[Case]] = []
"""All cases. Filled by the modules beside this one."""


def case(check: Callable[[Harness], Awaitable[None]]) -> Callable[[Harness], Awaitable[None]]:
    """Adds a function to the cases, under its own name."""
    CASES.append(Case(getattr(check, "__name__", "case"), check))
    return check


async def run_case(case: Case, make: Make) -> None:
    """Runs a case against a store that ``make`` makes with the clock it is given.

    Raises:
        ConformanceError: the store does not do what the contract says.
    """
    clock = TestClock()
    backend = make(clock)
    await backend.open()
    try:
        await case.check(Harness(backend, clock))
    finally:
        await backend.aclose()
