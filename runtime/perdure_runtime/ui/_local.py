"""Where the code stands, from a replay in the page's own process, where it has the code.

PYTEST_DONT_REWRITE
"""

from __future__ import annotations

from perdure_backends import history as h
from starlette.requests import Request

from .._replay import History
from .._replay._replayer import Replayer
from ._requests import Store, settings_of


async def local_stacks(request: Request, instance_id: str) -> list[str] | None:
    """Where each task waits; ``None`` where the code is not here, or does not fit."""
    store: Store = request.scope["perdure.store"]
    settings = settings_of(request)
    backend = await store.get()
    record = await backend.describe(instance_id)
    if record is None:
        return None
    workflow = settings.workflows.get((record.workflow, record.version))
    if workflow is None:
        return None
    after = 0
    with Replayer(workflow, converter=settings.converter) as replayer:
        execution = replayer.execution(History.of(record, []))
        try:
            while after < record.turn:
                stored = await backend.read_history(record.run_id, after, 200)
                if not stored:
                    break
                for one in stored:
                    turn = h.decode_turn(one)
                    after = turn.number
                    if execution.replay(turn, len(one)) is not None:
                        return None
            return execution.stacks()
        except h.NewerHistoryError:
            return None
        finally:
            execution.close()
