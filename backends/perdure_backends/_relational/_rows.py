"""Rows as they are decided on: loaded, changed in memory, and written when they differ.

PYTEST_DONT_REWRITE
"""

from __future__ import annotations

from collections.abc import Sequence
from operator import attrgetter
from typing import Any, Final

import msgspec

from .._stored import parent_of
from ..history import Parent
from ..records import Status

ACTIVITY_MUTABLE: Final = (
    *("attempt", "due_at", "deadline_at", "started_at", "owner", "token", "cancel"),
    *("losses", "lone_losses", "loss_base"),
)
"""Columns of an activity that attempts change, in the order of the statements."""

_activity_state: Final = attrgetter(*ACTIVITY_MUTABLE)

RUNNING: Final = Status.RUNNING.value


class Run(msgspec.Struct, eq=False):
    """A row of ``runs``, its columns in the order in which statements read and write them.

    ``lineage`` is the serial of the first run of the instance, ``current_of`` the instance's id
    while the run is its newest, ``has_children`` whether sub-workflows may have to be closed
    with it.
    """

    serial: int
    run_id: str
    instance_id: str
    lineage: int
    request_id: str
    workflow: str
    version: int
    queue: str
    started_at: int
    parent_instance: str | None
    parent_run: str | None
    parent_number: int | None
    parent_close: str
    # What turns, messages and operators change:
    current_of: str | None = None
    status: str = RUNNING
    suspended: int = 0
    deadline_at: int | None = None
    finished_at: int | None = None
    ready_at: int | None = None
    owner: str | None = None
    token: str | None = None
    executing: int = 0
    losses: int = 0
    lone_losses: int = 0
    loss_base: int = 0
    turn: int = 0
    events: int = 0
    last_seq: int = 0
    unread: int = 0
    last_commit: str | None = None
    closes_with: str | None = None
    has_children: int = 0
    continued_to: str | None = None
    park: bytes | None = None
    tried: str = ""
    # Not columns:
    new: bool = False
    loaded: tuple[Any, ...] = ()

    def __post_init__(self) -> None:
        self.loaded = _run_state(self)

    @property
    def running(self) -> bool:
        """It has not ended; it may be suspended or parked."""
        return self.status == RUNNING

    @property
    def parent(self) -> Parent | None:
        """Whose sub-workflow it is."""
        return parent_of(self.parent_instance, self.parent_run, self.parent_number)

    def changed(self) -> bool:
        """It differs from what is stored."""
        return not self.new and _run_state(self) != self.loaded

    def lost_currency(self) -> bool:
        """It was the newest of its instance when it was loaded, and is not any more."""
        return not self.new and self.loaded[0] is not None and self.current_of is None

    def values(self) -> tuple[Any, ...]:
        """All columns, for an insertion."""
        values: tuple[Any, ...] = _run_values(self)
        return values

    def state(self) -> tuple[Any, ...]:
        """The serial and the columns that change, for an update."""
        return (self.serial, *_run_state(self))

    def make_ready(self, now: int) -> None:
        """It has something to do, if nothing holds it back."""
        if self.ready_at is None and not self.suspended and self.park is None:
            self.ready_at = now


RUN_COLUMNS: Final = Run.__struct_fields__[:-2]
"""Columns of a run in the order in which statements read and write them."""

RUN_FIXED: Final = RUN_COLUMNS[: RUN_COLUMNS.index("current_of")]
"""Columns of a run that never change."""

RUN_MUTABLE: Final = RUN_COLUMNS[len(RUN_FIXED) :]
"""Columns of a run that turns, messages and operators change."""

_run_values: Final = attrgetter(*RUN_COLUMNS)
_run_state: Final = attrgetter(*RUN_MUTABLE)


class Activity:
    """A row of ``activities``, without what never changes."""

    __slots__ = (
        *("run", "number", "policy", "scheduled_at", *ACTIVITY_MUTABLE),
        *("_loaded", "details", "last_failure", "rest"),
    )

    run: int
    number: int
    policy: bytes
    scheduled_at: int
    attempt: int
    due_at: int
    deadline_at: int | None
    started_at: int
    owner: str | None
    token: str | None
    cancel: int
    losses: int
    lone_losses: int
    loss_base: int

    def __init__(self, values: Sequence[Any], *, rest: tuple[Any, ...] | None = None) -> None:
        (
            self.run,
            self.number,
            self.policy,
            self.scheduled_at,
            self.attempt,
            self.due_at,
            self.deadline_at,
            self.started_at,
            self.owner,
            self.token,
            self.cancel,
            self.losses,
            self.lone_losses,
            self.loss_base,
        ) = values
        self.rest = rest
        """Of a new one: name, queue, priority, input, headers."""
        self.last_failure: bytes | None = None
        self.details: bytes | None = None
        """What replaces the stored ones, if anything does."""
        self._loaded = _activity_state(self)

    def changed(self) -> bool:
        """It differs from what is stored."""
        return self.rest is None and (
            self.last_failure is not None
            or self.details is not None
            or _activity_state(self) != self._loaded
        )

    def values(self) -> tuple[Any, ...]:
        """All columns, for an insertion."""
        rest = self.rest or ()
        state: tuple[Any, ...] = _activity_state(self)
        return (self.run, self.number, self.policy, self.scheduled_at, *state, *rest)

    def state(self) -> tuple[Any, ...]:
        """The key, the columns that change, last failure and details, for an update."""
        state: tuple[Any, ...] = _activity_state(self)
        return (self.run, self.number, *state, self.last_failure, self.details)
