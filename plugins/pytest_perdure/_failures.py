"""Histories in the reports of failed tests.

PYTEST_DONT_REWRITE
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from perdure_backends import history as h
from perdure_backends.records import ListFilter
from perdure_runtime.testing import SyncEnvironment

_MOST = 5
_LONGEST = 100


def sections(environment: SyncEnvironment) -> list[tuple[str, str]]:
    """A title and a table for each instance, the newest first."""
    if not environment.used:
        return []
    try:
        return environment.call(_collect(environment))
    except Exception as error:  # a report must not fail for what it would like to add
        return [("perdure", f"histories can't be shown: {error!r}")]


async def _collect(environment: SyncEnvironment) -> list[tuple[str, str]]:
    client = environment.environment.client
    found: list[tuple[str, str]] = []
    async for record in client.list(ListFilter(all_runs=True)):
        if len(found) == _MOST:
            found.append(("perdure", "… and more instances"))
            break
        handle = client.handle_by_id(record.instance_id)
        handle.run_id = record.run_id
        turns = [turn async for turn in handle.history()]
        title = f"perdure: {record.workflow} ({record.instance_id}), {record.state}"
        found.append((title, "\n".join(_rows(turns))))
    return found


def _rows(turns: list[h.Turn]) -> Iterator[str]:
    for turn in turns:
        time = datetime.fromtimestamp(turn.time / 1e6, UTC).strftime("%Y-%m-%d %H:%M:%S")
        for place, event in enumerate(turn.events):
            data = h.to_jsonable(event)
            kind, number = data.pop("type"), data.pop("number", "")
            details = "  ".join(
                f"{k}={_short(v)}" for k, v in data.items() if v not in (None, "", {})
            )
            when = f"{turn.number:>4}  {time}" if place == 0 else " " * 25
            arrow = "→" if isinstance(event, h.Command) else "←"
            yield f"{when}  {arrow} {kind} {number}  {details}".rstrip()


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"
