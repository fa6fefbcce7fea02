"""One state machine drives two stores with the same steps and compares what they show.

Memory is compared with each of the others. Servers take longer, so they get fewer programs;
``AGREEMENT_EXAMPLES`` sets how many.
"""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import hypothesis.strategies as st
import msgspec
from hypothesis import HealthCheck, settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from perdure import Failure, Retry
from perdure_backends import Backend, Listing, QueueControl
from perdure_backends.conformance import Harness, TestClock
from perdure_backends.history import Parent, WorkflowStarted, encode_event
from perdure_backends.memory import MemoryBackend
from perdure_backends.records import (
    Action,
    ActivityResult,
    ActivityTask,
    CancelActivity,
    ChildStart,
    CommitResult,
    Continuation,
    Delivery,
    Finish,
    Heartbeat,
    Lease,
    ListFilter,
    Message,
    NewTimer,
    Offer,
    Park,
    QueryAnswer,
    QueryClaim,
    QueryRequest,
    QueueLimit,
    Settled,
    Status,
    TurnTask,
    UpdateAnswer,
)
from stores import make_store

T = TypeVar("T")
IDS = st.sampled_from(["a", "b", "c"])
SESSIONS = st.sampled_from(["s1", "s2"])
SECOND = 1_000_000


class Pair:
    """The same thing in both stores."""

    def __init__(self, one: Any, two: Any) -> None:
        self.both: tuple[Any, ...] = (one, two)


def has_tasks(machine: Agreement) -> bool:
    """There is a claimed turn to commit."""
    return bool(machine.tasks)


def has_attempts(machine: Agreement) -> bool:
    """There is a claimed activity to end."""
    return bool(machine.attempts)


class Agreement(RuleBasedStateMachine):
    """Both stores, the same clock, the same steps."""

    other: ClassVar[str]

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.clock = TestClock()
        self.folder = tempfile.TemporaryDirectory()
        self.stores: tuple[Backend, Backend] = (
            MemoryBackend(clock=self.clock),
            make_store(self.other, Path(self.folder.name), self.clock),
        )
        self.harnesses = [Harness(store, self.clock) for store in self.stores]
        for store in self.stores:
            self.run(store.open())
        self.count = 0
        self.tasks: list[Pair] = []
        self.attempts: list[Pair] = []
        self.numbers = 0

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Runs on the machine's loop."""
        return self.loop.run_until_complete(coroutine)

    def teardown(self) -> None:
        for store in self.stores:
            self.run(store.aclose())
        self.loop.close()
        self.folder.cleanup()

    def fresh(self, prefix: str) -> str:
        """An id, the same for both stores."""
        self.count += 1
        return f"{prefix}{self.count}"

    def same(self, results: list[Any], what: str) -> Any:
        """Both answers, which must agree."""
        assert results[0] == results[1], (
            f"{what}: {results[0]!r} in memory, {results[1]!r} in {self.other}"
        )
        return results[0]

    @initialize()
    def sessions(self) -> None:
        for harness in self.harnesses:
            for name in ("s1", "s2"):
                self.run(harness.session(name, lease=60))
        for name in ("a", "b"):
            self.start(name, "error", "allow", None)
        self.claim("s1", "plain", "b")

    # --- steps

    @rule(
        name=IDS,
        running=st.sampled_from(["error", "use_existing", "replace"]),
        finished=st.sampled_from(["allow", "reject"]),
        timeout=st.sampled_from([None, None, 20 * SECOND]),
    )
    def start(self, name: str, running: str, finished: str, timeout: int | None) -> None:
        run_id = self.fresh("run")
        more: dict[str, Any] = {
            "if_running": running,
            "if_finished": finished,
            "run_timeout": timeout,
        }
        results = [self.run(h.start(name, run_id=run_id, **more)) for h in self.harnesses]
        self.same(results, "start")

    @rule(name=IDS, repeated=st.booleans())
    def signal(self, name: str, repeated: bool) -> None:
        message = "repeated" if repeated else self.fresh("message")
        results = [self.run(h.signal(name, "x", message_id=message)) for h in self.harnesses]
        self.same(results, "signal")

    @rule(
        session=SESSIONS,
        kind=st.sampled_from(["plain", "plain", "plain", "parked"]),
        build=st.sampled_from("bc"),
    )
    def claim(self, session: str, kind: str, build: str) -> None:
        # Never alone: that takes one of several in an order that the contract leaves open.
        answers = [
            self.run(h.claim(session, limit=100, parked=kind == "parked", build=build))
            for h in self.harnesses
        ]
        self.same([a.suspects for a in answers], "suspects")
        by_run = [{task.run_id: task for task in answer.tasks} for answer in answers]
        self.same([sorted(tasks) for tasks in by_run], "claimed")
        for run_id in sorted(by_run[0]):
            pair = Pair(by_run[0][run_id], by_run[1][run_id])
            shown = [(t.turn, t.inbox, t.events, t.parent, t.queue) for t in pair.both]
            self.same(shown, f"task {run_id}")
            self.tasks = [*self.tasks[-3:], pair]

    def _commit(self, pair: Pair, **more: Any) -> None:
        commit_id = self.fresh("commit")
        results: list[Any] = []
        for harness, task in zip(self.harnesses, pair.both, strict=True):
            fields = {key: make(task) if callable(make) else make for key, make in more.items()}
            item = harness.turn(task, commit_id=commit_id, **fields)
            outcome = self.run(harness.commit_items(item))[0]
            results.append((outcome.result, outcome.deferred))
        if self.same(results, "commit")[0] is CommitResult.APPLIED:
            # The next commit of this lease follows the turn that was just applied.
            pair.both = tuple(
                msgspec.structs.replace(task, turn=task.turn + 1, inbox=()) for task in pair.both
            )

    @precondition(has_tasks)
    @rule(
        data=st.data(),
        release=st.booleans(),
        what=st.sampled_from(
            ["nothing", "activity", "timer", "both", "child", "deliver", "cancel", "park", "again"]
        ),
    )
    def commit(self, data: st.DataObject, release: bool, what: str) -> None:
        pair = data.draw(st.sampled_from(self.tasks))
        self.numbers += 1
        number = self.numbers
        harness = self.harnesses[0]
        more: dict[str, Any] = {"release": release}
        due = self.clock.time + 5 * SECOND
        new = harness.activity(
            number,
            priority=data.draw(st.sampled_from([0, 0, 1])),
            queue=data.draw(st.sampled_from(["default", "default", "limited"])),
            retry=Retry(attempts=2, interval=1),
            start_to_close=data.draw(st.sampled_from([None, 3 * SECOND])),
            schedule_to_start=data.draw(st.sampled_from([None, 4 * SECOND])),
            token=data.draw(st.sampled_from([None, f"token{number}"])),
        )
        if data.draw(st.booleans()):
            more["published"] = b"%d" % number
            more["answers"] = (
                UpdateAnswer(update_id=data.draw(IDS), stage="accepted"),
                UpdateAnswer(update_id="u", stage="completed", failure=Failure("E", str(number))),
            )
        if what in ("activity", "both", "cancel"):
            more["activities"] = (new,)
        if what in ("timer", "both"):
            more["timers"] = (NewTimer(number, due),)
        if what == "cancel":
            confirm = data.draw(st.booleans())
            more["cancelled_activities"] = (CancelActivity(max(1, number - 2), confirm),)
            more["cancelled_timers"] = (max(1, number - 1),)
        if what == "child":
            name, run_id = data.draw(IDS), self.fresh("run")
            policy = data.draw(st.sampled_from(["terminate", "cancel", "abandon"]))

            def child(task: TurnTask) -> tuple[ChildStart, ...]:
                return (
                    ChildStart(
                        request=harness.request(
                            name,
                            run_id=run_id,
                            parent=Parent(task.instance_id, task.run_id, number),
                            parent_close=policy,
                        ),
                        refused=b"refused",
                    ),
                )

            more["outbox"] = child
        if what == "deliver":
            message = Message(
                instance_id=data.draw(IDS), message_id=self.fresh("delivered"), entry=b"delivered"
            )
            more["outbox"] = (Delivery(message=message, accepted=b"yes", refused=b"no"),)
        if what == "park":
            park = Park(reason="mismatch", message="", build=data.draw(st.sampled_from("bc")))
            more.update(park=park, turn=0, record=b"", events=0, consumed=())
        if what == "again":

            def skipped(task: TurnTask) -> int:
                return task.turn + 2

            more["turn"] = skipped
        self._commit(pair, **more)

    @precondition(has_tasks)
    @rule(data=st.data(), status=st.sampled_from([Status.COMPLETED, Status.FAILED]))
    def finish(self, data: st.DataObject, status: Status) -> None:

        def end(task: TurnTask) -> Finish:
            return self.harnesses[0].finish(
                task, status=status, failure=Failure("E", ""), to_parent=b"ended"
            )

        self._commit(data.draw(st.sampled_from(self.tasks)), finish=end)

    @precondition(has_tasks)
    @rule(data=st.data())
    def continue_as_new(self, data: st.DataObject) -> None:
        run_id = self.fresh("run")
        following = Continuation(
            run_id=run_id,
            workflow="flow",
            version=1,
            queue="default",
            started=encode_event(WorkflowStarted("flow", 1, "default", b"[]", 1)),
        )
        finish = Finish(status=Status.CONTINUED, seen=0, continuation=following)
        self._commit(data.draw(st.sampled_from(self.tasks)), finish=finish)

    @precondition(has_tasks)
    @rule(data=st.data())
    def settle_in_a_turn(self, data: st.DataObject) -> None:
        number = data.draw(st.integers(max(1, self.numbers - 3), max(1, self.numbers)))
        settled = (Settled(number, f"token{number}"),)
        self._commit(data.draw(st.sampled_from(self.tasks)), settled=settled, consumed=())

    @rule(session=SESSIONS)
    def claim_activities(self, session: str) -> None:
        answers = [
            self.run(h.claim_activities(session, limit=100, queues=("default", "limited")))
            for h in self.harnesses
        ]
        # One that the limit held back in one store alone would be another one in the other store.
        count = [len(answer) for answer in answers]
        self.same(count, "number of activities claimed")
        keyed = [{(a.run_id, a.number): a for a in answer} for answer in answers]
        self.same([sorted(tasks) for tasks in keyed], "activities claimed")
        for key in sorted(keyed[0]):
            pair = Pair(keyed[0][key], keyed[1][key])
            self.same([(a.attempt, a.deadline, a.details) for a in pair.both], f"activity {key}")
            self.attempts = [*self.attempts[-3:], pair]

    @precondition(has_attempts)
    @rule(
        data=st.data(),
        how=st.sampled_from(["entry", "retry", "hand_back", "beat", "detach", "fail"]),
    )
    def end_attempt(self, data: st.DataObject, how: str) -> None:
        pair = data.draw(st.sampled_from(self.attempts))
        results: list[Any] = []
        for store, task in zip(self.stores, pair.both, strict=True):
            attempt: ActivityTask = task
            named: dict[str, Any] = {
                "run_id": attempt.run_id,
                "number": attempt.number,
                "token": attempt.token,
            }
            if how == "beat":
                results.append(self.run(store.heartbeat([Heartbeat(**named, details=b"1")])))
                continue
            if how == "entry":
                named["entry"] = b"outcome"
            elif how == "detach":
                named["detach"] = True
            elif how == "fail":
                named["failure"] = Failure("E", "y")
            elif how == "retry":
                named.update(retry_in=2 * SECOND, failure=Failure("E", "x"))
            else:
                named["hand_back"] = True
            results.append(self.run(store.settle([ActivityResult(**named)])))
        self.same(results, how)

    @precondition(has_tasks)
    @rule(data=st.data())
    def release(self, data: st.DataObject) -> None:
        pair = data.draw(st.sampled_from(self.tasks))
        for store, task in zip(self.stores, pair.both, strict=True):
            self.run(store.release([Lease(task.run_id, task.token)]))

    @rule(name=IDS, query=st.sampled_from(["q1", "q2", "q3"]))
    def ask(self, name: str, query: str) -> None:
        request = QueryRequest(id=query, instance_id=name, entry=b"?", lifetime=20 * SECOND)
        self.same([self.run(store.ask([request])) for store in self.stores], "ask")

    @rule(session=SESSIONS)
    def claim_queries(self, session: str) -> None:
        claim = QueryClaim(
            session_id=session, queues=("default",), offers=(Offer("flow", 1),), limit=100
        )
        answers = [self.run(store.claim_queries(claim)) for store in self.stores]
        keyed = [sorted((task.id, task.run_id, task.turn) for task in a) for a in answers]
        self.same(keyed, "queries claimed")

    @rule(query=st.sampled_from(["q1", "q2", "q3"]), read=st.booleans())
    def answer(self, query: str, read: bool) -> None:
        for store in self.stores:
            self.run(store.answer([QueryAnswer(id=query, result=query.encode())]))
        if read:
            results = [self.run(store.read_answers([query, "q1"])) for store in self.stores]
            self.same(results, "answers")

    @rule(per_second=st.sampled_from([None, 0.5, 2.0]))
    def limit(self, per_second: float | None) -> None:
        limit = None
        if per_second is not None:
            limit = QueueLimit(queue="limited", per_second=per_second, burst=2)
        for store in self.stores:
            assert isinstance(store, QueueControl)
            self.run(store.set_queue_limit("limited", limit))

    @rule(name=IDS, repeated=st.booleans())
    def start_with_message(self, name: str, repeated: bool) -> None:
        run_id = self.fresh("run")
        message = Message(
            instance_id=name,
            message_id="with-start" if repeated else self.fresh("with-start"),
            entry=b"message",
        )
        results = [
            self.run(h.start(name, run_id=run_id, if_running="use_existing", messages=(message,)))
            for h in self.harnesses
        ]
        self.same(results, "start with a message")

    @rule(name=IDS, action=st.sampled_from(list(Action)))
    def control(self, name: str, action: Action) -> None:
        results = [self.run(store.control(name, action, "why")) for store in self.stores]
        self.same(results, action)

    @rule(name=IDS)
    def remove(self, name: str) -> None:
        self.same([self.run(store.remove(name)) for store in self.stores], "remove")

    @rule(seconds=st.sampled_from([1, 2, 5, 100]))
    def time_passes(self, seconds: int) -> None:
        self.clock.advance(seconds)
        results: list[Any] = []
        for store, harness in zip(self.stores, self.harnesses, strict=True):
            report = self.run(store.sweep("sweeper", 1000))
            results.append(
                (report.fired, report.timed_out, sorted(report.sessions_lost), report.next_due)
            )
            for name in report.sessions_lost:
                self.run(harness.session(name, lease=60))
        self.same(results, "sweep")

    # --- what must always agree

    @invariant()
    def everything_shown_agrees(self) -> None:
        shown: list[Any] = []
        for store in self.stores:
            assert isinstance(store, Listing)
            page = self.run(store.list_instances(ListFilter(all_runs=True), None, 1000))
            runs = {}
            for record in page.instances:
                pending = self.run(store.pending(record.run_id))
                history = self.run(store.read_history(record.run_id, 0, 100))
                activities = sorted(
                    (a.number, a.state, a.attempt, a.owner, a.last_failure)
                    for a in pending.activities
                )
                runs[record.run_id] = (
                    record,
                    activities,
                    sorted(
                        tuple(t.__getattribute__(f) for f in ("number", "due_at"))
                        for t in pending.timers
                    ),
                    pending.inbox,
                    history,
                )
            shown.append(runs)
        updates = [
            [self.run(store.read_updates(name, ["a", "b", "u"])) for name in "abc"]
            for store in self.stores
        ]
        assert updates[0] == updates[1], "updates"
        assert list(shown[0]) == list(shown[1]), "runs in order"
        for run_id, one in shown[0].items():
            assert one == shown[1][run_id], run_id


def agreement(other: str, examples: int) -> Any:
    """A test case that compares memory with another store."""
    examples = int(os.environ.get("AGREEMENT_EXAMPLES", examples))
    machine: Any = type(f"Agreement_{other}", (Agreement,), {"other": other})
    machine.TestCase.settings = settings(
        max_examples=examples,
        stateful_step_count=50,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )
    return machine.TestCase


TestSqlite = agreement("sqlite", 100)
TestPostgres = agreement("postgres", 12)
TestMysql = agreement("mysql", 12)
TestRedis = agreement("redis", 12)
