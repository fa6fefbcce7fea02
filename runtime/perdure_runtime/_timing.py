"""How long a store's methods take, told to whoever wants to know.

PYTEST_DONT_REWRITE
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable, Coroutine
from typing import Any, Final

from perdure_backends import Backend

from ._telemetry import Telemetry

_OPERATIONS: Final = (
    *("open_session", "end_session", "start", "send", "claim_turns", "read_history", "commit"),
    *("release", "retain", "claim_activities", "settle", "heartbeat", "ask", "claim_queries"),
    *("answer", "read_answers", "read_updates", "sweep", "describe", "describe_runs", "ends"),
    *("pending", "control", "remove", "list_instances", "list_sessions", "overview"),
)


def time_store(backend: Backend, telemetry: Telemetry) -> Callable[[], None]:
    """Tells ``telemetry`` of each call of this very store object, until the answer is called.

    A store that is timed already is left as it is.
    """
    place: dict[str, Any] = vars(backend)
    if any(name in place for name in _OPERATIONS):
        return lambda: None
    for name in _OPERATIONS:
        method = getattr(backend, name, None)
        if method is not None:
            place[name] = _timed(name, method, telemetry)

    def stop() -> None:
        for name in _OPERATIONS:
            place.pop(name, None)

    return stop


def _timed(
    name: str, method: Callable[..., Coroutine[Any, Any, Any]], telemetry: Telemetry
) -> Callable[..., Coroutine[Any, Any, Any]]:
    @functools.wraps(method)
    async def call(*args: Any, **kwargs: Any) -> Any:
        time = asyncio.get_running_loop().time
        began = time()
        try:
            answer = await method(*args, **kwargs)
        except BaseException as error:
            telemetry.store_called(name, time() - began, type(error).__name__)
            raise
        telemetry.store_called(name, time() - began, None)
        return answer

    return call
