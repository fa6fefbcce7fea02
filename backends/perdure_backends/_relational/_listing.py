"""Listings in SQL, put together from what a filter names. Every value is a parameter.

PYTEST_DONT_REWRITE
"""

from __future__ import annotations

from typing import Any

from .._states import HIGHEST, in_state, status_in
from ..records import ListFilter


def listing(
    describe: str, filter: ListFilter, after: tuple[int, int] | None, limit: int
) -> tuple[str, dict[str, Any]]:
    """The statement of a listing, and its parameters.

    Args:
        describe: the store's statement of that name.
        filter: with one state at most; several are several listings.
        after: start and serial of the last run of the page before.
    """
    conditions: list[str] = []
    values: dict[str, Any] = {"limit": limit}

    def add(condition: str, **parameters: Any) -> None:
        conditions.append(condition)
        values.update(parameters)

    if after is not None:
        add(
            "(r.started_at < :at OR (r.started_at = :at AND r.serial < :serial))",
            at=after[0],
            serial=after[1],
        )
    column = "r.instance_id" if filter.all_runs else "r.current_of"
    if not filter.all_runs:
        add("r.current_of IS NOT NULL")
    if filter.workflow is not None:
        add("r.workflow = :workflow", workflow=filter.workflow)
    if filter.queue is not None:
        add("r.queue = :queue", queue=filter.queue)
    if filter.id_prefix is not None:
        add(
            f"{column} >= :low AND {column} < :high",
            low=filter.id_prefix,
            high=filter.id_prefix + HIGHEST,
        )
    if filter.started_after is not None:
        add("r.started_at >= :earliest", earliest=filter.started_after)
    if filter.started_before is not None:
        add("r.started_at < :latest", latest=filter.started_before)
    if filter.finished_before is not None:
        add("r.finished_at < :finished", finished=filter.finished_before)
    if filter.states:
        (state,) = filter.states
        add(in_state(state, ":state"), state=status_in(state))
    where = " WHERE " + " AND ".join(conditions) if conditions else ""
    order = "ORDER BY r.started_at DESC, r.serial DESC LIMIT :limit"
    return f"{describe}{where} {order}", values
