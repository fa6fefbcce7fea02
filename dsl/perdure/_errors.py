"""Every error that Perdure raises, in one tree, grouped by who can act on it.

.. code-block:: text

    PerdureError
    ├── UsageError                  the calling code is wrong: mend the code
    │   ├── DefinitionError           a decorator refused a function
    │   ├── RegistrationError         a worker refused what it was given
    │   ├── OutsideWorkflowError      a durable call was made outside a workflow
    │   ├── UnsupportedInWorkflowError  workflow code did what can't be replayed
    │   ├── NonDeterministicCall      workflow code called what gives another answer next time
    │   ├── ReadOnlyError             a query or a validator scheduled or changed something
    │   ├── ArgumentsError            arguments do not fit a signature
    │   ├── PayloadError              a value can't be encoded or decoded (says which part)
    │   │   ├── PayloadTooLargeError
    │   │   └── ArgumentValueError      an argument is not of the annotated type
    │   ├── InvalidIdError            an id is empty, too long or holds NUL
    │   └── InvalidOptionError        an option is out of range, a URL is malformed
    ├── InstanceError               the named instance is not in a state that allows the call
    │   ├── InstanceNotFoundError
    │   ├── InstanceExistsError
    │   ├── InstanceFinishedError
    │   ├── ActivityGoneError         an attempt does not wait for an outcome any more
    │   └── InstanceNotFinishedError
    ├── ExecutionError              user code failed; carries the failure's chain
    │   ├── ApplicationError          raised by user code to say type and retryability
    │   ├── RemoteError               a failure that was recorded by another process
    │   ├── ActivityError             an activity failed for good
    │   │   ├── ActivityTimeoutError
    │   │   └── ActivityCancelledError
    │   ├── ChildWorkflowError        a sub-workflow failed
    │   ├── WorkflowError             what a client gets for an instance without a result
    │   │   ├── WorkflowFailedError
    │   │   ├── WorkflowCancelledError
    │   │   ├── WorkflowTerminatedError
    │   │   └── WorkflowTimeoutError
    │   ├── UpdateError               an update has no result
    │   │   ├── UpdateRejectedError     its validator, or the instance, refused it
    │   │   └── UpdateFailedError       its handler raised, or was abandoned
    │   └── QueryError                a query could not be answered
    ├── CompensationError           compensations of a saga failed
    ├── ChannelClosedError          a channel between tasks is closed
    ├── SignalError                 a signal to another instance was not accepted
    ├── NonDeterminismError         code and history disagree (expected, actual, position)
    ├── BackendError                the store could not do what was asked
    │   ├── BackendUnavailableError   transient: retried inside, then shown
    │   ├── BackendFullError
    │   ├── BackendReadOnlyError
    │   ├── BackendFormatError        not a database of ours, or a damaged one
    │   ├── SchemaVersionError        the stored schema does not fit this code
    │   └── SessionLostError          this worker's lease ended
    └── InternalError               a fault of Perdure itself: please report it

Three more classes are control flow, derive from ``BaseException`` and are never to be caught by
user code: :class:`Evicted`, :class:`ContinueAsNew` and :class:`CompletesLater`.

PYTEST_DONT_REWRITE
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ._failure import Failure


class PerdureError(Exception):
    """Root of every error that Perdure raises."""


class UsageError(PerdureError):
    """The calling code is wrong; the message says how to mend it."""


class DefinitionError(UsageError, TypeError):
    """A decorator refused the function it was given."""


class RegistrationError(UsageError):
    """A worker or client refused a definition: a name twice, or a type that can't be converted."""


class OutsideWorkflowError(UsageError, RuntimeError):
    """A durable call was made where no workflow runs."""


class UnsupportedInWorkflowError(UsageError, RuntimeError):
    """Workflow code asked its loop for something that can't be replayed (a socket, a thread …)."""


class NonDeterministicCall(UsageError, RuntimeError):  # noqa: N818  (the field's own word)
    """Workflow code called something whose answer differs from one replay to the next.

    Attributes:
        call: what was called, such as ``time.time``.
        location: ``file:line`` of the call.
    """

    def __init__(self, call: str, instead: str, location: str) -> None:
        super().__init__(
            f"workflow code called {call} at {location}, which gives another answer at a replay; "
            f"{instead}"
        )
        self.call = call
        self.location = location


class ReadOnlyError(UsageError, RuntimeError):
    """A query handler or a validator tried to schedule, wait for or change something."""


class ArgumentsError(UsageError, TypeError):
    """Arguments do not fit the signature of the workflow, activity or message."""


class PayloadError(UsageError, ValueError):
    """A value can't be encoded, or stored bytes can't be decoded as the annotated type.

    ``path`` names the offending part, as in ``order.lines[3].price``.
    """

    def __init__(self, message: str, *, path: str = "") -> None:
        super().__init__(message)
        self.path = path


class PayloadTooLargeError(PayloadError):
    """An encoded value is over the limit (2 MiB by default)."""


class ArgumentValueError(ArgumentsError, PayloadError):
    """An argument's value is not of the annotated type, or can't be stored."""


class InvalidIdError(UsageError, ValueError):
    """An instance id is empty, longer than 512 characters, or holds a NUL character."""


class InvalidOptionError(UsageError, ValueError):
    """An option is out of range or malformed."""


class InstanceError(PerdureError):
    """The instance is not in a state that allows the call."""

    def __init__(self, message: str, *, instance_id: str = "") -> None:
        super().__init__(message)
        self.instance_id = instance_id


class InstanceNotFoundError(InstanceError, LookupError):
    """No instance has this id (or it was removed)."""


class InstanceExistsError(InstanceError):
    """The start's id policy forbids a start while, or after, this id is used."""


class InstanceFinishedError(InstanceError):
    """The instance has finished already."""


class InstanceNotFinishedError(InstanceError):
    """The instance has not finished yet."""


class ActivityGoneError(InstanceError):
    """The attempt that was to be settled does not wait for an outcome any more."""


class ExecutionError(PerdureError):
    """User code failed. ``failure`` is the record of it, with its cause chain."""

    failure: Failure

    def __init__(self, message: str, *, failure: Failure | None = None) -> None:
        super().__init__(message)
        self.failure = failure if failure is not None else Failure(type(self).__name__, message)


class ApplicationError(ExecutionError):
    """Raised by user code that wants to choose the recorded type and whether retrying helps.

    Args:
        message: what happened.
        type: the recorded type name, matched against ``Retry.non_retryable``; the class name by
            default.
        retryable: ``False`` ends the activity's retries at once.
        retry_after: seconds until the next attempt, in place of the policy's interval.
    """

    def __init__(
        self,
        message: str,
        *,
        type: str | None = None,
        retryable: bool = True,
        retry_after: float | None = None,
    ) -> None:
        name = type if type is not None else self.__class__.__name__
        super().__init__(message, failure=Failure(name, message, retryable=retryable))
        self.recorded_as = self.failure
        self.type = name
        self.retryable = retryable
        self.retry_after = retry_after


class RemoteError(ExecutionError):
    """A failure as another process recorded it; found as ``__cause__`` of the errors below."""

    is_record = True

    def __init__(self, failure: Failure) -> None:
        super().__init__(f"{failure.type}: {failure.message}", failure=failure)
        self.recorded_as = failure
        self.type = failure.type
        if failure.cause is not None:
            self.__cause__ = RemoteError(failure.cause)

    @property
    def stack(self) -> str:
        """The traceback of the process where it happened, as text; empty when unknown."""
        return self.failure.stack


class _ChainedError(ExecutionError):
    def __init__(self, message: str, *, failure: Failure) -> None:
        super().__init__(message, failure=failure)
        self.__cause__ = RemoteError(failure)

    @property
    def type(self) -> str:
        """The type name of the exception that was raised over there."""
        return self.failure.type


class ActivityError(_ChainedError):
    """An activity failed for good; ``__cause__`` is the failure of its last attempt."""

    def __init__(self, activity: str, failure: Failure) -> None:
        super().__init__(
            f"activity {activity!r} failed: {failure.type}: {failure.message}", failure=failure
        )
        self.activity = activity


class ActivityTimeoutError(ActivityError, TimeoutError):
    """An activity passed one of its time-outs (``failure.message`` says which)."""


class ActivityCancelledError(ActivityError):
    """An activity ended because its cancellation was confirmed from elsewhere."""


class ChildWorkflowError(_ChainedError):
    """A sub-workflow failed, was cancelled, terminated, or could not be started."""

    def __init__(self, workflow: str, instance_id: str, failure: Failure) -> None:
        super().__init__(
            f"sub-workflow {workflow!r} ({instance_id!r}) failed: "
            f"{failure.type}: {failure.message}",
            failure=failure,
        )
        self.workflow = workflow
        self.instance_id = instance_id


class WorkflowError(_ChainedError):
    """What ``Handle.result()`` raises for an instance that ended without a result."""

    def __init__(self, instance_id: str, failure: Failure) -> None:
        super().__init__(
            f"workflow {instance_id!r} {self._verb}: {failure.type}: {failure.message}",
            failure=failure,
        )
        self.instance_id = instance_id

    _verb = "ended without a result"


class WorkflowFailedError(WorkflowError):
    """The workflow function raised."""

    _verb = "failed"


class WorkflowCancelledError(WorkflowError):
    """The workflow was cancelled and let the cancellation through."""

    _verb = "was cancelled"


class WorkflowTerminatedError(WorkflowError):
    """An operator terminated the workflow."""

    _verb = "was terminated"


class WorkflowTimeoutError(WorkflowError, TimeoutError):
    """The workflow passed its ``run_timeout``."""

    _verb = "timed out"


class UpdateError(_ChainedError):
    """An update ended without a result."""

    _verb = "has no result"

    def __init__(self, update: str, instance_id: str, failure: Failure) -> None:
        super().__init__(
            f"update {update!r} of {instance_id!r} {self._verb}: {failure.type}: {failure.message}",
            failure=failure,
        )
        self.update = update
        self.instance_id = instance_id


class UpdateRejectedError(UpdateError):
    """The update was refused before it did anything; the history knows nothing of it."""

    _verb = "was rejected"


class UpdateFailedError(UpdateError):
    """The update was accepted, and its handler raised or did not come to its end."""

    _verb = "failed"


class QueryError(_ChainedError):
    """A query could not be answered: no handler, a handler that raised, code that does not fit."""

    def __init__(self, query: str, instance_id: str, failure: Failure) -> None:
        super().__init__(
            f"query {query!r} of {instance_id!r} failed: {failure.type}: {failure.message}",
            failure=failure,
        )
        self.query = query
        self.instance_id = instance_id


class CompensationError(PerdureError):
    """Compensations of a saga failed; ``__cause__`` is why they ran at all.

    Attributes:
        errors: what they raised, in the order in which they ran.
    """

    def __init__(self, errors: Sequence[Exception]) -> None:
        listed = "; ".join(f"{type(error).__name__}: {error}" for error in errors)
        super().__init__(f"{len(errors)} compensation(s) failed: {listed}")
        self.errors = tuple(errors)


class ChannelClosedError(PerdureError):
    """A value was sent to a closed channel, or awaited from one that is closed and empty."""


class SignalError(PerdureError):
    """A signal that a workflow sent to another instance was not accepted."""

    def __init__(self, instance_id: str, failure: Failure) -> None:
        super().__init__(f"signal to {instance_id!r} was not accepted: {failure.message}")
        self.instance_id = instance_id
        self.failure = failure


class NonDeterminismError(PerdureError):
    """The code did something else than its history says.

    Attributes:
        expected: what the history holds, or ``None`` when it holds nothing more.
        actual: what the code did, or ``None`` when it did nothing more.
        turn: number of the turn (from 1) in which they part.
        position: index of the command within that turn (from 0).
        location: ``file:line`` in the workflow's source, empty when unknown.
        recorded: the line that issued the expected command when it was recorded, as
            ``folder/file.py:line``; empty when unknown.
    """

    def __init__(
        self,
        reason: str,
        *,
        workflow: str = "",
        expected: str | None = None,
        actual: str | None = None,
        turn: int = 0,
        position: int = 0,
        location: str = "",
        recorded: str = "",
    ) -> None:
        where = f" at {location}" if location else ""
        then = f"   (then {recorded})" if expected and recorded else ""
        super().__init__(
            f"workflow {workflow!r} does not fit its history (turn {turn}, command {position})"
            f"{where}: {reason}\n"
            f"  history expects: {expected or 'nothing more'}{then}\n"
            f"  the code did:    {actual or 'nothing more'}\n"
            "Run the code that wrote the history, or guard the change with patched(...)."
        )
        self.reason = reason
        self.workflow = workflow
        self.expected = expected
        self.actual = actual
        self.turn = turn
        self.position = position
        self.location = location
        self.recorded = recorded


class BackendError(PerdureError):
    """The store could not do what was asked; ``__cause__`` is the driver's error."""


class BackendUnavailableError(BackendError, ConnectionError):
    """The store did not answer in time. Retried inside before anybody sees it."""


class BackendFullError(BackendError):
    """The store has no room left. What was acknowledged is safe; make room and go on."""


class BackendReadOnlyError(BackendError):
    """The store can't be written to."""


class BackendFormatError(BackendError):
    """The file or database is not one of ours, or is damaged."""


class SchemaVersionError(BackendError):
    """The stored schema is newer than this code can read, or was not migrated yet."""


class SessionLostError(BackendError):
    """This worker's lease has ended; another worker may own its work now."""


class InternalError(PerdureError):
    """A fault of Perdure itself."""

    def __init__(self, message: str) -> None:
        super().__init__(f"internal error, please report it: {message}")


class Evicted(BaseException):
    """Raised by durable calls while an instance is taken out of memory. Let it pass."""


class CompletesLater(BaseException):
    """Raised by ``complete_later()``: the activity's outcome will come from elsewhere."""


class ContinueAsNew(BaseException):
    """Raised by ``workflow.continue_as_new(...)``: ends this run and starts the next one."""

    def __init__(self, workflow: Any, payload: bytes) -> None:
        super().__init__("continue as new")
        self.workflow = workflow
        self.payload = payload
