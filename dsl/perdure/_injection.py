"""Dependencies of activities: what a worker was given arrives by annotation.

PYTEST_DONT_REWRITE
"""

from __future__ import annotations

from typing import Any, Final


class Injected:
    """The default of a parameter that the worker fills."""

    def __repr__(self) -> str:
        return "inject()"


_INJECTED: Final = Injected()


def inject() -> Any:
    """The default of an activity's keyword parameter that the worker fills by its annotation.

    ``async def charge(order: Order, *, db: Database = inject()) -> str`` gets the ``Database`` of
    ``Worker(…, resources=[Database(…)])``. Callers in workflows leave it out; callers of the plain
    function (``charge.fn``) pass what they like. A worker's own :class:`perdure_runtime.Client` and
    :class:`perdure_runtime.Worker` are always there.
    """
    return _INJECTED
