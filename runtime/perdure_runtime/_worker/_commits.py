"""From what a turn did to the one commit that makes it durable.

PYTEST_DONT_REWRITE
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from typing import Final

import msgspec
from perdure import Failure, InternalError
from perdure_backends import history as h
from perdure_backends.records import (
    CancelActivity,
    ChildStart,
    Continuation,
    Delivery,
    Finish,
    Message,
    NewActivity,
    NewTimer,
    Park,
    Settled,
    Status,
    TurnCommit,
    UpdateAnswer,
)

from .._core import Execution, Fault, TurnResult
from .._durations import microseconds
from .._starting import start_request
from ._live import Arrival, Live


def turn_commit(
    live: Live,
    result: TurnResult,
    arrivals: Sequence[Arrival],
    *,
    commit_id: str,
    reserve: Callable[[NewActivity], str | None],
) -> TurnCommit:
    """The commit of a turn without a fault; one of nothing but rejected updates adds no turn.

    Args:
        arrivals: what the turn was given.
        reserve: a token for an activity that this worker starts itself, or ``None``.
    """
    execution = live.execution
    if execution is None:
        raise InternalError("a turn without an execution")
    effects = _Effects(live, execution, result, reserve)
    for event in result.events:
        if isinstance(event, h.Command):
            effects.add(event)
    finish = None
    if result.end is not None:
        finish = _finish(live, execution, result.end)
    return TurnCommit(
        instance_id=live.task.instance_id,
        run_id=live.run_id,
        token=live.task.token,
        commit_id=commit_id,
        turn=execution.turn if result.events else 0,
        record=_record(live, execution, result),
        events=len(result.events),
        consumed=tuple(arrival.seq for arrival in arrivals if arrival.seq),
        settled=tuple(Settled(a.number, a.token) for a in arrivals if not a.seq),
        activities=tuple(effects.activities),
        cancelled_activities=tuple(effects.cancelled_activities),
        timers=tuple(effects.timers.values()),
        cancelled_timers=tuple(effects.cancelled_timers),
        outbox=tuple(effects.outbox),
        finish=finish,
        published=result.published,
        answers=answers_of(result),
    )


def _record(live: Live, execution: Execution, result: TurnResult) -> bytes:
    if not result.events:
        return b""
    replayed, live.replayed = live.replayed, False
    return h.encode_turn(
        execution.turn, execution.microseconds, result.events, result.lines, replayed=replayed
    )


def answers_of(result: TurnResult) -> tuple[UpdateAnswer, ...]:
    """How the updates stand that the turn has seen."""
    answers: dict[str, UpdateAnswer] = {}
    for event in result.events if result.updates else ():
        if isinstance(event, h.UpdateReceived):
            answers[event.update_id] = UpdateAnswer(update_id=event.update_id, stage="accepted")
        elif isinstance(event, h.UpdateAnswered):
            answers[event.update_id] = UpdateAnswer(
                update_id=event.update_id,
                stage="completed",
                result=event.result,
                failure=event.failure,
            )
    for update_id, failure in result.rejected:
        answers[update_id] = UpdateAnswer(update_id=update_id, stage="rejected", failure=failure)
    for update_id in result.abandoned:
        answers[update_id] = UpdateAnswer(
            update_id=update_id, stage="completed", failure=_ABANDONED
        )
    return tuple(answers.values())


_ABANDONED: Final = Failure(
    "UpdateAbandoned", "the run ended while the update's handler was running", retryable=False
)


def park_commit(live: Live, fault: Fault, *, commit_id: str, build: str, at: int) -> TurnCommit:
    """The commit that puts an instance aside; its history stays as it is."""
    return TurnCommit(
        instance_id=live.task.instance_id,
        run_id=live.run_id,
        token=live.task.token,
        commit_id=commit_id,
        turn=0,
        park=Park(
            reason=fault.reason, message=fault.message, build=build, details=fault.details, at=at
        ),
    )


def failure_commit(
    live: Live, fault: Fault, *, commit_id: str, failure: Failure, seen: int
) -> TurnCommit:
    """The commit that ends an instance because of a fault, where that was asked for."""
    parent = live.task.parent
    entry = h.encode_event(h.ChildFailed(parent.number, failure)) if parent else None
    return TurnCommit(
        instance_id=live.task.instance_id,
        run_id=live.run_id,
        token=live.task.token,
        commit_id=commit_id,
        turn=0,
        finish=Finish(status=Status.FAILED, seen=seen, failure=failure, to_parent=entry),
    )


class _Effects:
    """Sorts a turn's commands into what the store has to do."""

    def __init__(
        self,
        live: Live,
        execution: Execution,
        result: TurnResult,
        reserve: Callable[[NewActivity], str | None],
    ) -> None:
        self._live = live
        self._execution = execution
        self._result = result
        self._reserve = reserve
        self._gone = {
            event.number
            for event in result.events
            if isinstance(event, (h.ActivityCancelRequested, h.ChildCancelRequested))
        }
        self.activities: list[NewActivity] = []
        self.cancelled_activities: list[CancelActivity] = []
        self.timers: dict[int, NewTimer] = {}
        self.cancelled_timers: list[int] = []
        self.outbox: list[ChildStart | Delivery] = []

    def add(self, command: h.Command) -> None:
        """One command, in order."""
        if isinstance(command, h.ActivityScheduled):
            self._activity(command)
        elif isinstance(command, h.ActivityCancelRequested):
            self._cancel_activity(command)
        elif isinstance(command, h.TimerStarted):
            due = self._execution.microseconds + command.duration
            self.timers[command.number] = NewTimer(command.number, due)
        elif isinstance(command, h.TimerCancelled):
            self.cancelled_timers.append(command.number)
        elif isinstance(command, h.ChildScheduled):
            self._child(command)
        elif isinstance(command, h.ChildCancelRequested):
            self._cancel_child(command)
        elif isinstance(command, h.SignalSent):
            entry = h.SignalReceived(command.name, command.payload, command.headers)
            self._send(command, entry)
        elif isinstance(command, h.CancelSent):
            self._send(command, h.CancelRequested(command.reason))

    def _activity(self, command: h.ActivityScheduled) -> None:
        if command.local:
            return  # it has run within the turn
        if self._result.end is not None:
            return  # the run is over: nobody would hear of the outcome
        options = self._result.activities[command.number].activity.default_options
        if command.number in self._gone and options.cancellation != "abandon":
            return  # scheduled and cancelled within one turn: never to be started
        new = NewActivity(
            number=command.number,
            name=command.name,
            queue=command.queue,
            input=command.input,
            scheduled_at=self._execution.microseconds,
            retry=options.retry,
            start_to_close=microseconds(options.start_to_close),
            schedule_to_close=microseconds(options.schedule_to_close),
            schedule_to_start=microseconds(options.schedule_to_start),
            heartbeat=microseconds(options.heartbeat),
            priority=options.priority,
            headers=command.headers,
        )
        token = self._reserve(new)
        self.activities.append(new if token is None else _with_token(new, token))

    def _cancel_activity(self, command: h.ActivityCancelRequested) -> None:
        scheduled = self._result.activities.get(command.number)
        if scheduled is not None:
            if scheduled.command.local:
                return
            if scheduled.activity.default_options.cancellation == "wait":
                # Never started, so its end is confirmed at once: the store does that.
                self.cancelled_activities.append(CancelActivity(command.number, True))
            return
        self.cancelled_activities.append(
            CancelActivity(command.number, self._execution.awaits_confirmation(command.number))
        )

    def _child(self, command: h.ChildScheduled) -> None:
        if command.number in self._gone:
            return
        live, workflow = self._live, self._result.children[command.number].workflow
        request_id = f"{live.run_id}/{command.number}"
        parent = h.Parent(live.task.instance_id, live.run_id, command.number)
        refusal = h.ChildFailed(
            command.number,
            Failure(
                "InstanceExistsError",
                f"an instance with id {command.instance_id!r} is there already",
                retryable=False,
            ),
        )
        request = start_request(
            workflow,
            instance_id=command.instance_id,
            run_id=_hash(request_id),
            request_id=request_id,
            queue=command.queue,
            input=command.input,
            seed=_seed(request_id),
            parent=parent,
            headers=command.headers,
        )
        self.outbox.append(ChildStart(request=request, refused=h.encode_event(refusal)))

    def _cancel_child(self, command: h.ChildCancelRequested) -> None:
        if command.number in self._result.children:
            return
        instance_id = self._execution.calls.child_ids.get(command.number)
        if instance_id is None:
            return
        message = Message(
            instance_id=instance_id,
            message_id=f"{self._live.run_id}/{command.number}/cancel",
            entry=h.encode_event(h.CancelRequested("its parent cancelled it")),
        )
        self.outbox.append(Delivery(message=message))

    def _send(self, command: h.SignalSent | h.CancelSent, entry: h.Event) -> None:
        number = command.number
        refusal = Failure(
            "InstanceNotFoundError",
            f"no running instance has the id {command.instance_id!r}",
            retryable=False,
        )
        message = Message(
            instance_id=command.instance_id,
            message_id=f"{self._live.run_id}/{number}",
            entry=h.encode_event(entry),
        )
        self.outbox.append(
            Delivery(
                message=message,
                accepted=h.encode_event(h.SignalAccepted(number)),
                refused=h.encode_event(h.SignalRefused(number, refusal)),
            )
        )


def _finish(
    live: Live,
    execution: Execution,
    end: h.WorkflowCompleted | h.WorkflowFailed | h.WorkflowContinuedAsNew,
) -> Finish:
    parent = live.task.parent
    if isinstance(end, h.WorkflowContinuedAsNew):
        return Finish(
            status=Status.CONTINUED,
            seen=live.last_seq,
            continuation=_continuation(live, execution, end),
        )
    if isinstance(end, h.WorkflowCompleted):
        outcome = h.ChildCompleted(parent.number, end.result) if parent else None
        return Finish(
            status=Status.COMPLETED,
            seen=live.last_seq,
            result=end.result,
            to_parent=h.encode_event(outcome) if outcome else None,
        )
    failed = h.ChildFailed(parent.number, end.failure, end.kind) if parent else None
    return Finish(
        status=Status.CANCELLED if end.kind == "cancelled" else Status.FAILED,
        seen=live.last_seq,
        failure=end.failure,
        to_parent=h.encode_event(failed) if failed else None,
    )


def _continuation(live: Live, execution: Execution, end: h.WorkflowContinuedAsNew) -> Continuation:
    queue = execution.queue
    started = h.WorkflowStarted(
        end.workflow,
        end.version,
        queue,
        end.input,
        _seed(end.run_id),
        live.task.parent,
        live.run_id,
        execution.started_event.headers if execution.started_event else {},
        execution.run_timeout,
    )
    return Continuation(
        run_id=end.run_id,
        workflow=end.workflow,
        version=end.version,
        queue=queue,
        started=h.encode_event(started),
        run_timeout=execution.run_timeout,
        carry=tuple(h.encode_event(event) for event in execution.unread_messages()),
    )


def _with_token(new: NewActivity, token: str) -> NewActivity:
    return msgspec.structs.replace(new, token=token)


def _hash(text: str) -> str:
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def _seed(text: str) -> int:
    digest = hashlib.blake2b(b"seed\x00" + text.encode(), digest_size=7).digest()
    return int.from_bytes(digest, "big")
