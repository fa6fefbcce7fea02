"""Histories in the reports of failed tests.

PYTEST_DONT_REWRITE
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

from perdure_backends import history as h
from perdure_backends.records import ListFilter
from perdure_runtime._rows import event_rows
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
    for row in event_rows(turns, _LONGEST):
        when = " " * 25
        if row.turn is not None:
            time = datetime.fromtimestamp(row.turn.time / 1e6, UTC).strftime("%Y-%m-%d %H:%M:%S")
            when = f"{row.turn.number:>4}  {time}"
        yield f"{when}  {row.event} {row.number}  {row.details}".rstrip()
