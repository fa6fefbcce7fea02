"""Names, ids and queues: what is allowed, and why something was refused.

PYTEST_DONT_REWRITE
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from ._errors import InvalidIdError, InvalidOptionError

MAX_LENGTH: Final = 512
DEFAULT_QUEUE: Final = "default"
CATCH_ALL: Final = "*"
"""The name of workflows and activities that stand for all that have no other."""


def default_name(function: Callable[..., Any]) -> str:
    """The qualified name without module and enclosing functions."""
    return function.__qualname__.rpartition("<locals>.")[2]


def _check(text: object, what: str) -> str | None:
    if not isinstance(text, str):
        return f"{what} must be text, not {type(text).__name__}"
    if not text:
        return f"{what} must not be empty"
    if len(text) > MAX_LENGTH:
        return f"{what} has {len(text)} characters; at most {MAX_LENGTH} are allowed"
    if "\x00" in text:
        return f"{what} {text!r} holds a NUL character"
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return f"{what} {text!r} is not valid Unicode (lone surrogates)"
    return None


def check_name(name: str) -> str:
    """``name``, if a workflow, activity or message may be called so.

    Raises:
        InvalidOptionError: it may not.
    """
    if problem := _check(name, "a name"):
        raise InvalidOptionError(problem)
    return name


def check_queue(queue: str) -> str:
    """``queue``, if a queue may be called so.

    Raises:
        InvalidOptionError: it may not.
    """
    if problem := _check(queue, "a queue's name"):
        raise InvalidOptionError(problem)
    return queue


def check_id(instance_id: str) -> str:
    """``instance_id``, if an instance may have it: up to 512 characters without NUL.

    Raises:
        InvalidIdError: it may not.
    """
    if problem := _check(instance_id, "an instance id"):
        raise InvalidIdError(problem)
    return instance_id
