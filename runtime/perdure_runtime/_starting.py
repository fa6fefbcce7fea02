"""The request that starts an instance.

PYTEST_DONT_REWRITE
"""

from __future__ import annotations

from typing import Any

from perdure import Workflow
from perdure_backends import history as h
from perdure_backends.records import Message, StartRequest

from ._durations import microseconds


def start_request(
    workflow: Workflow[..., Any],
    *,
    instance_id: str,
    run_id: str,
    request_id: str,
    queue: str,
    input: bytes,
    seed: int,
    parent: h.Parent | None = None,
    headers: dict[str, bytes] | None = None,
    messages: tuple[Message, ...] = (),
) -> StartRequest:
    """A start of ``workflow`` under the policies of its options."""
    options = workflow.default_options
    definition = workflow.definition
    run_timeout = microseconds(options.run_timeout)
    started = h.WorkflowStarted(
        definition.name,
        definition.version,
        queue,
        input,
        seed,
        parent,
        None,
        headers or {},
        run_timeout,
    )
    return StartRequest(
        instance_id=instance_id,
        run_id=run_id,
        request_id=request_id,
        workflow=definition.name,
        version=definition.version,
        queue=queue,
        started=h.encode_event(started),
        run_timeout=run_timeout,
        if_running=options.if_running,
        if_finished=options.if_finished,
        parent=parent,
        parent_close=options.parent_close if parent is not None else "abandon",
        messages=messages,
    )
