"""Log records as JSON lines, with the names that OpenTelemetry uses.

PYTEST_DONT_REWRITE
"""

from __future__ import annotations

import json
import logging
from datetime import UTC, datetime
from typing import Any, Final

_NAMES: Final = {
    "instance_id": "perdure.instance.id",
    "run_id": "perdure.run.id",
    "workflow": "perdure.workflow.name",
    "activity": "perdure.activity.name",
    "number": "perdure.command.number",
    "attempt": "perdure.attempt",
    "queue": "perdure.queue",
    "turn": "perdure.turn",
    "reason": "perdure.reason",
    "session_id": "perdure.session.id",
    "trace_id": "trace_id",
    "span_id": "span_id",
}
"""Attributes of a record by what they are called in JSON."""

_STANDARD: Final = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


class JsonFormatter(logging.Formatter):
    """One JSON object a line: ``timestamp``, ``severity_text``, ``body``, and each field.

    Perdure's fields are named ``perdure.instance.id`` and the like, exceptions ``exception.type``,
    ``exception.message`` and ``exception.stacktrace``; what else a record was given in ``extra``
    keeps its name.

    ``handler.setFormatter(JsonFormatter())``, or ``perdure worker --log-format json``.
    """

    def format(self, record: logging.LogRecord) -> str:
        """A record as a line."""
        data: dict[str, Any] = {
            "timestamp": datetime.fromtimestamp(record.created, UTC).isoformat(),
            "severity_text": record.levelname,
            "body": record.getMessage(),
            "logger": record.name,
        }
        for name, value in vars(record).items():
            if name not in _STANDARD:
                data[_NAMES.get(name, name)] = value
        if record.exc_info and record.exc_info[0] is not None:
            data["exception.type"] = record.exc_info[0].__name__
            data["exception.message"] = str(record.exc_info[1])
            data["exception.stacktrace"] = self.formatException(record.exc_info)
        return json.dumps(data, default=str, ensure_ascii=False)
