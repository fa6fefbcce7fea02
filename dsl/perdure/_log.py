"""A logger for workflows and activities: silent while history is replayed.

PYTEST_DONT_REWRITE
"""

from __future__ import annotations

import logging
from collections.abc import MutableMapping
from typing import Any, Final

from ._activity_context import activity_context
from ._context import find_context


class WorkflowLogger(logging.LoggerAdapter[logging.Logger]):
    """``logging`` with the instance's fields on each record; nothing is said twice on replay.

    In a workflow a record has ``instance_id``, ``run_id``, ``workflow``, ``queue`` and ``turn``; in
    an activity ``instance_id``, ``run_id``, ``activity``, ``number``, ``attempt`` and ``queue``;
    in both ``trace_id`` and ``span_id`` where a worker traces.
    Elsewhere it is the plain logger ``perdure.workflow``.
    """

    def isEnabledFor(self, level: int) -> bool:  # noqa: N802  (the standard library's name)
        """Whether a record of this level would be written now."""
        context = find_context()
        if context is not None and context.replaying:
            return False
        return self.logger.isEnabledFor(level)

    def process(
        self, msg: Any, kwargs: MutableMapping[str, Any]
    ) -> tuple[Any, MutableMapping[str, Any]]:
        """Adds what is known of the workflow or activity to the record."""
        kwargs["extra"] = {**_fields(), **(kwargs.get("extra") or {})}
        return msg, kwargs


def _fields() -> dict[str, Any]:
    context = find_context()
    if context is not None:
        about = context.info()
        return {
            "instance_id": about.id,
            "run_id": about.run_id,
            "workflow": about.workflow,
            "queue": about.queue,
            "turn": about.turn,
            **_trace(context.trace_ids()),
        }
    attempt = activity_context.get(None)
    if attempt is not None:
        info = attempt.info()
        return {
            "instance_id": info.instance_id,
            "run_id": info.run_id,
            "activity": info.activity,
            "number": info.number,
            "attempt": info.attempt,
            "queue": info.queue,
            **_trace(attempt.trace_ids()),
        }
    return {}


def _trace(ids: tuple[str, str] | None) -> dict[str, str]:
    return {} if ids is None else {"trace_id": ids[0], "span_id": ids[1]}


logger: Final = WorkflowLogger(logging.getLogger("perdure.workflow"), {})
