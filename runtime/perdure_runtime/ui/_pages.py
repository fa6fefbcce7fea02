"""The pages that show something.

PYTEST_DONT_REWRITE
"""

from __future__ import annotations

from typing import Final

from perdure import QueryError
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from .._desk import ACTIONS
from .._views import Data
from . import _plots
from ._api import export_response
from ._local import local_stacks
from ._rendering import page, page_desk, redirect, render
from ._requests import (
    PAGE,
    Store,
    filter_of,
    number,
)

_HISTORY: Final = 200

STATES: Final = (
    *("running", "parked", "suspended", "completed", "failed"),
    *("cancelled", "terminated", "timed_out", "continued_as_new"),
)


async def _overview(request: Request) -> Response:
    desk = await page_desk(request)
    data = await desk.overview()
    minutes = data.get("minutes", [])
    plots = [
        (title, _plots.plot(_plots.series(minutes, name), unit))
        for title, name, unit in (
            ("Starts", "starts", "started"),
            ("Ends", "finishes", "ended"),
            ("Failures", "failed", "failed"),
            ("Activity attempts", "attempts", "attempts"),
            ("Retries", "retries", "retries"),
        )
    ]
    return render(request, "overview.html", data=data, workers=await desk.workers(), plots=plots)


async def _instances(request: Request) -> Response:
    query = request.query_params
    desk = await page_desk(request)
    states = query.getlist("state")
    limit = max(1, number(query.get("limit"), PAGE, 500))
    chosen = filter_of(query, states)
    data = await desk.instances(chosen, query.get("after") or None, limit, payloads=False)
    kept = {
        key: query.getlist(key) if key == "state" else query.get(key, "")
        for key in ("state", "workflow", "prefix", "queue", "since", "before", "all_runs", "limit")
    }
    return render(
        request,
        "instances.html",
        data=data,
        kept=kept,
        states=STATES,
        actions=ACTIONS,
        filtered=any(value for key, value in kept.items() if key != "limit"),
        first=not query.get("after"),
    )


async def _instance(request: Request) -> Response:
    query = request.query_params
    instance_id = query.get("id", "")
    run = query.get("run") or None
    desk = await page_desk(request)
    if not instance_id:
        return redirect(request, "/instances")
    after = number(query.get("after"), 0, 10**9)
    data, history, rows = await desk.page(instance_id, run, after=after, limit=_HISTORY)
    drawn = _plots.timeline(rows, await _now(request))
    schema = await desk.schema(data["workflow"], data["version"])
    tree = await desk.tree(instance_id) if _has_family(data, history) else None
    return render(
        request,
        "instance.html",
        data=data,
        history=history,
        after=after,
        timeline=drawn,
        tree=tree,
        schema=schema,
        run=run,
        open=data["state"] in ("running", "parked", "suspended"),
    )


def _has_family(data: Data, history: Data) -> bool:
    if data["parent"] is not None:
        return True
    events = (event for turn in history["turns"] for event in turn["events"])
    return any(event["type"] == "child_scheduled" for event in events)


async def _now(request: Request) -> int:
    store: Store = request.scope["perdure.store"]
    return await (await store.get()).now()


async def _code(request: Request) -> Response:
    """Where the code stands: asked for by itself, for a worker has to replay."""
    instance_id = request.query_params.get("id", "")
    desk = await page_desk(request)
    data = await desk.instance(instance_id)
    problem_text, stacks = "", []
    try:
        stacks = await desk.stacks(instance_id)
        source = "said by a worker"
    except (QueryError, TimeoutError) as error:
        source, problem_text = "", str(error)
        found = await local_stacks(request, instance_id)
        if found is not None:
            stacks, source, problem_text = found, "from a replay in this process", ""
    lines = [text.partition(" at ") for text in stacks]
    return render(
        request,
        "code.html",
        data=data,
        lines=[(name, place) for name, _, place in lines],
        source=source,
        problem=problem_text,
    )


async def _export(request: Request) -> Response:
    query = request.query_params
    desk = await page_desk(request)
    return await export_response(desk.export(query.get("id", ""), query.get("run") or None))


async def _audit(request: Request) -> Response:
    desk = await page_desk(request)
    data = await desk.audit(request.query_params.get("after") or None)
    return render(request, "audit.html", data=data)


def routes() -> list[Route]:
    """The routes of pages that show something."""
    return [
        Route("/", page(_overview)),
        Route("/instances", page(_instances)),
        Route("/instance", page(_instance)),
        Route("/code", page(_code)),
        Route("/export", page(_export)),
        Route("/audit", page(_audit)),
    ]
