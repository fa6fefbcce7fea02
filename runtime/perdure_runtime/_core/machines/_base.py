"""What the machines have in common: states, steps, and the table of what may follow what.

PYTEST_DONT_REWRITE
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from typing import Any, ClassVar, Protocol

from perdure import ExecutionError, Failure, InternalError
from perdure_backends.history import Command


class State(enum.Enum):
    """Where a command stands."""

    ISSUED = "issued"
    CANCELLING = "cancelling"
    DONE = "done"

    __hash__ = object.__hash__  # members are single objects; Enum's own hash is Python code


class Step(enum.Enum):
    """What happens to a command."""

    CANCEL = "cancel"
    RESOLVE = "resolve"

    __hash__ = object.__hash__


class Owner(Protocol):
    """What a machine may ask of its execution."""

    def issue(self, command: Command) -> None:
        """Records a command of the current turn."""
        ...

    def next_run_id(self) -> str:
        """The id of the run as which this one continues."""
        ...

    def identity(self) -> tuple[str, int]:
        """Name and version as which the run was started."""
        ...

    def forget(self, number: int) -> None:
        """The command waits for nothing any more."""
        ...

    def error_of(
        self, failure: Failure, delivered: str | None, wrapped: ExecutionError
    ) -> Exception | None:
        """What the code gets for a failure; ``None`` when the instance parks for it."""
        ...

    def fault(self, error: BaseException) -> None:
        """Something that the code can't be told: the instance parks."""
        ...


class Machine:
    """A command that waits for an outcome.

    Attributes:
        future: what the code awaits, until the machine is done.
    """

    transitions: ClassVar[Mapping[tuple[State, Step], State]] = {}
    future: Any = None

    def __init__(self, owner: Owner, number: int) -> None:
        self.owner = owner
        self.number = number
        self.state = State.ISSUED

    def move(self, step: Step) -> None:
        """Follows the table.

        Raises:
            InternalError: the table has no such step.
        """
        following = self.transitions.get((self.state, step))
        if following is None:
            raise InternalError(
                f"{type(self).__name__} {self.number}: {step.value} while {self.state.value}"
            )
        self.state = following
        if following is State.DONE:
            self.future = None  # which knows the machine, by what cancels it
            self.owner.forget(self.number)

    def receive(self, event: Any) -> bool:
        """Takes an outcome; ``False`` when it is not one of this machine's."""
        raise NotImplementedError

    def describe(self) -> str:
        """What it waits for, for people."""
        raise NotImplementedError
