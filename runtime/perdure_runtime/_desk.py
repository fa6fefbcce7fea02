"""What people look at and do, as plain data: behind pages, the API and the command line.

PYTEST_DONT_REWRITE
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any, Final, TypeVar

import msgspec
from perdure import (
    BackendError,
    DataConverter,
    PayloadError,
    PerdureError,
    Query,
    QueryWith,
    Signal,
    Update,
    UsageError,
    WorkflowError,
)
from perdure.extension import DEFAULT_QUEUE, check_id
from perdure_backends import Backend, Documents, Liveness, Overseeing, QueueControl
from perdure_backends import history as h
from perdure_backends.records import InstanceRecord, ListFilter, Pending, Status

from ._audit import Audit, Entry
from ._client import Client
from ._core import STACKS
from ._handle import Handle, stored_turns
from ._link import not_found
from ._replay._files import header_line, turn_line
from ._schemas import Published, read_schema, read_schemas
from ._tally import rates_of_last_hour
from ._views import (
    Data,
    entry_data,
    failure_data,
    instance_data,
    moment,
    overview_data,
    pending_data,
    session_data,
    turn_data,
)

T = TypeVar("T")

Redact = Callable[[Any, str], Any]
"""Replaces the value of a payload before it is shown; the text says what it is."""

MOST: Final = 10_000
_TREE: Final = 200
_TREE_DEPTH: Final = 8
_TREE_TURNS: Final = 2000
"""Children that a run started later than that are not looked for."""
_STATES: Final = (*(status.value for status in Status), "suspended", "parked")

ACTIONS: Final = ("cancel", "terminate", "suspend", "resume", "unpark", "remove")


class Sight:
    """What somebody sees of payloads.

    Args:
        converter: whose codecs decode them.
        visible: whether they are shown at all.
        redact: replaces what is shown.
    """

    def __init__(
        self,
        converter: DataConverter | None = None,
        *,
        visible: bool = True,
        redact: Redact | None = None,
    ) -> None:
        self._converter = converter if converter is not None else DataConverter()
        self.visible = visible
        self._redact = redact

    def __call__(self, payload: bytes, what: str) -> Any:
        """A payload as data."""
        if not self.visible:
            return {"hidden": f"{len(payload)} bytes"}
        try:
            value = h.payload_to_jsonable(self._converter.unwrap(payload))
        except PayloadError as error:
            return {"unreadable": str(error)}
        return value if self._redact is None else self._redact(value, what)


def _left_out(payload: bytes, what: str) -> None:
    """For where payloads are not asked for."""


class Desk:
    """Looks at a store and acts on it.

    Args:
        by: who acts, for the audit log.
        sight: what is shown of payloads.
        address: where from, for the audit log.
    """

    def __init__(
        self,
        backend: Backend,
        *,
        by: str,
        sight: Sight | None = None,
        converter: DataConverter | None = None,
        address: str = "",
    ) -> None:
        self._backend = backend
        self._by = by
        self._address = address
        self._sight = sight if sight is not None else Sight(converter)
        self._converter = converter if converter is not None else DataConverter()
        self._client = Client(backend, converter=self._converter)
        self._audit = Audit(backend)

    # --- looking

    async def overview(self) -> Data:
        """The store at a glance, with what was done in the last hour.

        Raises:
            UsageError: the store can't show it.
        """
        backend = self._backend
        if not isinstance(backend, Overseeing):
            raise UsageError(f"the store {backend.url} can't show itself at a glance")
        overview = await backend.overview(MOST)
        limits = await backend.queue_limits() if isinstance(backend, QueueControl) else []
        data = overview_data(overview, limits)
        data["store"] = backend.url
        if isinstance(backend, Documents):
            rates = await rates_of_last_hour(backend, overview.time)
            data["minutes"] = [msgspec.to_builtins(one) for one in rates]
        return data

    async def instances(
        self,
        chosen: ListFilter,
        after: str | None = None,
        limit: int = 50,
        *,
        payloads: bool = True,
    ) -> Data:
        """A page of instances, the newest first.

        Args:
            payloads: with inputs, results and published states, which may be large.
        """
        for state in chosen.states:
            if state not in _STATES:
                raise UsageError(f"there is no state {state!r}; there are {', '.join(_STATES)}")
        lister: Any = getattr(self._backend, "list_instances", None)
        if lister is None:
            raise UsageError(f"the store {self._backend.url} can't list instances")
        try:
            page = await lister(chosen, after, limit)
        except ValueError:
            raise UsageError("the page to go on from is not one of this store's") from None
        show = self._sight if payloads else _left_out
        return {
            "instances": [instance_data(record, show) for record in page.instances],
            "after": page.after,
        }

    async def instance(self, instance_id: str, run_id: str | None = None) -> Data:
        """A run with what it waits for, and which of that nobody offers.

        Raises:
            InstanceNotFoundError: there is no such instance.
        """
        record = await self._record(instance_id, run_id)
        return await self._instance(record, await self._pending(record))

    async def page(
        self, instance_id: str, run_id: str | None, *, after: int, limit: int, most: int = 300
    ) -> tuple[Data, Data, list[Data]]:
        """Instance, history and timeline of a run, for which it is looked up once."""
        record = await self._record(instance_id, run_id)
        pending = await self._pending(record)
        return (
            await self._instance(record, pending),
            await self._history(record, after, limit),
            await self._timeline(record, pending, most),
        )

    async def _pending(self, record: InstanceRecord) -> Pending:
        """What a run waits for; nothing, when it has ended."""
        if record.status is not Status.RUNNING:
            return Pending()
        return await self._backend.pending(record.run_id)

    async def _instance(self, record: InstanceRecord, pending: Pending) -> Data:
        missing: Sequence[str] = ()
        if record.status is Status.RUNNING and isinstance(self._backend, Liveness):
            missing = await self._client.unoffered(record, pending)
        data = instance_data(record, self._sight)
        data["pending"] = {**pending_data(pending), "unoffered": list(missing)}
        return data

    async def history(
        self, instance_id: str, run_id: str | None = None, after: int = 0, limit: int = 200
    ) -> Data:
        """Turns of a run. One that can't be read says why, and ends the page."""
        return await self._history(await self._record(instance_id, run_id), after, limit)

    async def _history(self, record: InstanceRecord, after: int, limit: int) -> Data:
        turns: list[Data] = []
        unreadable: str | None = None
        records = await self._backend.read_history(record.run_id, after, limit)
        for stored in records:
            try:
                turns.append(turn_data(h.decode_turn(stored), self._sight))
            except h.NewerHistoryError as error:
                unreadable = str(error)
                break
        last = turns[-1]["turn"] if turns else after
        more = unreadable is None and len(records) == limit and last < record.turn
        return {
            "run_id": record.run_id,
            "turns": turns,
            "after": last if more else None,
            "unreadable": unreadable,
        }

    async def timeline(
        self, instance_id: str, run_id: str | None = None, most: int = 300
    ) -> list[Data]:
        """What a run has called, with when it began and ended; the last ``most`` turns of it."""
        record = await self._record(instance_id, run_id)
        return await self._timeline(record, await self._pending(record), most)

    async def _timeline(self, record: InstanceRecord, pending: Pending, most: int) -> list[Data]:
        from ._timeline import timeline

        first = max(0, record.turn - most)
        turns: list[h.Turn] = []
        for stored in await self._backend.read_history(record.run_id, first, most):
            try:
                turns.append(h.decode_turn(stored))
            except h.NewerHistoryError:
                break
        return timeline(turns, pending)

    async def stacks(self, instance_id: str, timeout: float = 5.0) -> list[str]:
        """Where each task of the code waits, said by a worker that has it.

        Raises:
            TimeoutError: no worker answered.
            QueryError: the worker's code does not fit.
        """
        query: Query[list[str]] = Query(STACKS, list[str])
        return await self._handle(instance_id).query(query, timeout=timeout)

    async def tree(self, instance_id: str) -> Data:
        """Parents and children of an instance, down from the topmost parent."""
        record = await self._record(instance_id, None)
        for _ in range(_TREE_DEPTH):
            if record.parent is None:
                break
            above = await self._backend.describe(record.parent.instance_id)
            if above is None:
                break
            record = above
        left = [_TREE]
        return await self._below(record, left, 0)

    async def _below(self, record: InstanceRecord, left: list[int], depth: int) -> Data:
        node: Data = {
            "id": record.instance_id,
            "workflow": record.workflow,
            "state": record.state,
            "started_at": moment(record.started_at),
            "children": [],
        }
        if depth >= _TREE_DEPTH:
            return node
        ids: dict[str, None] = {}
        try:
            async for turn in stored_turns(self._backend, record.run_id):
                for event in turn.events:
                    if isinstance(event, h.ChildScheduled):
                        ids[event.instance_id] = None
                if turn.number >= _TREE_TURNS:
                    node["more"] = record.turn > turn.number
                    break
        except h.NewerHistoryError:
            node["unreadable"] = True
        for one in ids:
            if left[0] <= 0:
                node["more"] = True
                break
            left[0] -= 1
            child = await self._backend.describe(one)
            if child is not None:
                node["children"].append(await self._below(child, left, depth + 1))
        return node

    async def export(self, instance_id: str, run_id: str | None = None) -> AsyncIterator[str]:
        """A run as JSON lines, in the format of histories.

        Raises:
            UsageError: who asks may not see payloads.
        """
        record = await self._record(instance_id, run_id)
        if not self._sight.visible:
            raise UsageError("a history has payloads, which you may not see")
        yield header_line(record) + "\n"
        async for turn in stored_turns(self._backend, record.run_id):
            yield turn_line(turn) + "\n"

    async def result(self, instance_id: str, timeout: float | None = None) -> Data:
        """Waits for the result.

        Raises:
            TimeoutError: there is none so far.
        """
        handle = self._handle(instance_id)
        try:
            await handle.result(timeout)
        except WorkflowError as error:
            failure = failure_data(error.failure)
            return {"id": handle.id, "failure": failure, "error": str(error)}
        except PayloadError:
            pass  # it is shown as it is
        record = await self._record(instance_id, None)
        while record.continued_to is not None:
            record = await self._record(instance_id, record.continued_to)
        result = record.result if record.result is not None else b"null"
        return {"id": handle.id, "result": self._sight(result, "result")}

    async def workers(self) -> list[Data]:
        """Workers, the oldest first."""
        return [session_data(session) for session in await self._client.workers()]

    async def schemas(self) -> list[Published]:
        """What workers have published of their workflows."""
        store = self._backend
        return await read_schemas(store) if isinstance(store, Documents) else []

    async def schema(self, workflow: str, version: int) -> Published | None:
        """What workers have published of one workflow."""
        store = self._backend
        return await read_schema(store, workflow, version) if isinstance(store, Documents) else None

    async def audit(self, after: str | None = None, limit: int = 100) -> Data:
        """What was done, the newest first."""
        entries, following = await self._audit.read(after, limit)
        return {
            "entries": [entry_data(entry) for entry in entries],
            "after": following,
            "kept": self._audit.kept,
        }

    async def mark(self, instance_id: str, run_id: str | None) -> str:
        """Changes whenever something about a run has changed that is shown."""
        record = await self._backend.describe(instance_id, run_id)
        if record is None:
            return "gone"
        pending = await self._pending(record)
        activities = [(a.number, a.state, a.attempt) for a in pending.activities]
        return repr(
            (record.run_id, record.turn, record.state, record.park, pending.inbox, activities)
        )

    # --- acting

    async def start(
        self,
        workflow: str,
        arguments: Sequence[Any],
        *,
        id: str | None = None,
        version: int = 1,
        queue: str = DEFAULT_QUEUE,
        reason: str = "",
    ) -> Data:
        """Starts an instance by the workflow's name."""

        async def act() -> Data:
            payload = json.dumps(list(arguments), separators=(",", ":")).encode()
            handle = await self._client.start_by_name(
                workflow, payload, id=id or None, version=version, queue=queue
            )
            return {"id": handle.id, "run_id": handle.run_id}

        details = f"workflow {workflow} version {version} on {queue}"
        return await self._audited("start", id or "", act, reason, details, lambda d: d["id"])

    async def signal(
        self,
        instance_id: str,
        name: str,
        payload: Any,
        *,
        request_id: str | None = None,
        reason: str = "",
    ) -> Data:
        """Sends a signal."""
        untyped: Signal[Any] = Signal(name, Any)

        async def act() -> None:
            await self._handle(instance_id).signal(untyped, payload, request_id=request_id)

        await self._audited("signal", instance_id, act, reason, f"signal {name}")
        return {"id": instance_id, "accepted": True}

    async def update(
        self,
        instance_id: str,
        name: str,
        argument: Any,
        *,
        update_id: str | None = None,
        timeout: float | None = None,
        reason: str = "",
    ) -> Data:
        """Sends an update and waits for its result."""
        untyped: Update[Any, Any] = Update(name, Any, Any)

        async def act() -> tuple[str, Any]:
            sent = await self._handle(instance_id).send_update(untyped, argument, id=update_id)
            return sent.id, await sent.result(timeout)

        sent_id, result = await self._audited("update", instance_id, act, reason, f"update {name}")
        return {"id": sent_id, "result": self._shown(result, "update result")}

    async def query(
        self, instance_id: str, name: str, argument: Sequence[Any] = (), timeout: float = 10.0
    ) -> Data:
        """Asks an instance; ``argument`` holds one or none."""
        handle = self._handle(instance_id)
        answer: Any
        if argument:
            asked: QueryWith[Any, Any] = QueryWith(name, Any, Any)
            answer = await handle.query(asked, argument[0], timeout=timeout)
        else:
            untyped: Query[Any] = Query(name, Any)
            answer = await handle.query(untyped, timeout=timeout)
        return {"id": instance_id, "answer": self._shown(answer, "query answer")}

    async def act(self, action: str, instance_id: str, reason: str = "") -> Data:
        """One of :data:`ACTIONS`; the state that follows."""
        handle = self._handle(instance_id)
        steps: dict[str, Callable[[], Awaitable[None]]] = {
            "cancel": lambda: handle.cancel(reason),
            "terminate": lambda: handle.terminate(reason or f"terminated by {self._by}"),
            "suspend": lambda: handle.suspend(reason),
            "resume": handle.resume,
            "unpark": handle.unpark,
            "remove": handle.remove,
        }
        if action not in steps:
            raise UsageError(f"there is no action {action!r}; there are {', '.join(ACTIONS)}")
        await self._audited(action, instance_id, steps[action], reason, "")
        state = "removed" if action == "remove" else await handle.state()
        return {"id": instance_id, "state": state}

    async def limit(self, queue: str, per_second: float | None, burst: int | None = None) -> Data:
        """Limits a queue, or takes its limit away."""

        async def act() -> None:
            await self._client.limit_queue(queue, per_second, burst=burst)

        text = "no limit" if per_second is None else f"at most {per_second:g} a second"
        await self._audited("limit", "", act, "", f"queue {queue}: {text}")
        return {"queue": queue, "per_second": per_second}

    async def _audited(
        self,
        action: str,
        instance_id: str,
        act: Callable[[], Awaitable[T]],
        reason: str,
        details: str,
        named: Callable[[T], str] | None = None,
    ) -> T:
        """Does something that is written down before and after.

        Args:
            named: the instance, where that is known only afterwards.
        """
        if instance_id:
            check_id(instance_id)
        entry = Entry(
            at=await self._backend.now(),
            by=self._by,
            action=action,
            instance_id=instance_id,
            reason=reason,
            details=details,
            address=self._address,
        )
        key = await self._audit.write(entry)
        try:
            result = await act()
        except BaseException as error:
            entry.outcome = type(error).__name__
            if isinstance(error, PerdureError) and not isinstance(error, BackendError):
                await self._audit.write(entry, key)
            raise
        entry.outcome = "done"
        if named is not None:
            entry.instance_id = named(result)
        await self._audit.write(entry, key)
        return result

    # --- inside

    def _handle(self, instance_id: str) -> Handle[Any]:
        return self._client.handle_by_id(instance_id)

    def _shown(self, value: Any, what: str) -> Any:
        return self._sight(json.dumps(value).encode(), what)

    async def _record(self, instance_id: str, run_id: str | None) -> InstanceRecord:
        record = await self._backend.describe(instance_id, run_id)
        if record is None:
            raise not_found(instance_id)
        return record
