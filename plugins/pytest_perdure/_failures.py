"""Histories in the reports of failed tests.

PYTEST_DONT_REWRITE
"""

from __future__ import annotations

from perdure_backends.records import ListFilter
from perdure_runtime._rows import text_rows
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
        found.append((title, "\n".join(text_rows(turns, _LONGEST))))
    return found
