"""The forms by which operators act: start, messages, and steering.

PYTEST_DONT_REWRITE
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

from perdure import PerdureError
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from .._desk import ACTIONS, Desk
from .._schemas import Published, Taken
from ._errors import RefusedError, status_of
from ._forms import Field, field_of, fields_of, read_fields
from ._rendering import page, page_desk, page_form, redirect, render
from ._requests import operator_of

_BULK: Final = 200


async def _start(request: Request) -> Response:
    desk = await page_desk(request)
    schemas = await desk.schemas()
    sent = await page_form(request) if request.method == "POST" else None
    name = str((sent or request.query_params).get("workflow", ""))
    chosen = next((one for one in schemas if f"{one.workflow}@{one.version}" == name), None)
    fields = fields_of(chosen.parameters) if chosen is not None else []
    message, status = "", 200
    values = {
        "id": str(sent.get("id", "")) if sent else "",
        "queue": str(sent.get("queue", "")) if sent else _queue_of(chosen),
        "reason": str(sent.get("reason", "")) if sent else "",
        "json": str(sent.get("json", "")) if sent else "[]",
        "other": str(sent.get("other", "")) if sent else "",
    }
    if sent is not None:
        try:
            arguments, target = _arguments(sent, chosen, fields)
            if arguments is not None and target is not None:
                started = await desk.start(
                    target[0],
                    arguments,
                    id=values["id"] or None,
                    version=target[1],
                    queue=values["queue"] or "default",
                    reason=values["reason"],
                )
                return redirect(request, "/instance", id=started["id"])
            message, status = "some fields need another look", 422
        except (PerdureError, RefusedError) as error:
            message, status = str(error), status_of(error)
    offered = {
        (one["name"], one["version"]) for w in await desk.workers() for one in w["workflows"]
    }
    # What nobody runs now goes last: it may never come back, but it may be a deploy.
    schemas.sort(key=lambda one: (one.workflow, one.version) not in offered)
    return render(
        request,
        "start.html",
        status,
        schemas=schemas,
        offered=offered,
        chosen=chosen,
        name=name,
        fields=fields,
        values=values,
        message=message,
    )


def _queue_of(chosen: Published | None) -> str:
    return chosen.queues[0] if chosen is not None and chosen.queues else "default"


def _arguments(
    sent: Mapping[str, Any], chosen: Published | None, fields: list[Field]
) -> tuple[list[Any] | None, tuple[str, int] | None]:
    """Arguments and workflow of a form; ``None`` when fields say what is wrong."""
    if chosen is not None:
        return read_fields(fields, sent), (chosen.workflow, chosen.version)
    name, _, version = str(sent.get("other", "")).partition("@")
    if not name:
        raise RefusedError(422, "choose a workflow, or name one")
    if version and not version.isdecimal():
        raise RefusedError(422, "a version is a number: name@2")
    try:
        arguments = json.loads(str(sent.get("json", "")) or "[]")
    except ValueError as error:
        raise RefusedError(422, f"the arguments are not JSON: {error}") from None
    if not isinstance(arguments, list):
        raise RefusedError(422, "the arguments are a JSON array, one for each parameter")
    return list(arguments), (name, int(version or 1))  # pyright: ignore[reportUnknownArgumentType, reportUnknownVariableType]


async def _message(request: Request) -> Response:
    """Signals, updates and queries."""
    sent = await page_form(request) if request.method == "POST" else None
    given: Mapping[str, Any] = sent if sent is not None else request.query_params
    kind, instance_id = str(given.get("kind", "signal")), str(given.get("id", ""))
    name = str(given.get("name", ""))
    if kind not in ("signal", "update", "query"):
        raise RefusedError(400, "a message is a signal, an update or a query")
    if kind != "query":
        operator_of(request)
    desk = await page_desk(request)
    data = await desk.instance(instance_id)
    schema = await desk.schema(data["workflow"], data["version"])
    known: dict[str, Taken] = {}
    if schema is not None:
        known = {"signal": schema.signals, "update": schema.updates, "query": schema.queries}[kind]
    field = _message_field(known.get(name), kind)
    answer: Any = None
    message, done, status = "", False, 200
    reason = str(given.get("reason", ""))
    if sent is not None:
        try:
            values = read_fields([field], sent) if field is not None else []
            if not name:
                message, status = "say which one", 422
            elif values is None:
                message, status = "the value needs another look", 422
            else:
                answer = await _deliver(desk, kind, instance_id, name, values, reason)
                done = True
        except (PerdureError, TimeoutError) as error:
            message, status = str(error), status_of(error)
    return render(
        request,
        "message.html",
        status,
        data=data,
        kind=kind,
        name=name,
        known=known,
        field=field,
        message=message,
        done=done,
        answer=answer,
        reason=reason,
    )


def _message_field(taken: Taken | None, kind: str) -> Field | None:
    if taken is None:
        return field_of({}, name="p0", label="Value", required=kind != "query")
    if taken.argument is None:
        return None
    return field_of(taken.argument, name="p0", label="Value")


async def _deliver(
    desk: Desk, kind: str, instance_id: str, name: str, values: list[Any], reason: str
) -> Any:
    if kind == "query":
        return (await desk.query(instance_id, name, values))["answer"]
    value = values[0] if values else None
    if kind == "signal":
        await desk.signal(instance_id, name, value, reason=reason)
        return None
    done = await desk.update(instance_id, name, value, timeout=30.0, reason=reason)
    return done["result"]


_MEANS: Final = {
    "cancel": ("Cancel", "Its code is asked to cancel, and may clean up first."),
    "terminate": ("Terminate", "It ends at once, without its code: nothing is cleaned up."),
    "suspend": ("Suspend", "It halts; messages and results gather, timers wait."),
    "resume": ("Resume", "It goes on where it was halted."),
    "unpark": ("Un-park", "It is tried again, by every build."),
    "remove": ("Remove", "It is removed for good, with its history. Only finished ones can be."),
}


async def _act(request: Request) -> Response:
    """Asks for confirmation and the reason, then acts, on one instance or several."""
    if request.method == "GET":
        action, ids = _chosen(request.query_params)
        return _confirmation(request, action, ids, back=request.query_params.get("back", ""))
    form: Any = await page_form(request)
    action, ids = _chosen(form)
    desk, reason = await page_desk(request), str(form.get("reason", "")).strip()
    if not reason:
        raise RefusedError(422, "say why: the reason is kept in the audit log")
    failed: list[tuple[str, str]] = []
    for one in ids:
        try:
            await desk.act(action, one, reason)
        except PerdureError as error:
            failed.append((one, str(error)))
    if failed:
        return _confirmation(request, action, [one for one, _ in failed], failed)
    if len(ids) == 1 and action != "remove":
        return redirect(request, "/instance", id=ids[0])
    return redirect(request, "/instances")


def _chosen(given: Any) -> tuple[str, list[str]]:
    """The action that a query or form names, and for which instances."""
    action = str(given.get("action", ""))
    ids = list(dict.fromkeys(map(str, given.getlist("id"))))[:_BULK]
    if action not in ACTIONS or not ids:
        raise RefusedError(400, "choose instances and an action")
    return action, ids


def _confirmation(
    request: Request,
    action: str,
    ids: list[str],
    failed: Sequence[tuple[str, str]] = (),
    back: str = "",
) -> Response:
    """Asks once more; for those that failed, with the reason why."""
    title, text = _MEANS[action]
    status = 409 if failed else 200
    shown = {"action": action, "title": title, "text": text, "ids": ids}
    return render(request, "act.html", status, **shown, failed=failed, back=back)


def routes() -> list[Route]:
    """The routes of forms that act."""
    return [
        Route("/start", page(_start, acts=True), methods=["GET", "POST"]),
        Route("/message", page(_message), methods=["GET", "POST"]),
        Route("/act", page(_act, acts=True), methods=["GET", "POST"]),
    ]
