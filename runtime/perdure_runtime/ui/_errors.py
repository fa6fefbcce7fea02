"""From errors to answers.

PYTEST_DONT_REWRITE
"""

from __future__ import annotations

from typing import Final

from perdure import (
    ArgumentsError,
    BackendError,
    InstanceError,
    InstanceExistsError,
    InstanceFinishedError,
    InstanceNotFinishedError,
    InstanceNotFoundError,
    InvalidIdError,
    InvalidOptionError,
    PayloadError,
    QueryError,
    UpdateError,
    UsageError,
)


class RefusedError(Exception):
    """A request that is answered with an error of its own."""

    def __init__(self, status: int, message: str, *, wait: int = 0) -> None:
        super().__init__(message)
        self.status = status
        self.wait = wait


_STATUS: Final[tuple[tuple[type[BaseException], int], ...]] = (
    (InstanceNotFoundError, 404),
    (InstanceExistsError, 409),
    (InstanceFinishedError, 409),
    (InstanceNotFinishedError, 409),
    (InstanceError, 429),
    (InvalidIdError, 400),
    (InvalidOptionError, 400),
    (ArgumentsError, 400),
    (PayloadError, 400),
    (QueryError, 422),
    (UpdateError, 422),
    (BackendError, 503),
    (UsageError, 400),
    (TimeoutError, 504),
)


def status_of(error: BaseException) -> int:
    """The status of an answer that an error becomes."""
    if isinstance(error, RefusedError):
        return error.status
    for kind, status in _STATUS:
        if isinstance(error, kind):
            return status
    return 500
