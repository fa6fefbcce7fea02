"""Spans of a workflow's own, which come out the same at each replay.

PYTEST_DONT_REWRITE
"""

from __future__ import annotations

from collections.abc import Generator, Mapping
from contextlib import contextmanager
from typing import Protocol

from ._context import Attribute, WorkflowContext, current, open_span


class Span(Protocol):
    """A part of a workflow that shows in traces."""

    def set(self, name: str, value: Attribute) -> None:
        """Sets an attribute."""
        ...


class _Unseen:
    """A span while nobody traces."""

    def set(self, name: str, value: Attribute) -> None:
        """See :class:`Span`."""


_UNSEEN = _Unseen()


@contextmanager
def span(name: str, attributes: Mapping[str, Attribute] | None = None) -> Generator[Span]:
    """A part of the workflow that shows in traces by itself, around what is called within it.

    ``with span("price", {"items": 3}):`` – activities, timers and sub-workflows that are called
    inside have it as their parent, also in tasks that are made inside. It begins and ends with the
    turns in which the code enters and leaves it, is emitted once however often the workflow is
    replayed, and costs next to nothing where nobody traces.

    Args:
        name: what it shows as.
        attributes: shown with it; more by ``set()``.

    Raises:
        OutsideWorkflowError: no workflow runs here; activities use their tracer's own spans.
    """
    context = current("span()")
    key = context.span_begins(name, dict(attributes or {}))
    if key is None:
        yield _UNSEEN
        return
    token = open_span.set(key)
    failure: BaseException | None = None
    try:
        yield _Open(context, key)
    except BaseException as error:
        failure = error
        raise
    finally:
        open_span.reset(token)
        context.span_ends(key, failure)


class _Open:
    def __init__(self, context: WorkflowContext, key: str) -> None:
        self._context = context
        self._key = key

    def set(self, name: str, value: Attribute) -> None:
        """See :class:`Span`."""
        self._context.span_attribute(self._key, name, value)
