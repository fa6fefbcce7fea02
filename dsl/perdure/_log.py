"""A logger for workflow code: silent while history is replayed.

PYTEST_DONT_REWRITE
"""

from __future__ import annotations

import logging
from collections.abc import MutableMapping
from typing import Any, Final

from ._context import find_context


class WorkflowLogger(logging.LoggerAdapter[logging.Logger]):
    """``logging`` with the instance's fields on each record; nothing is said twice on replay.

    Outside a workflow it is the plain logger ``perdure.workflow``.
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
        """Adds ``instance_id``, ``run_id``, ``workflow`` and ``turn`` to the record."""
        context = find_context()
        if context is not None:
            about = context.info()
            fields = {
                "instance_id": about.id,
                "run_id": about.run_id,
                "workflow": about.workflow,
                "turn": about.turn,
            }
            kwargs["extra"] = {**fields, **(kwargs.get("extra") or {})}
        return msg, kwargs


logger: Final = WorkflowLogger(logging.getLogger("perdure.workflow"), {})
