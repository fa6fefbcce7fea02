"""The steps from which the store's methods are made, within one transaction.

PYTEST_DONT_REWRITE
"""

from __future__ import annotations

import sqlite3

import msgspec
from perdure import Failure

from .._policies import Bucket, child_ended
from .._stored import (
    Policy,
    bucket_of,
    encode_failure,
    encode_headers,
    encode_policy,
    new_deadline,
)
from .._wakeups import ACTIVITIES, TURNS
from ..history import CancelRequested, Parent, encode_event
from ..records import Continuation, NewActivity, Park, StartRequest, Status
from ._statements import SQL


class Tx:
    """One transaction: the connection, the store's time, and whom to wake once it is committed."""

    __slots__ = ("conn", "earliest", "execute", "finished", "now", "topics")

    def __init__(self, conn: sqlite3.Connection, now: int) -> None:
        self.conn = conn
        self.execute = conn.execute
        self.now = now
        self.topics: set[str] = set()
        self.finished: list[str] = []
        self.earliest: int | None = None

    def plan(self, at: int | None) -> None:
        """Something comes due then; who sweeps is woken if it is earlier than what was known."""
        if at is not None and (self.earliest is None or at < self.earliest):
            self.earliest = at

    # --- inbox

    def accept(self, serial: int, entry: bytes, *, carried: bool) -> None:
        """Gives an entry the next number of the run's inbox, and wakes the run."""
        row = self.execute(SQL["accept"], (self.now, serial)).fetchone()
        self.execute(SQL["insert_inbox"], (serial, row[0], entry, carried))
        self.topics.add(TURNS)

    def park(self, serial: int, park: Park) -> None:
        """Puts a run aside and notes the build that failed it."""
        tried = f" {park.build} "
        self.execute(SQL["park_run"], (msgspec.json.encode(park), tried, tried, serial))

    # --- activities

    def bucket(self, queue: str) -> Bucket | None:
        """What a queue's limit allows now, if it has one."""
        row = self.execute(SQL["queue_limit"], (queue,)).fetchone()
        return None if row is None else bucket_of(row)

    def take(self, bucket: Bucket, count: int) -> None:
        """Uses up starts of a limited queue."""
        bucket.take(count)
        self.execute(SQL["set_level"], (bucket.level, bucket.at, bucket.limit.queue))

    def add_activity(
        self, serial: int, new: NewActivity, session_id: str | None, *, limited: bool
    ) -> bool:
        """Writes an activity's record, claimed at once when its token is given.

        Returns:
            ``False`` when it has a token, but must wait for its queue's limit.
        """
        mine = wanted = new.token is not None and session_id is not None
        if wanted and limited:
            bucket = self.bucket(new.queue)
            if bucket is not None:
                mine = bucket.available(self.now) >= 1
                if mine:
                    self.take(bucket, 1)
        deadline = new_deadline(new, self.now, running=mine)
        self.plan(deadline)
        self.execute(
            SQL["insert_activity"],
            (
                serial,
                new.number,
                new.name,
                new.queue,
                new.input,
                encode_policy(new),
                new.scheduled_at,
                1 if mine else 0,
                self.now,
                deadline,
                self.now if mine else 0,
                session_id if mine else None,
                new.token if mine else None,
                new.priority,
                encode_headers(new.headers),
            ),
        )
        if not mine:
            self.topics.add(ACTIVITIES)
        return mine or not wanted

    def offer_activity(
        self,
        serial: int,
        number: int,
        *,
        due_at: int,
        attempt: int,
        policy: Policy,
        scheduled_at: int,
        last_failure: bytes | None,
    ) -> None:
        """Makes an activity claimable from ``due_at`` on."""
        deadline = policy.deadline(now=self.now, scheduled_at=scheduled_at, running=False)
        self.execute(
            SQL["offer_activity"], (due_at, attempt, last_failure, deadline, serial, number)
        )
        self.plan(deadline)
        if due_at <= self.now:
            self.topics.add(ACTIVITIES)
        else:
            self.plan(due_at)

    def end_activity(self, serial: int, number: int, entry: bytes) -> None:
        """Drops an activity's record and gives its outcome to the run."""
        self.execute(SQL["delete_activity"], (serial, number))
        self.accept(serial, entry, carried=False)

    # --- beginning and end of runs

    def create(
        self,
        request: StartRequest,
        *,
        run_id: str,
        more: tuple[bytes, ...] = (),
        closes_with: str | None = None,
    ) -> None:
        """A new run with its first message, and those that move to it."""
        parent = request.parent
        deadline = None if request.run_timeout is None else self.now + request.run_timeout
        count = 1 + len(more)
        cursor = self.execute(
            SQL["insert_run"],
            (
                run_id,
                request.instance_id,
                request.request_id,
                request.workflow,
                request.version,
                request.queue,
                self.now,
                deadline,
                self.now,
                count,
                count,
                parent.instance_id if parent else None,
                parent.run_id if parent else None,
                parent.number if parent else None,
                request.parent_close,
                closes_with or (parent.run_id if parent else None),
            ),
        )
        serial = cursor.lastrowid
        self.execute(SQL["insert_start"], (serial, request.started))
        self.execute(SQL["insert_inbox"], (serial, 1, request.started, False))
        for seq, entry in enumerate(more, 2):
            self.execute(SQL["insert_inbox"], (serial, seq, entry, True))
        self.topics.add(TURNS)
        self.plan(deadline)

    def finish(
        self,
        serial: int,
        run_id: str,
        status: Status,
        *,
        result: bytes | None = None,
        failure: Failure | None = None,
        unread: int | None = None,
    ) -> None:
        """Ends a run and drops what it had pending; children and parent are the caller's part.

        Args:
            unread: messages left in the inbox, where that is known.
        """
        execute = self.execute
        execute(
            SQL["finish_run"], (status.value, self.now, result, encode_failure(failure), serial)
        )
        execute(SQL["clear_activities"], (serial,))
        execute(SQL["clear_timers"], (serial,))
        if unread != 0:
            execute(SQL["clear_inbox"], (serial,))
        self.finished.append(run_id)

    def continue_as_new(
        self,
        serial: int,
        run_id: str,
        base: StartRequest,
        following: Continuation,
        closes_with: str | None,
    ) -> None:
        """Ends a run as continued and creates the next one, unread messages moved."""
        unread = [row[0] for row in self.execute(SQL["unread_carried"], (serial,))]
        self.finish(serial, run_id, Status.CONTINUED)
        self.execute(SQL["set_continued"], (following.run_id, serial))
        self.execute(SQL["adopt_children"], (following.run_id, run_id))
        self.create(
            base,
            run_id=following.run_id,
            more=(*following.carry, *unread),
            closes_with=closes_with,
        )

    def tell_parent(self, parent_run: str | None, entry: bytes | None) -> None:
        """Puts the outcome of a sub-workflow into its parent's inbox."""
        if parent_run is None or entry is None:
            return
        row = self.execute(SQL["running_by_run"], (parent_run,)).fetchone()
        if row is not None:
            self.accept(row[0], entry, carried=False)

    def close_children(self, run_id: str) -> None:
        """Treats the children of an ended run by their parent-close policy."""
        children = self.execute(SQL["live_children"], (run_id,)).fetchall()
        for serial, child_run, policy, instance, parent_run, number in children:
            if policy == "terminate":
                parent = Parent(instance, parent_run, number)
                self.terminate(serial, child_run, parent, "its parent has ended")
            elif policy == "cancel":
                entry = encode_event(CancelRequested("its parent has ended"))
                self.accept(serial, entry, carried=True)

    def terminate(self, serial: int, run_id: str, parent: Parent | None, reason: str) -> None:
        """Ends a run by an operator's will, or its parent's end."""
        failure = Failure("WorkflowTerminatedError", reason, retryable=False)
        self.end_from_outside(serial, run_id, parent, Status.TERMINATED, failure)

    def end_from_outside(
        self,
        serial: int,
        run_id: str,
        parent: Parent | None,
        status: Status,
        failure: Failure,
    ) -> None:
        """Ends a run without its code; parent and children are told."""
        self.finish(serial, run_id, status, failure=failure)
        if parent is not None:
            self.tell_parent(parent.run_id, child_ended(parent, failure, status.value))
        self.close_children(run_id)
