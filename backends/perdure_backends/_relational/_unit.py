"""A unit of work: rows that were loaded and locked, and what shall be written.

Whatever it reads for a decision is locked until it is committed. Runs are locked in the order of
their serials, a run before its activities, activities before limits of queues: units that lock in
one go can't deadlock. Where a unit finds out later that it concerns a further run, they may, and
the store's retry is for that.

PYTEST_DONT_REWRITE
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any, Final

from .._images import digest
from .._policies import Bucket
from .._stored import bucket_of
from ..history import Parent
from ._database import Database, Link, Write
from ._rows import Activity, Run

_STATEMENTS: Final = (
    *("clear_inbox", "clear_timers", "clear_activities"),
    *("delete_inbox", "delete_timers", "delete_activities"),
    *("insert_runs", "insert_starts", "insert_outcomes", "insert_inbox", "insert_messages"),
    *("insert_history", "insert_timers", "insert_activities", "update_activities"),
    *("put_updates", "put_published"),
)
"""Statements of a unit, in the order in which they must run where they run one by one."""


class Unit:
    """Loads, locks, and collects.

    Args:
        link: the connection.
        now: the store's time.
        next_serial: numbers for new runs.
        limits: queues may have limits.
        database: says which instances lie elsewhere.
    """

    def __init__(
        self,
        link: Link,
        now: int,
        next_serial: Callable[[], Awaitable[int]],
        *,
        limits: bool,
        database: Database,
    ) -> None:
        self.fetch = link.fetch
        self.fetch_each = link.fetch_each
        self.claim_at_once = link.claim_at_once
        self.is_here = database.is_here
        self.others = database.others
        self.now = now
        self.limits = limits
        self.topics: set[str] = set()
        self.finished: list[str] = []
        self.posted: set[str] = set()
        self.earliest: int | None = None
        self._next_serial = next_serial
        self._runs: dict[int, Run] = {}
        self._by_id: dict[str, Run | None] = {}
        self._current: dict[str, Run | None] = {}
        self._children: dict[str, list[Run]] = {}
        self._activities: defaultdict[int, dict[int, Activity | None]] = defaultdict(dict)
        self._inbox: defaultdict[int, dict[int, tuple[bytes, bool]]] = defaultdict(dict)
        self._timers: defaultdict[int, dict[int, int]] = defaultdict(dict)
        self._known: dict[tuple[int, bytes], bool] = {}
        self._buckets: dict[str, Bucket | None] = {}
        self._cleared: set[int] = set()
        self._rows: defaultdict[str, list[tuple[Any, ...]]] = defaultdict(list)
        self._updates: dict[tuple[int, str], tuple[Any, ...]] = {}
        self._published: dict[int, bytes] = {}
        self._taken: set[str] = set()
        self._after: defaultdict[str, list[tuple[Any, ...]]] = defaultdict(list)

    def plan(self, at: int | None) -> None:
        """Something comes due then; who sweeps is woken if it is earlier than what was known."""
        if at is not None and (self.earliest is None or at < self.earliest):
            self.earliest = at

    # --- runs

    def take_in(self, rows: Iterable[Sequence[Any]]) -> list[Run]:
        """Runs from rows; what was loaded before stays as it has become since."""
        runs: list[Run] = []
        for row in rows:
            run = self._runs.get(row[0])
            if run is None:
                run = self._runs[row[0]] = Run(*row)
                self._by_id[run.run_id] = run
                if run.current_of is not None:
                    self._current.setdefault(run.instance_id, run)
            runs.append(run)
        return runs

    async def load_runs(self, run_ids: Iterable[str]) -> None:
        """Locks and loads runs by their ids."""
        missing = {one for one in run_ids if one not in self._by_id}
        if missing:
            self.take_in(await self.fetch("runs_by_id", ids=sorted(missing)))
            for run_id in missing:
                self._by_id.setdefault(run_id, None)

    async def load_current(self, instance_ids: Iterable[str]) -> None:
        """Locks and loads the newest runs of instances."""
        missing = {one for one in instance_ids if one not in self._current}
        while missing:
            found = self.take_in(await self.fetch("current_runs", ids=sorted(missing)))
            # While we waited for its lock, a run may have been followed by another one.
            missed = {run.instance_id for run in found if run.current_of is None}
            for instance_id in missing - missed:
                self._current.setdefault(instance_id, None)
            missing = {one for one in missed if one not in self._current}

    async def load_serials(self, serials: Iterable[int], *, wait: bool = True) -> list[Run]:
        """Locks and loads runs by their serials; without ``wait`` those that nobody has locked."""
        missing = sorted({one for one in serials if one not in self._runs})
        if not missing:
            return []
        name = "runs_by_serial" if wait else "free_runs_by_serial"
        return self.take_in(await self.fetch(name, serials=missing))

    async def run(self, run_id: str) -> Run | None:
        """A run by its id."""
        if run_id not in self._by_id:
            await self.load_runs([run_id])
        return self._by_id[run_id]

    async def current(self, instance_id: str) -> Run | None:
        """The newest run of an instance."""
        if instance_id not in self._current:
            await self.load_current([instance_id])
        return self._current[instance_id]

    def of_serial(self, serial: int) -> Run:
        """A run that is loaded."""
        return self._runs[serial]

    async def children(self, run_id: str) -> list[Run]:
        """Runs that are closed with a run."""
        stored = self.take_in(await self.fetch("children", run_id=run_id))
        new = [run for run in self._runs.values() if run.new and run.closes_with == run_id]
        return [run for run in (*stored, *new) if run.running and run.closes_with == run_id]

    async def add_run(
        self,
        *,
        run_id: str,
        instance_id: str,
        request_id: str,
        workflow: str,
        version: int,
        queue: str,
        deadline_at: int | None,
        parent: Parent | None,
        parent_close: str,
        closes_with: str | None,
    ) -> Run:
        """A new run, the newest of its instance from now on."""
        serial = await self._next_serial()
        previous = await self.current(instance_id)
        if previous is not None:
            previous.current_of = None
        run = Run(
            serial=serial,
            run_id=run_id,
            instance_id=instance_id,
            lineage=serial if previous is None else previous.lineage,
            request_id=request_id,
            workflow=workflow,
            version=version,
            queue=queue,
            started_at=self.now,
            parent_instance=parent.instance_id if parent else None,
            parent_run=parent.run_id if parent else None,
            parent_number=parent.number if parent else None,
            parent_close=parent_close,
            current_of=instance_id,
            deadline_at=deadline_at,
            ready_at=self.now,
            closes_with=closes_with,
            new=True,
        )
        self._runs[serial] = self._by_id[run_id] = self._current[instance_id] = run
        return run

    async def add_apart(
        self, *, run_id: str, instance_id: str, lineage: int | None, started_at: int, **known: Any
    ) -> Run:
        """A new run that is not its instance's newest, and of which nothing comes due."""
        serial = await self._next_serial()
        parent: Parent | None = known["parent"]
        run = Run(
            serial=serial,
            run_id=run_id,
            instance_id=instance_id,
            lineage=lineage or serial,
            request_id=known["request_id"],
            workflow=known["workflow"],
            version=known["version"],
            queue=known["queue"],
            started_at=started_at,
            parent_instance=parent.instance_id if parent else None,
            parent_run=parent.run_id if parent else None,
            parent_number=parent.number if parent else None,
            parent_close=known["parent_close"],
            suspended=1,
            new=True,
        )
        self._runs[serial] = self._by_id[run_id] = run
        return run

    @property
    def loaded(self) -> Iterable[Run]:
        """All runs that it has loaded or made."""
        return self._runs.values()

    @property
    def loaded_activities(self) -> Iterable[tuple[int, int, Activity | None]]:
        """All activities that it has looked for, by run and number."""
        return (
            (serial, number, activity)
            for serial, of_run in self._activities.items()
            for number, activity in of_run.items()
        )

    # --- what belongs to runs

    def put_entry(self, run: Run, seq: int, entry: bytes, *, carried: bool) -> None:
        """An entry that has its number already."""
        self._inbox[run.serial][seq] = (entry, carried)

    def add_entry(self, run: Run, entry: bytes, *, carried: bool) -> None:
        """Gives an entry the next number of the run's inbox."""
        run.last_seq += 1
        run.unread += 1
        self._inbox[run.serial][run.last_seq] = (entry, carried)

    def drop_entries(self, run: Run, numbers: Iterable[int]) -> None:
        """Takes entries out of an inbox."""
        new = self._inbox.get(run.serial, {})
        gone = self._rows["delete_inbox"]
        for seq in numbers:
            if new.pop(seq, None) is None:
                gone.append((run.serial, seq))

    async def unread_carried(self, run: Run) -> list[bytes]:
        """Unread entries that move to a next run, in order."""
        gone = {seq for serial, seq in self._rows["delete_inbox"] if serial == run.serial}
        stored = await self.fetch("unread_carried", run=run.serial)
        entries = [entry for seq, entry in stored if seq not in gone]
        new = sorted(self._inbox.get(run.serial, {}).items())
        return entries + [entry for _, (entry, carried) in new if carried]

    async def is_known(self, run: Run, message_id: str) -> bool:
        """Whether a message was accepted before."""
        key = (run.lineage, digest(message_id))
        if key not in self._known:
            await self.load_messages([(run, message_id)])
        return self._known[key]

    async def load_messages(self, messages: Iterable[tuple[Run, str]]) -> None:
        """Learns which messages were accepted before."""
        keys = {(run.lineage, digest(message_id)) for run, message_id in messages}
        missing = [key for key in keys if key not in self._known]
        if missing:
            for key in missing:
                self._known[key] = False
            stored = await self.fetch("known_messages", keys=missing)
            for lineage, found in stored:
                self._known[(lineage, bytes(found))] = True

    def note_message(self, run: Run, message_id: str) -> None:
        """Remembers a message as accepted."""
        key = (run.lineage, digest(message_id))
        self._known[key] = True
        self._rows["insert_messages"].append(key)

    def add_timer(self, run: Run, number: int, due_at: int) -> None:
        """Starts a timer."""
        self._timers[run.serial][number] = due_at
        self.plan(due_at)

    def drop_timer(self, run: Run, number: int) -> None:
        """Drops a timer, if it is there."""
        if self._timers.get(run.serial, {}).pop(number, None) is None:
            self._rows["delete_timers"].append((run.serial, number))

    def put(self, statement: str, *values: Any) -> None:
        """A row for a statement of :data:`_STATEMENTS`."""
        self._rows[statement].append(values)

    def put_update(self, run: Run, update_id: str, *values: Any) -> None:
        """How an update stands."""
        self._updates[(run.lineage, update_id)] = (run.lineage, digest(update_id), *values)

    def publish(self, run: Run, value: bytes) -> None:
        """The run's published state."""
        self._published[run.serial] = value

    def also(self, statement: str, *rows: tuple[Any, ...]) -> None:
        """A statement besides those of a unit, run behind them."""
        self._after[statement] += rows

    def clear(self, run: Run) -> None:
        """Drops inbox, timers and activities of a run that has ended."""
        serial = run.serial
        self._cleared.add(serial)
        self._activities.pop(serial, None)
        self._inbox.pop(serial, None)
        self._timers.pop(serial, None)

    # --- activities

    async def load_activities(self, keys: Iterable[tuple[int, int]]) -> None:
        """Locks and loads activities by run and number; their runs are locked already."""
        missing = sorted(
            {
                (serial, number)
                for serial, number in keys
                if serial not in self._cleared and number not in self._activities[serial]
            }
        )
        if missing:
            for serial, number in missing:
                self._activities[serial][number] = None
            self.take_in_activities(await self.fetch("activities_by_key", keys=missing))

    def take_in_activities(self, rows: Iterable[Sequence[Any]]) -> list[Activity]:
        """Activities from rows."""
        found: list[Activity] = []
        for row in rows:
            known = self._activities[row[0]].get(row[1])
            if known is None:
                known = self._activities[row[0]][row[1]] = Activity(row)
            found.append(known)
        return found

    async def activity(self, serial: int, number: int) -> Activity | None:
        """An activity that has not ended."""
        if serial in self._cleared:
            return None
        if number not in self._activities[serial]:
            await self.load_activities([(serial, number)])
        return self._activities[serial][number]

    def add_activity(self, activity: Activity) -> None:
        """A new activity."""
        self._activities[activity.run][activity.number] = activity

    def drop_activity(self, activity: Activity) -> None:
        """An activity has ended."""
        self._activities[activity.run][activity.number] = None
        if activity.rest is None:
            self._rows["delete_activities"].append((activity.run, activity.number))

    async def bucket(self, queue: str) -> Bucket | None:
        """What a queue's limit allows, if it has one; locked."""
        if queue not in self._buckets:
            await self.load_buckets([queue])
        return self._buckets[queue]

    async def load_buckets(self, queues: Sequence[str]) -> None:
        """Locks and loads limits of queues."""
        missing = [queue for queue in queues if queue not in self._buckets]
        if missing:
            for queue in missing:
                self._buckets[queue] = None
            for row in await self.fetch("queue_limits_of", queues=missing):
                self._buckets[row[0]] = bucket_of(tuple(row))

    def take(self, bucket: Bucket, count: int) -> None:
        """Uses up starts of a limited queue."""
        bucket.take(count)
        self._taken.add(bucket.limit.queue)

    # --- the end

    def writes(self) -> list[Write]:
        """All that has changed, one statement for each table and kind of change."""
        rows = self._rows
        changed = [run for run in self._runs.values() if run.changed()]
        rows["insert_runs"] = [run.values() for run in self._runs.values() if run.new]
        for statement in ("clear_inbox", "clear_timers", "clear_activities"):
            rows[statement] = [(s,) for s in sorted(self._cleared) if not self._runs[s].new]
        rows["insert_inbox"] = [
            (serial, seq, *value)
            for serial, entries in self._inbox.items()
            for seq, value in entries.items()
        ]
        rows["insert_timers"] = [
            (serial, *timer) for serial, timers in self._timers.items() for timer in timers.items()
        ]
        activities = [a for of_run in self._activities.values() for a in of_run.values() if a]
        rows["insert_activities"] = [a.values() for a in activities if a.rest is not None]
        rows["update_activities"] = [a.state() for a in activities if a.changed()]
        rows["put_updates"] += self._updates.values()
        rows["put_published"] = list(self._published.items())
        update = Write("update_runs", [run.state() for run in changed])
        rest = [Write(name, rows[name]) for name in _STATEMENTS if rows[name]]
        levels = [self._buckets[queue] for queue in sorted(self._taken)]
        if levels:
            self._after["set_levels"] = [(b.limit.queue, b.level, b.at) for b in levels if b]
        rest += [Write(name, given) for name, given in self._after.items()]
        return [update, *rest] if changed else rest

    def staged(self) -> bool:
        """Whether runs must be updated before others are inserted: they share a unique key."""
        return any(run.lost_currency() for run in self._runs.values())
