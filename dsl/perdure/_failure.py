"""The record of a failure: what is left of an exception once it leaves its process.

PYTEST_DONT_REWRITE
"""

from __future__ import annotations

import traceback
from collections.abc import Callable
from typing import Final, TypeAlias, cast

import msgspec

Describe: TypeAlias = Callable[[BaseException], tuple[str, bool, dict[str, bytes]] | None]

MAX_CHAIN: Final = 16
MAX_STACK: Final = 8192
MAX_MESSAGE: Final = 8192
_MACHINERY: Final = frozenset({"perdure", "perdure_runtime", "perdure_backends", "asyncio"})


class Failure(msgspec.Struct, frozen=True, omit_defaults=True):
    """A failure as it is stored: no class is needed to read it.

    Attributes:
        type: name of the exception's class, without its module.
        message: ``str()`` of the exception, at most 8,192 characters.
        stack: formatted traceback, its end kept when longer than 8,192 characters.
        retryable: whether a retry policy may try again.
        cause: the failure behind this one, at most 16 deep.
        members: the failures inside an exception group.
        fields: stored fields of a class that is registered with ``@durable_error``.
    """

    type: str
    message: str
    stack: str = ""
    retryable: bool = True
    cause: Failure | None = None
    members: tuple[Failure, ...] = ()
    fields: dict[str, bytes] | None = None

    @classmethod
    def of(
        cls, error: BaseException, *, with_stack: bool = True, describe: Describe | None = None
    ) -> Failure:
        """Records ``error`` with its causes. Never raises, whatever ``str(error)`` does.

        Args:
            describe: says name, retryability and fields of exceptions whose class is registered.
        """
        return _record(error, with_stack, 0, set(), describe)


def _record(
    error: BaseException,
    with_stack: bool,
    depth: int,
    seen: set[int],
    describe: Describe | None,
) -> Failure:
    seen.add(id(error))
    cause = error.__cause__
    if cause is None and not error.__suppress_context__:
        cause = error.__context__
    recorded: Failure | None = getattr(error, "recorded_as", None)
    if recorded is not None and getattr(error, "is_record", False):
        return recorded
    members: tuple[Failure, ...] = ()
    children: tuple[BaseException, ...] = _children(error)
    if children and depth < MAX_CHAIN:
        members = tuple(
            _record(member, with_stack, depth + 1, seen, describe)
            for member in children
            if id(member) not in seen
        )
    name = recorded.type if recorded is not None else _name(error)
    retryable = recorded.retryable if recorded is not None else True
    fields = None
    described = describe(error) if describe is not None else None
    if described is not None:
        name, retryable, fields = described
    return Failure(
        type=name,
        message=_clean(_text(error), MAX_MESSAGE),
        stack=_stack(error) if with_stack else "",
        retryable=retryable,
        cause=_record(cause, with_stack, depth + 1, seen, describe)
        if cause is not None and id(cause) not in seen and depth < MAX_CHAIN
        else None,
        members=members,
        fields=fields,
    )


def _children(error: BaseException) -> tuple[BaseException, ...]:
    if not isinstance(error, BaseExceptionGroup):
        return ()
    group = cast("BaseExceptionGroup[BaseException]", error)
    return group.exceptions


def _name(error: BaseException) -> str:
    return type(error).__qualname__.rpartition("<locals>.")[2]


def _text(error: BaseException) -> str:
    try:
        text = str(error)
        notes = getattr(error, "__notes__", None)
        return "\n".join([text, *map(str, notes)]) if notes else text
    except BaseException as problem:  # a user's __str__ may do anything
        return f"<str() of the exception raised {type(problem).__name__}>"


def _stack(error: BaseException) -> str:
    try:
        text = "".join(
            traceback.format_list(_users_part(traceback.extract_tb(error.__traceback__)))
        )
    except Exception:
        return ""
    return _clean(text[-MAX_STACK:], MAX_STACK)


def _users_part(frames: traceback.StackSummary) -> list[traceback.FrameSummary]:
    """The frames from the first one that is not Perdure's own or asyncio's."""
    for index, frame in enumerate(frames):
        parts = frame.filename.replace("\\", "/").split("/")
        if not _MACHINERY.intersection(parts[-4:]):
            return list(frames[index:])
    return list(frames)


def _clean(text: str, limit: int) -> str:
    if len(text) > limit:
        text = text[: limit - 1] + "…"
    # Lone surrogates (undecodable file names, say) are no UTF-8: they could not be stored.
    return text.encode("utf-8", "replace").decode("utf-8")
