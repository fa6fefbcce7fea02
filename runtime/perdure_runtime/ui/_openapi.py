"""The description of the JSON API.

PYTEST_DONT_REWRITE
"""

from __future__ import annotations

from typing import Any, Final

from perdure import __version__

from .._desk import ACTIONS

_TEXT: Final = {"type": "string"}
_ANY: Final[dict[str, Any]] = {}
_OBJECT: Final = {"type": "object"}


def _parameter(
    name: str, text: str, schema: dict[str, Any] | None = None, *, required: bool = False
) -> dict[str, Any]:
    return {
        "name": name,
        "in": "query",
        "required": required,
        "description": text,
        "schema": schema if schema is not None else _TEXT,
    }


_ID: Final = _parameter("id", "The instance.", required=True)
_RUN: Final = _parameter("run", "One of its runs; the newest by default.")
_NUMBER: Final = {"type": "integer", "minimum": 0}


def _fields(required: tuple[str, ...] = (), **properties: dict[str, Any]) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": "object", "properties": properties}
    if required:
        schema["required"] = list(required)
    return {"required": bool(required), "content": {"application/json": {"schema": schema}}}


def _named(name: str) -> dict[str, Any]:
    return {"$ref": f"#/components/schemas/{name}"}


def _operation(
    name: str,
    summary: str,
    answer: dict[str, Any],
    *parameters: dict[str, Any],
    body: dict[str, Any] | None = None,
    status: str = "200",
    kind: str = "application/json",
) -> dict[str, Any]:
    found: dict[str, Any] = {
        "operationId": name,
        "summary": summary,
        "responses": {
            status: {"description": "Done.", "content": {kind: {"schema": answer}}},
            "default": {
                "description": "It did not work.",
                "content": {"application/json": {"schema": _named("Error")}},
            },
        },
    }
    if parameters:
        found["parameters"] = list(parameters)
    if body is not None:
        found["requestBody"] = body
    return found


def document(root: str) -> dict[str, Any]:
    """The OpenAPI document of an app that is reached under ``root``."""
    reason = {"type": "string", "description": "Kept in the audit log."}
    paths: dict[str, Any] = {
        "/overview": {"get": _operation("overview", "The store at a glance.", _named("Overview"))},
        "/instances": {
            "get": _operation(
                "listInstances",
                "Instances, the newest first.",
                {
                    "type": "object",
                    "properties": {
                        "instances": {"type": "array", "items": _named("Instance")},
                        "after": {"type": ["string", "null"]},
                    },
                },
                _parameter("state", "May be repeated.", {"type": "array", "items": _TEXT}),
                _parameter("workflow", "Of this workflow."),
                _parameter("prefix", "With ids that begin so."),
                _parameter("queue", "On this queue."),
                _parameter("since", "Started at or after (ISO 8601)."),
                _parameter("before", "Started before (ISO 8601)."),
                _parameter("all_runs", "`1`: also runs that were continued or replaced."),
                _parameter("after", "Where the page before ended."),
                _parameter("limit", "At most so many (up to 500).", _NUMBER),
            ),
            "post": _operation(
                "start",
                "Start an instance.",
                {
                    "type": "object",
                    "properties": {"id": _TEXT, "run_id": _TEXT},
                },
                body=_fields(
                    ("workflow",),
                    workflow=_TEXT,
                    arguments={"type": "array", "items": _ANY},
                    id=_TEXT,
                    version={"type": "integer"},
                    queue=_TEXT,
                    reason=reason,
                ),
                status="201",
            ),
        },
        "/instance": {
            "get": _operation(
                "instance", "An instance with what it waits for.", _named("Instance"), _ID, _RUN
            )
        },
        "/instance/history": {
            "get": _operation(
                "history",
                "Turns of its history.",
                _OBJECT,
                _ID,
                _RUN,
                _parameter("after", "Turns behind this one.", _NUMBER),
                _parameter("limit", "At most so many (up to 1000).", _NUMBER),
            )
        },
        "/instance/timeline": {
            "get": _operation("timeline", "What it has called, in time.", _OBJECT, _ID, _RUN)
        },
        "/instance/tree": {"get": _operation("tree", "Parents and children.", _OBJECT, _ID)},
        "/instance/stacks": {
            "get": _operation("stacks", "Where its code stands, said by a worker.", _OBJECT, _ID)
        },
        "/instance/result": {
            "get": _operation(
                "result",
                "Wait for its result.",
                _OBJECT,
                _ID,
                _parameter("timeout", "Seconds (up to 60); then 504.", _NUMBER),
            )
        },
        "/instance/export": {
            "get": _operation(
                "export",
                "Its history as JSON lines.",
                _TEXT,
                _ID,
                _RUN,
                kind="application/jsonl",
            )
        },
        "/instance/query": {
            "get": _operation(
                "query",
                "Ask its code.",
                _OBJECT,
                _ID,
                _parameter("name", "The query.", required=True),
                _parameter("argument", "JSON, where it takes one."),
                _parameter("timeout", "Seconds (up to 60).", _NUMBER),
            )
        },
        "/instance/signal": {
            "post": _operation(
                "signal",
                "Send a signal.",
                _OBJECT,
                _ID,
                body=_fields(("name",), name=_TEXT, payload=_ANY, request_id=_TEXT, reason=reason),
            )
        },
        "/instance/update": {
            "post": _operation(
                "update",
                "Send an update and wait for its result.",
                _OBJECT,
                _ID,
                body=_fields(
                    ("name",),
                    name=_TEXT,
                    argument=_ANY,
                    update_id=_TEXT,
                    timeout={"type": "number"},
                    reason=reason,
                ),
            )
        },
        "/workers": {"get": _operation("workers", "Workers that run.", _OBJECT)},
        "/schemas": {"get": _operation("schemas", "Schemas that workers published.", _OBJECT)},
        "/audit": {
            "get": _operation(
                "audit",
                "What was done, the newest first.",
                _OBJECT,
                _parameter("after", "Where the page before ended."),
                _parameter("limit", "At most so many (up to 500).", _NUMBER),
            )
        },
        "/queue/limit": {
            "post": _operation(
                "limitQueue",
                "Limit how many activities of a queue start in a second.",
                _OBJECT,
                body=_fields(
                    ("queue",),
                    queue=_TEXT,
                    per_second={"type": ["number", "null"]},
                    burst={"type": ["integer", "null"]},
                ),
            )
        },
        "/me": {"get": _operation("me", "Who asks, and the token for forms.", _OBJECT)},
        "/openapi.json": {"get": _operation("openapi", "This document.", _OBJECT)},
    }
    words = {
        "cancel": "Ask it to cancel.",
        "terminate": "End it at once, without its code.",
        "suspend": "Halt it.",
        "resume": "Let it go on.",
        "unpark": "Let it be tried again.",
        "remove": "Remove it with its history, when it has finished.",
    }
    for name in ACTIONS:
        paths[f"/instance/{name}"] = {
            "post": _operation(name, words[name], _OBJECT, _ID, body=_fields(reason=reason))
        }
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Perdure",
            "version": __version__,
            "description": (
                "Looks at durable workflows and steers them. With a session's cookie, requests "
                "that act need the header X-CSRF-Token (see /me); with a bearer's token they do "
                "not."
            ),
        },
        "servers": [{"url": f"{root}/api" if not root.endswith("/api") else root}],
        "security": [{"bearer": []}, {"session": []}],
        "paths": paths,
        "components": {
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer"},
                "session": {"type": "apiKey", "in": "cookie", "name": "perdure_session"},
            },
            "schemas": _SCHEMAS,
        },
    }


_TIME: Final = {"type": ["string", "null"], "description": "UTC, such as 2026-01-31 12:00:00.000Z."}

_SCHEMAS: Final[dict[str, Any]] = {
    "Error": {
        "type": "object",
        "required": ["error"],
        "properties": {
            "error": {
                "type": "object",
                "required": ["type", "message"],
                "properties": {"type": _TEXT, "message": _TEXT},
            }
        },
    },
    "Failure": {
        "type": "object",
        "required": ["type", "message"],
        "properties": {
            "type": _TEXT,
            "message": _TEXT,
            "stack": _TEXT,
            "retryable": {"type": "boolean"},
            "cause": {"$ref": "#/components/schemas/Failure"},
            "members": {"type": "array", "items": {"$ref": "#/components/schemas/Failure"}},
        },
    },
    "Instance": {
        "type": "object",
        "required": ["id", "run_id", "workflow", "version", "queue", "state", "started_at"],
        "properties": {
            "id": _TEXT,
            "run_id": _TEXT,
            "workflow": _TEXT,
            "version": {"type": "integer"},
            "queue": _TEXT,
            "state": _TEXT,
            "started_at": _TIME,
            "finished_at": _TIME,
            "turn": {"type": "integer"},
            "events": {"type": "integer"},
            "parent": {"type": ["string", "null"]},
            "continued_from": {"type": ["string", "null"]},
            "continued_to": {"type": ["string", "null"]},
            "input": _ANY,
            "published": _ANY,
            "result": _ANY,
            "failure": {"$ref": "#/components/schemas/Failure"},
            "parked": _OBJECT,
            "pending": _OBJECT,
        },
    },
    "Overview": {
        "type": "object",
        "required": ["time", "states", "parked", "queues"],
        "properties": {
            "time": _TIME,
            "store": _TEXT,
            "counted_up_to": {"type": "integer"},
            "states": {"type": "object", "additionalProperties": {"type": "integer"}},
            "parked": {"type": "object", "additionalProperties": {"type": "integer"}},
            "queues": {"type": "array", "items": _OBJECT},
            "minutes": {"type": "array", "items": _OBJECT},
        },
    },
}
